"""GIFD with StyleGAN2: every stage searches codes, noise maps and a feature, as ILO's loop does, written out."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from textbook import gradients, scene
from tiny_stylegan2 import made_up, tiny
from torch import Tensor

from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.recipes.gifd import Gifd, search_spaces
from gradsiege.attacks.reconstruct import reconstruct, starting_points
from gradsiege.attacks.spaces.features import CHANGE, feature_shapes
from gradsiege.attacks.spaces.generator import LATENT, LatentCodes
from gradsiege.attacks.spaces.styled_features import MOVE, StyledFeatures
from gradsiege.priors.base import TrainedPrior
from gradsiege.priors.stylegan2 import StyleGAN2Network
from gradsiege.priors.stylegan2.layers import upsample_filter
from gradsiege.priors.stylegan2.weights import converted
from gradsiege.protocol.threat_model import ThreatModel

torch.set_num_threads(1)
SEED = ("s",)
LABELS = torch.zeros(1, dtype=torch.long)
PLAIN = torch.zeros(3), torch.ones(3)


@pytest.fixture(scope="module")
def network() -> StyleGAN2Network:
    return tiny()


def later_layers(
    network: StyleGAN2Network,
    stage: int,
    h: Tensor,
    image: Tensor | None,
    codes: Tensor,
    noises: list[Tensor],
) -> list[tuple[Tensor, Tensor]]:
    """Every block's (feature, image so far) from h_stage on; h_0 is the constant, and its image None."""
    passed = []
    if stage == 0:
        h = network.first(h, codes[:, 0], noises[0])
        image = network.first_image(h, codes[:, 1])
        passed.append((h, image))
    for place in range(max(stage - 1, 0), len(network.stages)):
        block = network.stages[place]
        h = block.coarse(h, codes[:, 2 * place + 1], noises[2 * place + 1])
        h = block.fine(h, codes[:, 2 * place + 2], noises[2 * place + 2])
        image = block.image(h, codes[:, 2 * place + 3], image)
        passed.append((h, image))
    return passed


def nearest_in_ball(change: Tensor, radius: float) -> Tensor:
    """The nearest point of the l1 ball, by bisection over the amount that every magnitude is lowered by."""
    size = change.abs()
    if size.sum() <= radius:
        return change
    low, high = torch.zeros(()), size.max()
    for _ in range(60):
        middle = (low + high) / 2
        inside = (size - middle).clamp_min(0).sum() <= radius
        low, high = (low, middle) if inside else (middle, high)
    return change.sign() * (size - high).clamp_min(0)


def ramp(iteration: int, iterations: int) -> float:
    """ILO's schedule."""
    t = iteration / iterations
    down = min(1.0, (1 - t) / 0.75)
    return 0.1 * min(1.0, t / 0.05) * (0.5 - 0.5 * math.cos(math.pi * down))


def textbook(
    attack: Gifd, network: StyleGAN2Network, knowledge: Knowledge, z: Tensor, iterations: int
) -> list[Tensor]:
    """The image that each of three stages ends with: Adam on codes, noise maps and the feature, then the l1 balls."""
    model, seen, _ = scene(kind=torch.float32)
    _, mean, deviation = knowledge.pixel_arguments()
    observed = {name: value[0] for name, value in seen.update.items()}
    codes = z[:, : 10 * 6].view(1, 10, 6).clone()
    noises, end = [], 60
    for number in range(9):
        side = 2 ** ((number + 5) // 2)
        if number < 5:
            noises.append(z[:, end : end + side**2].view(1, 1, side, side).clone())
            end += side**2
        else:
            noises.append(made_up()[f"noises.noise_{number}"].clone())
    h, image, ends = network.constant[None].clone(), None, []
    for stage in range(3):
        radius = attack.radius_scale * (1000 + 1000 * stage)
        moving = [codes, *noises[: 5 + 2 * stage], *([h] if stage else [])]
        starts = [value.clone() for value in moving]
        for value in moving:
            value.requires_grad_()
        if attack.arm == "as_released" and image is not None:
            image = torch.zeros_like(image)
        optimizer = torch.optim.Adam(moving)
        for iteration in range(iterations):
            made = later_layers(network, stage, h, image, codes, noises)[-1][1]
            pixels = (F.avg_pool2d(made, made.shape[-1] // 16) + 1) / 2
            x = (pixels - mean.view(3, 1, 1)) / deviation.view(3, 1, 1)
            candidate = gradients(model, pixels)
            product = sum((candidate[name] * value).sum() for name, value in observed.items())
            ours = sum(value.square().sum() for value in candidate.values())
            theirs = sum(value.square().sum() for value in observed.values())
            loss = 1 - product / (ours.sqrt() * theirs.sqrt())
            loss = loss + 1e-4 * (x.diff(dim=-1).abs().mean() + x.diff(dim=-2).abs().mean())
            loss = loss + 1e-6 * x.norm() / 16**2
            slopes = torch.autograd.grad(loss, moving, materialize_grads=True)
            for value, slope in zip(moving, slopes, strict=True):
                value.grad = slope
            optimizer.param_groups[0]["lr"] = ramp(iteration, iterations)
            optimizer.step()
            with torch.no_grad():
                for value, start in zip(moving, starts, strict=True):
                    value.copy_(start + nearest_in_ball(value - start, radius))
        for value in moving:
            value.requires_grad_(False)
        passed = later_layers(network, stage, h, image, codes, noises)
        ends.append(((F.avg_pool2d(passed[-1][1], 4) + 1) / 2)[0].clamp(0, 1))
        # The feature that the next stage searches: the output of the first block with what was found.
        h, image = (value.clone() for value in passed[0])
    return ends


@pytest.mark.parametrize("arm", ["faithful", "as_released"])
def test_the_attack_is_the_release_s_loop(arm: str) -> None:
    _, seen, _ = scene(kind=torch.float32)
    weights = converted(made_up(), torch.Generator().manual_seed(0))
    prior = TrainedPrior("stylegan2", {**weights, "size": torch.tensor(16)}, {"classes": 0})
    knowledge = Knowledge(seen, ThreatModel(id="t", labels="given"), (prior,))
    attack = Gifd(iterations=15, stages=2, radius_scale=0.002, arm=arm)
    recipe = attack.recipe(knowledge)
    z = starting_points(recipe.phases[0], 1, 1, SEED)[LATENT][0]
    found = reconstruct(knowledge, recipe, 1, SEED)
    expected = textbook(attack, tiny(16), knowledge, z, 5)
    assert found.stages is not None
    for stage, image in enumerate(expected):
        torch.testing.assert_close(found.stages[0, stage, 0], image, rtol=0, atol=2e-4)
    # The stages differ by far more than rounding.
    assert (expected[0] - expected[1]).abs().max() > 0.02


def begun(network: StyleGAN2Network, depth: int, drop: bool = False) -> tuple[StyledFeatures, dict]:
    """A stage's space and its starting point, earlier stages having moved everything a little."""
    random = torch.Generator().manual_seed(2)
    x: dict[str, Tensor] = {}
    for stage in range(depth + 1):
        space = StyledFeatures(network, 1, *PLAIN, stage, 3.0, drop=drop)
        if not stage:
            x = {name: value[None] for name, value in space.start(random).items()}
            continue
        for name in (f"{MOVE}{stage - 1}", f"{CHANGE}{stage - 1}"):
            if name in x:
                x[name] = 0.1 * torch.randn(x[name].shape, generator=random)
        x = space.follow(x)
    return space, {name: value[0] for name, value in x.items()}


@pytest.mark.parametrize("depth", [1, 3])
def test_a_stage_begins_with_the_image_that_the_stage_before_ended_with(
    network: StyleGAN2Network, depth: int
) -> None:
    space, x = begun(network, depth)
    before = StyledFeatures(network, 1, *PLAIN, depth - 1, None)
    torch.testing.assert_close(space.decode(x, LABELS)[1], before.decode(x, LABELS)[1])
    released, _ = begun(network, depth, drop=True)
    assert (released.decode(x, LABELS)[1] - before.decode(x, LABELS)[1]).abs().max() > 0.01


def test_the_first_stage_searches_what_a_latent_search_does(network: StyleGAN2Network) -> None:
    space, x = begun(network, 0)
    whole = LatentCodes(network, 1, *PLAIN).decode({LATENT: x[LATENT]}, LABELS)
    torch.testing.assert_close(space.decode(x, LABELS), whole)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_codes_and_noise_maps_behind_the_feature_move_and_those_before_it_do_not(
    network: StyleGAN2Network, depth: int
) -> None:
    space, x = begun(network, depth)
    points = {name: value.clone().requires_grad_() for name, value in x.items()}
    image = space.decode(points, LABELS)[1]
    random = torch.randn(image.shape, generator=torch.Generator().manual_seed(5))
    names = list(points)
    slopes = torch.autograd.grad((image * random).sum(), list(points.values()), allow_unused=True)
    found = dict(zip(names, slopes, strict=True))
    own = {f"{MOVE}{depth}", f"{CHANGE}{depth}"}
    assert {name for name, slope in found.items() if slope is not None and slope.any()} == own
    codes, *maps = found[f"{MOVE}{depth}"][0].split(network.parts_of(depth))
    first = 2 * depth - 1
    assert [bool(code.any()) for code in codes.view(10, 6)] == [
        place >= first for place in range(10)
    ]
    assert [bool(slope.any()) for slope in maps] == [place >= first for place in range(len(maps))]
    assert len(maps) == min(5 + 2 * depth, 9)


def test_every_part_has_its_own_ball(network: StyleGAN2Network) -> None:
    space, x = begun(network, 2)
    random = torch.Generator().manual_seed(7)
    for name in (f"{MOVE}2", f"{CHANGE}2"):
        x[name] = torch.randn(x[name].shape, generator=random)
    inside = space.project(x)
    sizes = network.parts_of(2)
    for before, after in zip(
        [*x[f"{MOVE}2"][0].split(sizes), x[f"{CHANGE}2"][0].flatten()],
        [*inside[f"{MOVE}2"][0].split(sizes), inside[f"{CHANGE}2"][0].flatten()],
        strict=True,
    ):
        torch.testing.assert_close(after, nearest_in_ball(before, 3.0), rtol=0, atol=1e-5)
    assert all(torch.equal(inside[name], x[name]) for name in x if not name.endswith("2"))


class Seen:
    """What GIFD asks of the attacker's knowledge before it looks at an update."""

    def pixel_arguments(self) -> tuple[tuple[int, ...], Tensor, Tensor]:
        return (1, 3, 32, 32), *PLAIN


@pytest.mark.parametrize("arm", ["faithful", "as_released"])
def test_gifd_takes_its_published_radii_and_drops_the_image_only_as_released(
    network: StyleGAN2Network, arm: str
) -> None:
    spaces = search_spaces(Gifd(arm=arm), Seen(), network)
    assert [space.radius for space in spaces] == [1000, 2000, 3000, 4000, 5000]
    assert {space.drop for space in spaces} == {arm == "as_released"}
    free = search_spaces(Gifd(arm=arm, ball=False, stages=1), Seen(), network)
    assert [space.radius for space in free] == [None, None]


def test_dropping_takes_away_exactly_the_image_so_far(network: StyleGAN2Network) -> None:
    z = tiny().prepared(torch.randn(1, network.latent, generator=torch.Generator().manual_seed(2)))
    x = {LATENT: z, f"{MOVE}0": torch.zeros(1, network.searched(0))}
    for depth in (1, 2):
        x |= {
            f"{MOVE}{depth}": torch.zeros(1, network.searched(depth)),
            f"{CHANGE}{depth}": torch.zeros(1, *feature_shapes(network)[depth - 1]),
        }
        kept, dropped = (
            StyledFeatures(network, 1, *PLAIN, depth, None, drop=drop).decode(x, LABELS)[1]
            for drop in (False, True)
        )
        image = network.features(z, z)[depth - 1][:, -3:]
        while image.shape[-1] < 64:
            image = upsample_filter(image, (2, 1), up=2)
        torch.testing.assert_close(kept - dropped, F.avg_pool2d(image, 2) / 2)

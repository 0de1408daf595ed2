"""GIFD: stages continue without a break, features stay in their balls, each ablation is a setting, no truth is asked."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from gifd_victims import (
    GIVEN,
    LATENT,
    generator,
    gifd,
    natural_victims,
    observe,
    visited,
)
from torch import Tensor
from victims import SIDE, interrupted

from gradsiege import artifacts
from gradsiege.attacks.engine.loop import begin
from gradsiege.attacks.engine.selection import end_at_last_iterate
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.objectives.distances import cosine
from gradsiege.attacks.objectives.regularizers import l2, total_variation
from gradsiege.attacks.optimizers.gradient import Adam
from gradsiege.attacks.recipe import Recipe
from gradsiege.attacks.reconstruct import reconstruct
from gradsiege.attacks.spaces.feature_radii import PUBLISHED_RADII, ball_radius
from gradsiege.attacks.spaces.features import Features, feature_shapes
from gradsiege.attacks.spaces.generator import LatentCodes
from gradsiege.attacks.variables import Variables
from gradsiege.models import build
from gradsiege.protocol.local_update import local_update
from gradsiege.protocol.reconstruction import (
    Reconstruction,
    load_reconstruction,
    save_reconstruction,
)

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def natural() -> tuple[Knowledge, Tensor]:
    return natural_victims()


@dataclass(frozen=True)
class FromPlanted(Features):
    """Features around a latent that is given away."""

    z: Tensor

    def start(self, generator: torch.Generator) -> Variables:
        return {**super().start(generator), "z": self.z}


def test_a_stage_begins_with_the_image_that_the_stage_before_ended_with() -> None:
    network, mean, deviation = generator(), torch.full((3,), 0.5), torch.full((3,), 0.25)
    space = LatentCodes(network, 2, mean, deviation)
    x = {name: value[None] for name, value in space.start(torch.Generator()).items()}
    labels = torch.tensor([[0, 2]])
    for depth in range(1, len(feature_shapes(network)) + 1):
        before = torch.vmap(space.decode)(x, labels)[1]
        space = Features(network, 2, mean, deviation, depth, None)
        x = space.follow(x)
        assert torch.equal(torch.vmap(space.decode)(x, labels)[1], before)
        x[f"change.{depth}"] = torch.randn(x[f"change.{depth}"].shape)
        assert not torch.allclose(torch.vmap(space.decode)(x, labels)[1], before)


def test_a_feature_stage_draws_its_own_start_if_it_is_the_first() -> None:
    network, mean, deviation = generator(), torch.full((3,), 0.5), torch.full((3,), 0.25)
    space = Features(network, 2, mean, deviation, 2, 1.0)
    x, labels = space.start(torch.Generator().manual_seed(0)), torch.tensor([0, 2])
    assert torch.equal(space.decode(x, labels)[1], network(x["z"], labels))


def test_no_image_depends_on_another_image_s_feature() -> None:
    network, mean, deviation = generator(), torch.full((3,), 0.5), torch.full((3,), 0.25)
    space = Features(network, 2, mean, deviation, 2, 1.0)
    x, labels = space.start(torch.Generator().manual_seed(0)), torch.tensor([0, 2])
    before = space.decode(x, labels)[1]
    x["change.2"][1] += torch.randn(x["change.2"][1].shape)
    after = space.decode(x, labels)[1]
    assert torch.equal(after[0], before[0])
    assert not torch.allclose(after[1], before[1])


def test_only_the_stage_s_feature_moves_and_never_leaves_its_ball(
    natural: tuple[Knowledge, Tensor],
) -> None:
    recipe = gifd(natural[0], 48, radii="biggan")
    states = visited(natural[0], recipe)
    for number, stage in enumerate(recipe.phases):
        within = [state.x for state in states if state.phase == number]
        fixed = [name for name in within[0] if name != f"change.{number}" and number]
        for name in fixed:
            assert torch.equal(within[0][name], within[-1][name]), (number, name)
        if number == 0:
            # From the first step on, on the sphere of radius sqrt(d).
            lengths = torch.stack([x["z"] for x in within[1:]]).norm(dim=-1)
            torch.testing.assert_close(lengths, torch.full_like(lengths, LATENT**0.5))
            continue
        assert isinstance(stage.space, Features)
        change = torch.stack([x[f"change.{number}"] for x in within]).abs().flatten(3).sum(-1)
        radius = ball_radius(feature_shapes(stage.space.network)[number - 1], "biggan")
        assert stage.space.radius == radius
        assert not change[0].any()
        assert change.max() <= radius * (1 + 1e-5)
        # Every image of every victim is stopped by its own ball.
        assert (change.amax(0) > 0.99 * radius).all()


def test_without_a_ball_features_go_further(natural: tuple[Knowledge, Tensor]) -> None:
    states = visited(natural[0], gifd(natural[0], 48, ball=False))
    change = [state.x["change.1"] for state in states if state.phase == 1][-1]
    radius = ball_radius(tuple(change.shape[2:]), "biggan")
    assert (change.abs().flatten(2).sum(-1) > 1.5 * radius).all()


def test_radii_keep_the_published_mean_change_of_a_coordinate() -> None:
    """The numbers of the papers' own features come back, averaged over those of one side."""
    for radii, table in PUBLISHED_RADII.items():
        for side, (published, size) in table.items():
            shape = (size // side**2, side, side)
            assert ball_radius(shape, radii) == pytest.approx(sum(published) / len(published))
            assert ball_radius((1, side, side), radii) == pytest.approx(
                sum(published) / len(published) / size * side**2
            )
    published = [radius for radii, _ in PUBLISHED_RADII["biggan"].values() for radius in radii]
    assert published == [2000 + 500 * k for k in range(9)]
    published = [radius for radii, _ in PUBLISHED_RADII["stylegan2"].values() for radius in radii]
    assert published == [2000 + 1000 * k for k in range(4)]


def test_published_constants(natural: tuple[Knowledge, Tensor]) -> None:
    recipe = gifd(natural[0], 4000)
    assert [stage.iterations for stage in recipe.phases] == [1000] * 4
    for stage in recipe.phases:
        assert stage.optimizer == Adam(0.1, schedule="ramps")
        assert stage.regularizers == ((1e-4, total_variation), (1e-6 / SIDE**2, l2))
        assert stage.distance is cosine
    assert isinstance(recipe.phases[0].space, LatentCodes)
    assert recipe.phases[0].space.bound == "sphere"
    assert (recipe.keep, recipe.restart) == ("least", "least")


def errors(found: Reconstruction, truth: Tensor) -> Tensor:
    return (found.images - truth).square().flatten(1).mean(1)


def test_a_planted_change_of_a_feature_is_found() -> None:
    """The truth is G with h_2 changed; the latent is given away, the change is not."""
    network, labels = generator(), torch.tensor([[1]])
    z = torch.randn(1, LATENT, generator=torch.Generator().manual_seed(5))
    embedding = network.embed(labels[0])
    h = network.features(z, embedding)[1]
    change = torch.randn(h.shape, generator=torch.Generator().manual_seed(6))
    truth = network.finish(1, h + 0.3 * change, embedding)[None]
    knowledge = observe(truth, labels, GIVEN, width=16)
    shape, mean, deviation = knowledge.pixel_arguments()
    before = network(z, labels[0])[None]
    far = {}
    for radius in (None, 10.0):
        space = FromPlanted(network, shape[0], mean, deviation, 2, radius, z)
        stage = replace(gifd(knowledge, 120, stages=0).phases[0], space=space)
        found = reconstruct(knowledge, Recipe((stage,)), 1, ("s",))
        far[radius] = float((found.images - truth).square().mean())
    start = float((before - truth).square().mean())
    assert far[None] < 0.25 * start
    # A ball that the planted change lies far outside of stops on the way.
    assert 0.4 * start < far[10.0] < start


def test_features_go_where_the_latent_cannot(natural: tuple[Knowledge, Tensor]) -> None:
    """Equal iterations in all."""
    knowledge, truth = natural
    latent = reconstruct(knowledge, gifd(knowledge, 48, stages=0), 1, ("s",))
    full = reconstruct(knowledge, gifd(knowledge, 48, radius_scale=5.0), 1, ("s",))
    assert (full.matching_loss < 0.5 * latent.matching_loss).all()
    assert errors(full, truth).mean() < errors(latent, truth).mean()


def test_the_ablations_are_settings(natural: tuple[Knowledge, Tensor]) -> None:
    """A step so large that later stages end worse than earlier ones tells the selections apart."""
    knowledge, _ = natural
    wild = {"learning_rate": 3.0, "ball": False}
    f = reconstruct(knowledge, gifd(knowledge, 24, select="last", **wild), 2, ("s",))
    e = reconstruct(knowledge, gifd(knowledge, 24, **wild), 2, ("s",))
    assert f.stages is not None
    assert e.stage_losses is not None
    assert torch.equal(f.stages, e.stages)
    assert f.stages.shape == (2, 4, 2, 3, SIDE, SIDE)
    assert torch.equal(f.images, f.stages[:, -1])
    best = e.stage_losses.argmin(1)
    assert (best < 3).any(), "the case tells nothing if the last stage is the best"
    assert torch.equal(e.images, e.stages[torch.arange(2), best])
    assert torch.equal(e.matching_loss, e.stage_losses.amin(1))
    z = gifd(knowledge, 24, stages=0)
    assert len(z.phases) == 1
    assert reconstruct(knowledge, z, 1, ("s",)).stages is None


def test_with_least_iterates_the_loss_never_rises_from_stage_to_stage(
    natural: tuple[Knowledge, Tensor],
) -> None:
    knowledge, _ = natural
    recipe = gifd(knowledge, 24, iterate="least", learning_rate=3.0, ball=False)
    losses = reconstruct(knowledge, recipe, 1, ("s",)).stage_losses
    assert losses is not None
    assert (losses.diff(dim=1) <= 1e-5).all()


def test_the_returned_image_has_the_returned_loss(natural: tuple[Knowledge, Tensor]) -> None:
    knowledge, _ = natural
    found = reconstruct(knowledge, gifd(knowledge, 20), 2, ("s",))
    assert found.stage_losses is not None
    seen = knowledge.observation
    assert seen.training is not None
    model = build(seen.model)
    for victim in range(2):
        update, _ = local_update(
            model,
            seen.parameters,
            seen.buffers,
            found.images[victim],
            found.labels[victim],
            seen.training,
        )
        loss = cosine(update, {key: value[victim] for key, value in seen.update.items()})
        torch.testing.assert_close(loss, found.matching_loss[victim], rtol=1e-3, atol=1e-4)
    # A stage ends with its last iterate: the losses at the ends of the trace are the stages' own.
    ends = [row for place, (step, row) in enumerate(found.trace) if step == 5]
    torch.testing.assert_close(torch.stack(ends, 1).amin(2), found.stage_losses)


def test_a_last_iterate_that_broke_is_passed_over_for_the_least_one() -> None:
    x = {"z": torch.tensor([[[1.0]], [[torch.nan]], [[3.0]]])}
    state = begin(x, Adam(0.1))
    state.best, state.best_loss = {"z": torch.full((3, 1, 1), 7.0)}, torch.tensor([0.1, 0.2, 0.3])
    state.best_iteration, state.iteration = torch.tensor([2, 2, 2]), 5
    state.trace.append((5, torch.tensor([0.4, torch.nan, 0.6])))
    end_at_last_iterate(state)
    assert state.best["z"].flatten().tolist() == [1.0, 7.0, 3.0]
    torch.testing.assert_close(state.best_loss, torch.tensor([0.4, 0.2, 0.6]))
    assert state.best_iteration.tolist() == [5, 2, 5]


@pytest.mark.parametrize("place", [(0, 3), (2, 1), (3, 5)])
def test_resuming_gives_the_same_bits(
    place: tuple[int, int], natural: tuple[Knowledge, Tensor]
) -> None:
    knowledge, _ = natural
    recipe = gifd(knowledge, 20)
    saved = interrupted(knowledge, recipe, *place)
    resumed = reconstruct(knowledge, recipe, 2, ("s",), resume=lambda: saved)
    straight = reconstruct(knowledge, recipe, 2, ("s",))
    assert torch.equal(resumed.images, straight.images)
    assert resumed.stages is not None
    assert straight.stages is not None
    assert torch.equal(resumed.stages, straight.stages)


def test_what_the_stages_found_survives_the_file(
    natural: tuple[Knowledge, Tensor], tmp_path: Any
) -> None:
    knowledge, _ = natural
    for name, stages in (("several", None), ("one", 0)):
        found = reconstruct(knowledge, gifd(knowledge, 8, stages=stages), 1, ("s",))
        save_reconstruction(tmp_path / name, found)
        artifacts.write_manifest(tmp_path, {}, [name])
        again = load_reconstruction(tmp_path / name)
        for field in ("stages", "stage_losses"):
            before, after = getattr(found, field), getattr(again, field)
            assert (before is None) == (after is None) == (name == "one")
            assert before is None or torch.equal(before, after)


# ---- as released ----

"""ATS trains on an augmented image: an attacker who finds it and knows the policies can undo them (Gao et al., CVPR 2021)."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.attacks.objectives.drawn_transforms import DRAWS, DrawnLoss, WithDraws
from gradsiege.attacks.spaces.pixels import Pixels
from gradsiege.attacks.spaces.space import Space
from gradsiege.attacks.variables import Variables
from gradsiege.errors import ThreatModelError
from gradsiege.protocol.ats_operations import ENHANCEMENTS, MOVES, apply
from gradsiege.protocol.ats_policies import POOL, parse_policy
from gradsiege.protocol.local_update import local_update

VERSION = 1
REQUIRES = ("disclosure",)
BY_NAME = ("likeliest_draw",)
STEPS, RATE = 100, 0.05
# Weight of the total variation that fills the pixels which an augmentation moved out of the image.
SMOOTHNESS = 1e-3
# Operations that work on the 256 levels of an image.
LEVELLED = ("equalize", "posterize")

Hypothesis = tuple[tuple[int, int], ...]


def hypotheses(policies: list[str]) -> list[Hypothesis]:
    """Return every way in which an image may have been augmented, as (entry of the pool, sign).

    >>> hypotheses(["0-3"])
    [((0, 1), (3, 1)), ((0, 1), (3, -1))]
    """
    all_hypotheses: list[Hypothesis] = []
    for text in policies:
        signed = [
            POOL[number][0] in ENHANCEMENTS or POOL[number][0] in MOVES
            for number in parse_policy(text)
        ]
        signs = itertools.product(*[(1, -1) if has_sign else (1,) for has_sign in signed])
        all_hypotheses += [tuple(zip(parse_policy(text), chosen, strict=True)) for chosen in signs]
    return all_hypotheses


def augment(images: Tensor, hypothesis: Hypothesis) -> Tensor:
    """Apply one hypothesis to images ``[n, c, h, w]``; operations without a derivative use the straight-through estimator."""
    augmented = []
    for image in images:
        for number, sign in hypothesis:
            changed = apply(*POOL[number], image, sign)
            levelled = POOL[number][0] in LEVELLED
            image = image + (changed - image).detach() if levelled else changed
        augmented.append(image)
    return torch.stack(augmented)


def undo(images: Tensor, hypothesis: Hypothesis) -> tuple[Tensor, Tensor]:
    """Return the raw images whose augmentation is nearest to the ones found, and what is left of the difference ``[n]``.

    Least squares with a little total variation, by Adam from grey, where no operation saturates.
    """
    raw = torch.full_like(images, 0.5).requires_grad_()
    optimizer = torch.optim.Adam([raw], RATE, fused=True)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = RATE * (1 - step / STEPS)
        optimizer.zero_grad()
        error = (augment(raw, hypothesis) - images).square().mean((1, 2, 3))
        jumps = raw.diff(dim=-1).abs().mean((1, 2, 3)) + raw.diff(dim=-2).abs().mean((1, 2, 3))
        (error + SMOOTHNESS * jumps).sum().backward()
        optimizer.step()
        with torch.no_grad():
            raw.clamp_(0, 1)
    with torch.no_grad():
        return raw.detach(), (augment(raw, hypothesis) - images).square().mean((1, 2, 3))


def undo_likeliest(images: Tensor, policies: list[str]) -> Tensor:
    """Undo the augmentation of images ``[victims, images, c, h, w]``, each by the hypothesis that explains it best."""
    flat = images.flatten(0, 1)
    pairs = [undo(flat, hypothesis) for hypothesis in hypotheses(policies)]
    best = torch.stack([left for _, left in pairs]).argmin(0)
    raw = torch.stack([candidates for candidates, _ in pairs])[best, torch.arange(len(flat))]
    return raw.view(images.shape)


def undo_policy(plan: AttackPlan) -> AttackPlan:
    """Attack as usual, which finds the augmented image; then undo the policy and signs that explain it best.

    The black border of a translation reveals its direction, and the border's grey level the contrast that followed. Pixels
    that were moved out of the image are lost and filled smoothly.
    """
    policies = _policies(plan, "ats.undo_policy")
    return replace(plan, finish=partial(undo_likeliest, policies=policies))


def likeliest_draw(plan: AttackPlan) -> AttackPlan:
    """Find the augmented image with half of the iterations; with the others, the raw image whose augmentation has the update.

    The first half says for each image which policy and signs are likeliest, and where a search among pixels for the raw image begins (`undo`).
    In the second half the candidate passes through that augmentation (`objectives.drawn_transforms`): the update decides every pixel
    that the augmentation kept, and regularizers see the raw image.

    Raises:
        ThreatModelError: no policy is disclosed.
    """
    every = hypotheses(_policies(plan, "ats.likeliest_draw"))
    phase = plan.recipe.phases[-1]
    some = next(iter(plan.update.values()))
    none = some.new_zeros(plan.images_per_client, len(every))
    second = replace(
        phase,
        space=WithDraws(phase.space, none),
        iterations=phase.iterations // 2,
        again=partial(_raw, every, plan, phase.space),
        loss=DrawnLoss([partial(augment, hypothesis=hypothesis) for hypothesis in every]),
    )
    first = replace(phase, iterations=phase.iterations - second.iterations)
    recipe = replace(plan.recipe, phases=(*plan.recipe.phases[:-1], first, second), keep="last")
    return replace(plan, recipe=recipe)


def _policies(plan: AttackPlan, counter: str) -> list[str]:
    """Return the disclosed policies.

    Raises:
        ThreatModelError: there are none.
    """
    policies = list(plan.disclosure["policies"])
    if not policies:
        raise ThreatModelError(
            f"{counter} tries every disclosed policy; three random entries of the pool are too many to try. "
            "Attack ats with named policies"
        )
    return policies


def _matches(plan: AttackPlan, images: Tensor, projected: Tensor) -> Tensor:
    """Return how far the update is when one image is what a hypothesis makes of it, ``[hypotheses, n, images]``.

    Args:
        plan: the attack, with its labels.
        images: found, ``[n, images, c, h, w]``, the same number of restarts for each victim.
        projected: the nearest augmented images, ``[hypotheses, n, images, c, h, w]``.
    """
    seen, distance = plan.knowledge.observation, plan.recipe.phases[-1].distance
    assert seen.training is not None
    assert seen.labels is not None
    model = seen.model.build().to(images)
    table = images.new_zeros(projected.shape[:3])
    for number, element, place in itertools.product(*map(range, table.shape)):
        victim = element * seen.victims // len(images)
        batch = images[element].clone()
        batch[place] = projected[number, element, place]
        update, _ = local_update(
            model, seen.parameters, seen.buffers, batch, seen.labels[victim], seen.training
        )
        observed = {name: value[victim] for name, value in seen.update.items()}
        table[number, element, place] = distance(update, observed).detach()
    return table


def _raw(
    every: list[Hypothesis], plan: AttackPlan, space: Space, starts: Variables, images: Tensor
) -> Variables:
    """Return the likeliest draws for the images found, ``[n, images, c, h, w]``, and where the search goes on.

    A transformation that keeps more pixels leaves less of an image's errors, so that the update decides: the right one takes
    errors out, and a flexible one keeps them. Pixels go on from the raw images, any other space from its own starting points.
    """
    flat = images.flatten(0, 1)
    raw = torch.stack([undo(flat, hypothesis)[0] for hypothesis in every])
    projected = torch.stack(
        [augment(part, hypothesis) for part, hypothesis in zip(raw, every, strict=True)]
    )
    best = _matches(plan, images, projected.unflatten(1, images.shape[:2])).argmin(0)
    chosen = raw[best.flatten(), torch.arange(len(flat), device=flat.device)].view(images.shape)
    draws = F.one_hot(best, len(every)).to(raw)
    if not isinstance(space, Pixels):
        return {**starts, DRAWS: draws}
    pixels = (chosen - space.mean[:, None, None]) / space.deviation[:, None, None]
    return {"x": pixels, DRAWS: draws}

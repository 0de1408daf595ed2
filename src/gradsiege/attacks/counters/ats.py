"""ATS trains on an augmented image: an attacker who finds it and knows the policies can undo them (Gao et al., CVPR 2021)."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.errors import ThreatModelError
from gradsiege.protocol.ats_operations import ENHANCEMENTS, MOVES, apply
from gradsiege.protocol.ats_policies import POOL, parse_policy

VERSION = 1
REQUIRES = ("disclosure",)
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
    optimizer = torch.optim.Adam([raw], RATE)
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
    policies = list(plan.disclosure["policies"])
    if not policies:
        raise ThreatModelError(
            "ats.undo_policy tries every disclosed policy; three random entries of the pool are too many to try. "
            "Attack ats with named policies"
        )
    return replace(plan, finish=partial(undo_likeliest, policies=policies))

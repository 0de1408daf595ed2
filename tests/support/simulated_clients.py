"""An attacker who simulates clients: sixty images of its own, and the defense as its disclosure describes it."""

from __future__ import annotations

from dataclasses import replace

import torch

from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.federated.simulation import simulator
from gradsiege.priors.auxiliary_images import AuxiliaryImages
from gradsiege.priors.base import TrainedPrior


def auxiliary_prior(shape: tuple[int, int, int], count: int = 60) -> TrainedPrior:
    """Smooth random images of ten classes."""
    coarse = torch.rand(count, shape[0], 4, 4, generator=torch.Generator().manual_seed(3))
    images = torch.nn.functional.interpolate(coarse, shape[1:], mode="bicubic").clamp(0, 1)
    weights, card = AuxiliaryImages().train(images, torch.arange(count) % 10, torch.Generator())
    return TrainedPrior("auxiliary_images", weights, card)


def with_clients(plan: AttackPlan) -> AttackPlan:
    """Return the plan of an attacker who simulates clients, if it knows the defense."""
    knowledge, seen = plan.knowledge, plan.knowledge.observation
    granted = seen.training is not None and seen.disclosure is not None
    prior = auxiliary_prior(seen.image_shape)
    return replace(
        plan,
        knowledge=replace(knowledge, priors=(*knowledge.priors, prior)),
        simulate=simulator(seen, 0, 1) if granted else None,
        seed=("test", "attack"),
    )

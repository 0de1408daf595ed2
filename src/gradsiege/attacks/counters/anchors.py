"""The global model at which an attacker compares a candidate with several rounds, and how far the gradient drifts from it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gradsiege.arithmetic import square_root
from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.errors import ThreatModelError
from gradsiege.models.head import probe_images
from gradsiege.protocol.local_update import Tensors, local_update
from gradsiege.protocol.observation import Observation

# Artificial images whose gradients show the drift: noise and coarse noise, some of each.
PROBES = (0, 1, 8, 9)


def anchor_of(plan: AttackPlan, rounds: Sequence[Observation]) -> int:
    """Return the number of the round whose global model the plan compares at."""
    here = plan.knowledge.observation.parameters
    same = [number for number, seen in enumerate(rounds) if seen.parameters is here]
    return same[0]


def drifts(rounds: Sequence[Observation], anchor: int) -> Tensors:
    """Return |g_k - g_a| / |g_a| of each tensor and round k, ``[rounds]``: the root mean square over artificial images.

    Raises:
        ThreatModelError: the local protocol is not granted.
    """
    seen = rounds[anchor]
    if seen.training is None:
        raise ThreatModelError(
            "the drift between rounds needs the local protocol, which is not granted"
        )
    some = next(iter(seen.parameters.values()))
    model = seen.model.build().to(some.device, some.dtype)
    images = probe_images(seen.image_shape).to(some)[list(PROBES)]
    squares: dict[str, list[Tensor]] = {name: [] for name in seen.update}
    for number, image in enumerate(images):
        batch = image.expand(seen.images_per_client, *image.shape)
        label = torch.full((len(batch),), number % seen.model.classes, device=some.device)
        each = [
            local_update(model, round_.parameters, round_.buffers, batch, label, seen.training)[0]
            for round_ in rounds
        ]
        for name, parts in squares.items():
            stack = torch.stack([gradient[name].flatten() for gradient in each]).detach()
            change = (stack - stack[anchor]).square().sum(1)
            parts.append(
                change / stack[anchor].square().sum().clamp_min(torch.finfo(some.dtype).tiny)
            )
    return {name: square_root(torch.stack(parts).mean(0)) for name, parts in squares.items()}

"""DP-SGD is clipping with a known bound and noise with a known law (Abadi et al., CCS 2016)."""

from __future__ import annotations

import math
from functools import partial

from gradsiege.attacks.counters.noise import GaussianLikelihood
from gradsiege.attacks.counters.plan import AttackPlan, Viewed
from gradsiege.errors import ThreatModelError
from gradsiege.protocol.local_update import Tensors, norm

VERSION = 1
REQUIRES = ("disclosure", "protocol")
TINY = 1e-12


def deviation(plan: AttackPlan) -> float:
    """Return the deviation of the noise on one coordinate of the update: sigma C / n in each of its local steps.

    For the mean of several rounds it is divided by the root of their number.
    """
    training = plan.knowledge.observation.training
    assert training is not None  # granted, since REQUIRES names it
    one_step = plan.disclosure["noise_multiplier"] * plan.disclosure["bound"]
    return float(one_step) / training.batch_size * math.sqrt(training.steps / plan.averaged)


def clipped_view(candidate: Tensors, observed: Tensors, bound: float) -> tuple[Tensors, Tensors]:
    """Clip the candidate's update as the client clipped its own.

    >>> import torch
    >>> clipped_view({"a": torch.tensor([6.0, 8.0])}, {"a": torch.zeros(2)}, 5.0)[0]
    {'a': tensor([3., 4.])}
    """
    factor = (bound / norm(candidate).clamp_min(TINY)).clamp(max=1)
    return {name: candidate[name] * factor for name in observed}, observed


def likelihood(plan: AttackPlan) -> AttackPlan:
    """Match the clipped candidate by the likelihood of the disclosed noise.

    For one image in one step this is the exact law of the upload. For more, the attacker sees a mean of clipped gradients
    of length at most C times the number of steps, and the candidate is clipped to this length.
    """
    sigma = deviation(plan)
    if not sigma:
        raise ThreatModelError(
            "dp_sgd.likelihood: a noise_multiplier of 0 leaves no noise to weigh; run the attack without a counter"
        )
    training = plan.knowledge.observation.training
    assert training is not None
    bound = float(plan.disclosure["bound"]) * training.steps
    return plan.with_distance(Viewed(GaussianLikelihood(sigma), partial(clipped_view, bound=bound)))

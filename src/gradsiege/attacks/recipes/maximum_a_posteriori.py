"""Maximum a posteriori under a class-conditional Gaussian prior: the likelihood of the update plus the prior, both in nats.

Bayesian gradient inversion (Balunovic et al., ICLR 2022, equation 3) with a prior of second moments instead of smoothness: no
weight is left to tune.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from gradsiege.attacks.base import Attack
from gradsiege.attacks.counters.noise import GaussianLikelihood, coordinates, estimated_deviation
from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.attacks.given_priors import lacking
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.objectives.regularizers import Candidate
from gradsiege.attacks.optimizers.gradient import Adam, Optimizer
from gradsiege.attacks.optimizers.langevin import Langevin
from gradsiege.attacks.recipe import Phase, Recipe
from gradsiege.attacks.spaces.gaussian_images import WHITE, GaussianImages
from gradsiege.errors import ThreatModelError
from gradsiege.priors.class_conditional_gaussian import ClassConditionalGaussian
from gradsiege.protocol.local_update import Tensors
from gradsiege.ranges import PositiveSize, Range, Rate, Tuned

VERSION = 1
REQUIRES = ("protocol", "prior:class_conditional_gaussian")
KIND = "class_conditional_gaussian"
# An update that nothing has noised still differs from its model by rounding; a smaller share of its size is not believed.
LEAST_DEVIATION = 1e-3


def negative_log_prior(candidate: Candidate) -> Tensor:
    """Return |z|^2 / 2 divided by the number of matched coordinates, the unit of the likelihoods, its constant left out.

    >>> import torch
    >>> pixel, z = torch.zeros(1, 1, 1, 1), torch.tensor([[1.0, -3.0]])
    >>> negative_log_prior(Candidate(pixel, pixel, torch.tensor([0]), {"w": torch.zeros(10)}, {"z": z}))
    tensor(0.5000)
    """
    return candidate.variables[WHITE].square().sum() / (2 * coordinates(candidate.observed))


def noise_of(knowledge: Knowledge) -> float:
    """Return a deviation of white noise for all victims: the median of what their heads show, and at least rounding."""
    update = knowledge.observation.update
    estimate = estimated_deviation(AttackPlan(knowledge, Recipe(()))).median()
    return max(float(estimate), LEAST_DEVIATION * root_mean_square(update))


def root_mean_square(update: Tensors) -> float:
    """Return the root mean square of all coordinates.

    update: tensors by name, of any shape.
    """
    squares = sum(float(value.square().sum()) for value in update.values())
    return float((squares / coordinates(update)) ** 0.5)


@dataclass(frozen=True)
class MaximumAPosteriori(Attack):
    """x = mu_y + L z: minimise -log p(update | x) + |z|^2 / 2 from z = 0. 300 iterations are enough at 32 px.

    A counter that states the law of what was received (such as ``gaussian.likelihood``) sets the likelihood; without one it is
    white Gaussian noise.

    Attributes:
        deviation: of that noise, in gradient units; None estimates it from the head's update.
        estimate: the posterior's ``mode``, or its ``mean`` over Langevin samples, which errs least in the square where noise
            dominates.
        learning_rate: of Adam for the mode, with a cosine schedule.
        step_size: of Langevin dynamics for the mean.
    """

    name = "maximum_a_posteriori"
    requires = REQUIRES

    deviation: PositiveSize | None = None
    estimate: Literal["mode", "mean"] = "mode"
    learning_rate: Annotated[Rate, Tuned(0.01, 0.2)] = 0.05
    step_size: Annotated[float, Range(0, 2, open_low=True)] = 0.5

    def recipe(self, knowledge: Knowledge) -> Recipe:
        """Return the problem; each phase ends at its last iterate, since the least matching one is not the posterior's."""
        rounds = knowledge.threat.rounds if self.rounds == "joint" else 1
        optimizer: Optimizer = Adam(self.learning_rate, schedule="cosine")
        if self.estimate == "mean":
            optimizer = Langevin(self.step_size)
        deviation = noise_of(knowledge) if self.deviation is None else self.deviation
        phase = Phase(
            space=gaussian_images(knowledge),
            distance=GaussianLikelihood(deviation),
            # The engine takes the mean over rounds; the prior counts once beside their sum.
            regularizers=((1 / rounds, negative_log_prior),),
            optimizer=optimizer,
            iterations=self.iterations,
            iterate="last",
            unit="nats",
        )
        return Recipe((phase,))


def gaussian_images(knowledge: Knowledge) -> GaussianImages:
    """Return the search space of the prior that the attacker was given.

    Raises:
        ThreatModelError: there is no such prior, or it is one of images of another shape.
    """
    prior = knowledge.trained(KIND)
    if prior is None:
        raise lacking("maximum_a_posteriori", (KIND,))
    means, factor = ClassConditionalGaussian.load(prior.weights)
    seen = knowledge.observation
    if means.shape[1:] != seen.image_shape:
        raise ThreatModelError(
            f"maximum_a_posteriori: the prior is one of images of shape {list(means.shape[1:])}, not {list(seen.image_shape)}; "
            "train it on images of the private ones' shape"
        )
    # Classes beyond those of the auxiliary images have the mean of all.
    further = means.mean(0).expand(max(0, seen.model.classes - len(means)), -1, -1, -1)
    shape, mean, deviation = knowledge.pixel_arguments()
    means, factor = torch.cat([means, further]).to(mean), factor.to(mean)
    return GaussianImages(means, factor, shape[0], mean, deviation)

"""Shadow adds sparse, mostly positive noise to the images before the local step (arXiv 2506.15711)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.attacks.objectives.regularizers import (
    Candidate,
    double_opponent_total_variation,
    total_variation,
)
from gradsiege.attacks.recipe import Phase
from gradsiege.attacks.spaces.space import Space
from gradsiege.attacks.variables import Variables
from gradsiege.errors import StudyError, ThreatModelError

VERSION = 1
REQUIRES = ("disclosure",)
WEIGHTS = ("total_variation",)
NOISE = "shadow_noise"
# The mean price of a unit of noise, in units of what the mean of a difference between neighbours costs: an isolated pixel
# saves four differences, one in line with its neighbours two, one of an area none.
PRICE = 2.0
SMOOTHING = (total_variation, double_opponent_total_variation)


@dataclass(frozen=True)
class WithNoise:
    """A search space with a map of non-negative noise on top: the network sees images + noise, regularizers the images.

    Attributes:
        inner: space of the clean images.
        maps: ``(images, maps, height, width)`` of the noise, with one map or one per channel.
        deviation: ``[channels]``, from normalised units to pixels.
        peak: largest noise, in normalised units.
        scale: of the noise in this round.
    """

    inner: Space
    maps: tuple[int, int, int, int]
    deviation: Tensor
    peak: float
    scale: float = 1.0

    def start(self, generator: torch.Generator) -> Variables:
        """Draw one element, without noise."""
        none = torch.zeros(self.maps, device=self.deviation.device)
        return {**self.inner.start(generator), NOISE: none}

    def follow(self, before: Variables) -> Variables:
        """Go on from an earlier phase, with its noise."""
        return {**self.inner.follow(before), NOISE: before[NOISE]}

    def decode(self, x: Variables, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return (clean images as the network would see them, noisy images in [0, 1]).

        Both ``[images, c, h, w]``.
        """
        normalised, images = self.inner.decode(x, labels)
        return normalised, images + self.scale * x[NOISE] * self.deviation[:, None, None]

    def labels(self, x: Variables, labels: Tensor) -> Tensor:
        """Return the labels of the inner space.

        ``[images]``, or ``[images, classes]`` for soft labels.
        """
        return self.inner.labels(x, labels)

    def project(self, x: Variables) -> Variables:
        """Keep the noise between 0 and its peak, and the rest where it belongs."""
        return {**self.inner.project(x), NOISE: x[NOISE].clamp(0, self.peak)}


def noise_size(candidate: Candidate) -> Tensor:
    """Return the mean magnitude of the noise map.

    A scalar; the noise map is ``[images, c, h, w]``.
    """
    return candidate.variables[NOISE].abs().mean()


def largest_noise(plan: AttackPlan) -> float:
    """Return the disclosed peak, amplitude * exp(t / R) * max(x), for a white pixel in the last round."""
    _, mean, deviation = plan.knowledge.pixel_arguments()
    brightest = float(((1 - mean) / deviation).max())
    return float(plan.disclosure["amplitude"]) * math.e * brightest


def denoise(plan: AttackPlan) -> AttackPlan:
    """Estimate a clean image and sparse positive noise together; only the image is returned.

    Regularizers see the clean image, the match sees the noisy one; what tells the two apart is the recipe's total
    variation. The last phase takes no step: it drops the noise, and restarts are chosen by how the clean image matches.

    Raises:
        StudyError: the recipe has no total variation.
    """
    return _with_noise(plan, largest_noise(plan), 1.0)


def two_round_extrapolation(plan: AttackPlan) -> AttackPlan:
    """Share image and noise between rounds, whose amplitudes exp(t / R) are known: the match extrapolates to none.

    With the pattern frozen, two rounds a and b are two equations for image and noise at every pixel, whose solution is
    x = (e^b x_a - e^a x_b) / (e^b - e^a); that it moves a little from round to round is taken for noise. It goes
    with `rounds: joint`; more rounds are more equations.

    Raises:
        ThreatModelError: the attack sees a single round.
        StudyError: the recipe has no total variation.
    """
    progress = plan.knowledge.observation.progress
    if len(progress) != 1:
        raise ThreatModelError(
            "shadow.two_round_extrapolation needs rounds of different amplitude: give the attack 'rounds: joint', and a "
            "threat model that grants several rounds"
        )
    # The amplitude of the first round of all is the unit of the noise.
    return _with_noise(plan, largest_noise(plan) / math.e, math.exp(progress[0]))


def _with_noise(plan: AttackPlan, peak: float, scale: float) -> AttackPlan:
    shape, _, deviation = plan.knowledge.pixel_arguments()
    images, channels, height, width = shape
    maps = channels if plan.disclosure["scrambled_map"] else 1

    def joint(phase: Phase) -> Phase:
        smoothing = sum(weight for weight, term in phase.regularizers if term in SMOOTHING)
        if not smoothing:
            raise StudyError(
                "Shadow's counters tell noise from image by the total variation, which this attack does not use; "
                "give it a weight in the attack's parameters, or choose another attack"
            )
        return replace(
            phase,
            space=WithNoise(phase.space, (images, maps, height, width), deviation, peak, scale),
            regularizers=(*phase.regularizers, (PRICE * smoothing, noise_size)),
        )

    clean = replace(plan.recipe.phases[-1], iterations=0)
    informed = plan.map_phases(joint)
    recipe = replace(informed.recipe, phases=(*informed.recipe.phases, clean), keep="last")
    return replace(informed, recipe=recipe)

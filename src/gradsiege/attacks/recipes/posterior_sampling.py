"""Diffusion posterior sampling: images drawn from a denoiser's prior and pulled to match the update (Chung et al., ICLR 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from gradsiege.attacks.base import Attack
from gradsiege.attacks.given_priors import lacking
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.objectives.carried import Carried
from gradsiege.attacks.objectives.distances import cosine
from gradsiege.attacks.objectives.regularizers import total_variation
from gradsiege.attacks.optimizers.posterior import PosteriorSampler
from gradsiege.attacks.recipe import Phase, Recipe
from gradsiege.attacks.spaces.denoised import Denoised
from gradsiege.errors import ThreatModelError
from gradsiege.priors import load
from gradsiege.priors.denoiser.network import Preconditioned
from gradsiege.ranges import AtMost, PositiveSize, Tuned, Weight

VERSION = 1
REQUIRES = ("protocol", "prior:denoiser")
KIND = "denoiser"


@dataclass(frozen=True)
class PosteriorSampling(Attack):
    """Constants of the sampler; its steps are the attack's iterations.

    A sample may settle on a wrong image, which its matching loss reveals: several restarts are worth their time.

    Attributes:
        guidance: weight of the matching distance, as if it were a likelihood in nats per coordinate; 1 is right for a counter that
            sets one, 0 ignores the update.
        limit: largest change of the estimate by the update at a level of noise, in units of that noise.
        largest_noise, least_noise: first and last level, in units of images in [-1, 1].
        estimate: the ``sample`` of the restart that matches best, or the ``mean`` of all restarts' samples, an estimate of the
            posterior mean.
        total_variation: weight of the smoothness of the estimate, in units of the distance.
    """

    name = "posterior_sampling"
    requires = REQUIRES

    guidance: Annotated[Weight, Tuned(0.1, 10)] = 1.0
    limit: PositiveSize | None = 0.5
    largest_noise: PositiveSize = 10.0
    least_noise: Annotated[PositiveSize, AtMost("largest_noise")] = 0.01
    estimate: Literal["sample", "mean"] = "sample"
    total_variation: Weight = 0.0

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            ValueError: a value that is out of range, or `patience`: an element that stops half-way is left with its noise.
        """
        super().__post_init__()
        if self.patience is not None:
            raise ValueError(
                f"posterior_sampling: patience must be left out, not {self.patience}: a sampler that stops early ends in noise"
            )

    def recipe(self, knowledge: Knowledge) -> Recipe:
        """Return: x_{t-1} = DDPM step from D(x_t) - zeta_t grad of the distance at D(x_t), down to no noise.

        The distance is the cosine one, unless a counter sets a likelihood. The images of the last step are returned, which are
        free of noise, and not those of least matching loss on the way.
        """
        seen = knowledge.observation
        shape, mean, deviation = knowledge.pixel_arguments()
        coordinates = sum(value[0].numel() for value in seen.update.values())
        smooth = self.total_variation
        phase = Phase(
            space=Denoised(
                denoiser(knowledge),
                shape[0],
                mean,
                deviation,
                shape=seen.image_shape,
                largest=self.largest_noise,
            ),
            distance=cosine,
            regularizers=(
                (1.0, Carried(mean, deviation)),
                *(((smooth, total_variation),) if smooth else ()),
            ),
            optimizer=PosteriorSampler(
                self.guidance * coordinates, self.limit, self.largest_noise, self.least_noise
            ),
            iterations=self.iterations,
            iterate="last",
            unit="nats",
        )
        return Recipe((phase,), restart="least" if self.estimate == "sample" else "mean")


def denoiser(knowledge: Knowledge) -> Preconditioned:
    """Return the attacker's denoiser, on the device of the attack.

    Raises:
        ThreatModelError: there is none, or it was trained on images of another shape than the private ones.
    """
    prior = knowledge.trained(KIND)
    if prior is None:
        raise lacking("posterior_sampling", (KIND,))
    network: Preconditioned = load(prior.name, prior.weights).to(knowledge.device)
    learned = (network.channels, network.size, network.size)
    if learned != knowledge.observation.image_shape:
        raise ThreatModelError(
            f"posterior_sampling: the denoiser learned images of shape {learned}, the private ones have "
            f"{knowledge.observation.image_shape}; train it on images of their shape"
        )
    return network

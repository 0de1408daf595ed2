"""ROG: matching in the codes of an autoencoder, then learned enhancement of the result (Yue et al., USENIX Security 2023).

"Gradient obfuscation gives a false sense of security in federated learning": a compressed update says too little of an image's pixels,
but enough of fewer numbers. The release (github.com/KAI-YUE/rog) has three steps; here the first is `AutoencoderCodes`, the second
`Rog.recipe`, the third `enhanced`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import torch
from torch import Tensor

from gradsiege.attacks.base import Attack
from gradsiege.attacks.conditions import Completed, Conditions
from gradsiege.attacks.given_priors import lacking, projection
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.objectives.distances import squared_l2
from gradsiege.attacks.objectives.regularizers import total_variation
from gradsiege.attacks.optimizers.gradient import Adam
from gradsiege.attacks.recipe import Phase, Recipe
from gradsiege.attacks.recipes.posterior_sampling import denoiser
from gradsiege.attacks.spaces.autoencoder_codes import AutoencoderCodes
from gradsiege.priors.autoencoder import AutoencoderNetwork
from gradsiege.priors.denoiser.network import Preconditioned
from gradsiege.priors.denoiser.preconditioning import to_signed, to_unit
from gradsiege.ranges import PositiveSize, Rate, Tuned, Weight

VERSION = 1
SIDE_MULTIPLE = 8
REQUIRES = ("protocol", "prior:autoencoder")
KIND = "autoencoder"


@dataclass(frozen=True)
class Rog(Attack):
    """The release's constants, with a cosine schedule of the step. It runs 100 iterations; a study sets `iterations`.

    The match is l2, so that a received level counts as it is; a counter such as ``quantization.likelihood``, ``sign.likelihood`` or
    ``top_k.likelihood`` takes the law of the compression instead. Departures: the release searches images of a quarter of the
    resolution, enlarged bicubically, and its trained networks (a conditional generator, a denoiser and a super-resolution
    network, at 128 px) are not ours; its schedule ends at a tenth of the step.

    Attributes:
        learning_rate: of Adam on the pixels.
        total_variation: its weight beside the matching loss.
        enhancement_noise: deviation, on images in [-1, 1], of the error that the enhancement is to remove; None takes the
            autoencoder's own error on held-out images. Without the prior `denoiser` nothing is enhanced.
    """

    name = "rog"
    requires = REQUIRES
    further_priors = ("denoiser",)

    learning_rate: Annotated[Rate, Tuned(0.01, 0.3)] = 0.05
    total_variation: Annotated[Weight, Tuned(1e-4, 0.1)] = 0.0
    enhancement_noise: PositiveSize | None = None

    def recipe(self, knowledge: Knowledge) -> Recipe:
        """Return: minimise |grad(Dec(code)) - g|^2 + alpha TV over codes that are not negative."""
        network, _ = autoencoder(knowledge)
        shape, mean, deviation = knowledge.pixel_arguments()
        weight = self.total_variation
        phase = Phase(
            space=AutoencoderCodes(
                network, shape[0], mean, deviation, shape=knowledge.observation.image_shape
            ),
            distance=squared_l2,
            regularizers=((weight, total_variation),) if weight else (),
            optimizer=Adam(self.learning_rate, schedule="cosine"),
            iterations=self.iterations,
            iterate="last",
        )
        return Recipe((phase,))

    def run(self, knowledge: Knowledge, how: Conditions) -> Completed:
        """Match, then enhance the images if there is a denoiser."""
        completed = super().run(knowledge, how)
        if knowledge.trained("denoiser") is None:
            return completed
        _, error = autoencoder(knowledge)
        sigma = 2 * error**0.5 if self.enhancement_noise is None else self.enhancement_noise
        matched = completed.reconstruction
        images = enhanced(matched.images, matched.labels, denoiser(knowledge), sigma)
        return replace(completed, reconstruction=replace(matched, images=images))


def autoencoder(knowledge: Knowledge) -> tuple[AutoencoderNetwork, float]:
    """Return the attacker's autoencoder on the device of the attack, and its mean squared error on images in [0, 1] that were held out.

    Raises:
        ThreatModelError: there is none, or it does not take images of the private ones' shape.
    """
    prior = knowledge.trained(KIND)
    if prior is None:
        raise lacking("rog", (KIND,))
    like = torch.zeros(1, *knowledge.observation.image_shape, device=knowledge.device)
    network = projection(prior, like, "rog")
    assert isinstance(network, AutoencoderNetwork)
    return network, float(str(prior.card["held_out_error_mean"]))


def enhanced(images: Tensor, labels: Tensor, network: Preconditioned, sigma: float) -> Tensor:
    """Return (D(x; sigma, y) + D(x; sigma)) / 2: the mean of an estimate for the class and one for any, as the release averages.

    Args:
        images: x, ``[victims, images, c, h, w]`` in [0, 1]; one that is not finite becomes NaN.
        labels: y, ``[victims, images]``; a class that the denoiser never saw counts as any.
        network: the denoiser D, on images in [-1, 1].
        sigma: deviation of the error that D is told of.
    """
    x = to_signed(images.flatten(0, 1)).to(network.spread)
    noise = x.new_full((len(x),), sigma)
    unknown = torch.full((len(x),), network.network.classes, device=x.device)
    with torch.no_grad():
        mean = (network(x, noise, labels.flatten().to(x.device)) + network(x, noise, unknown)) / 2
    return to_unit(mean).clamp(0, 1).to(images).view_as(images)

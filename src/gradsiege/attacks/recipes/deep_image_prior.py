"""Deep image prior: the weights of an untrained, over-parameterised network, as in CI-Net (Zhang et al., ICCV 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from gradsiege.attacks.base import Attack
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.objectives.distances import cosine
from gradsiege.attacks.objectives.regularizers import total_variation
from gradsiege.attacks.optimizers.gradient import Adam
from gradsiege.attacks.recipe import Phase, Recipe
from gradsiege.attacks.spaces.generator import UntrainedNetwork
from gradsiege.attacks.spaces.untrained_network import OverParameterisedNetwork, published_width
from gradsiege.errors import ModelError
from gradsiege.priors.shadow_generator import SMALLEST_MAP
from gradsiege.ranges import Rate, Tuned, Weight, Width

VERSION = 2
SIDE_MULTIPLE = 2
REQUIRES = ("protocol",)


@dataclass(frozen=True)
class DeepImagePrior(Attack):
    """CI-Net's constants: z in R^128, signed Adam at a constant 1e-3, no TV; 2,000 iterations at 32 px.

    Attributes:
        latent: dimensions of the fixed input z.
        width: of the network; None takes the published rule: 32, doubled until the weights outnumber 4 * images * side^2.
        learning_rate: of Adam on the network's weights.
        signed: Adam is fed the gradient's signs.
        total_variation: its weight beside the matching loss.
    """

    name = "deep_image_prior"
    requires = REQUIRES

    latent: Width = 128
    width: Width | None = None
    learning_rate: Annotated[Rate, Tuned(3e-4, 0.03)] = 1e-3
    signed: bool = True
    total_variation: Annotated[Weight, Tuned(1e-4, 0.1)] = 0.0

    def recipe(self, knowledge: Knowledge) -> Recipe:
        """Return: minimise 1 - cos(grad(G_theta(z)), g) + alpha TV over theta from a random one; z is fixed.

        The release replaces every ReLU of the attacked model by a sigmoid and shows the iterate of the best SSIM. Here the
        model is the client's own, whatever its activations, and the iterate is chosen by matching loss.

        Raises:
            ModelError: the private images are not square, or their side is odd or at most 4.
        """
        shape, mean, deviation = knowledge.pixel_arguments()
        images, channels, size, across = shape
        if size != across or size % SIDE_MULTIPLE or size <= SMALLEST_MAP:
            raise ModelError(
                f"{self.name}: images have {size} x {across} pixels (height x width), and its network doubles a small map up to a "
                f"square of an even side above {SMALLEST_MAP}; take an attack that optimises pixels, such as InvertingGradients"
            )
        latent = self.latent
        width = self.width or published_width(latent, images, channels, size)
        network = OverParameterisedNetwork(latent, width, channels, size).requires_grad_(False)
        weight = self.total_variation
        phase = Phase(
            space=UntrainedNetwork(network, images, mean, deviation, latent=latent),
            distance=cosine,
            regularizers=((weight, total_variation),) if weight else (),
            optimizer=Adam(
                self.learning_rate,
                sign="hard" if self.signed else "none",
                schedule="constant",
            ),
            iterations=self.iterations,
        )
        return Recipe((phase,))

"""GIAS: a search over a generator's latent space, then over its weights, one copy per image (Jeon et al., NeurIPS 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from gradsiege.attacks.base import Attack
from gradsiege.attacks.generators import staged_generator
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.objectives.distances import cosine
from gradsiege.attacks.objectives.regularizers import total_variation
from gradsiege.attacks.optimizers.gradient import Adam
from gradsiege.attacks.recipe import Phase, Recipe
from gradsiege.attacks.spaces.generator import GeneratorWeights, LatentCodes
from gradsiege.ranges import Rate, Share, Tuned, Weight

VERSION = 1
REQUIRES = ("protocol", "prior:staged_gan", "prior:biggan", "prior:stylegan2")

# (latent, weight) iterations by image side, from the scripts in the authors' repository: 500 + 5,000 at 32 px,
# 1,000 + 8,000 at 128 px. The row for 64 px holds placeholders there, so 64 px goes by 32.
PUBLISHED_ITERATIONS = {32: (500, 5000), 128: (1000, 8000)}


def split_iterations(iterations: int, size: int, share: float | None = None) -> tuple[int, int]:
    """Return (latent, weight) iterations that add up to `iterations`, each at least 1.

    >>> split_iterations(5500, 32), split_iterations(900, 128), split_iterations(100, 32, 0.5)
    ((500, 5000), (100, 800), (50, 50))
    """
    if share is None:
        known = [side for side in PUBLISHED_ITERATIONS if side <= size]
        latent, weight = PUBLISHED_ITERATIONS[max(known, default=min(PUBLISHED_ITERATIONS))]
        share = latent / (latent + weight)
    first = min(max(1, round(share * iterations)), max(1, iterations - 1))
    return first, max(1, iterations - first)


@dataclass(frozen=True)
class Gias(Attack):
    """The scripts' constants for 32 px; published with 3 restarts.

    Attributes:
        latent_learning_rate: of Adam on the latents, first.
        weight_learning_rate: of Adam on the generator's weights, then.
        total_variation: its weight beside the matching loss.
        latent_share: share of the iterations on latents; None takes the published split.
    """

    name = "gias"
    requires = REQUIRES

    latent_learning_rate: Annotated[Rate, Tuned(0.01, 0.3)] = 3e-2
    weight_learning_rate: Annotated[Rate, Tuned(1e-4, 1e-2)] = 1e-3
    total_variation: Annotated[Weight, Tuned(1e-5, 0.1)] = 1e-6
    latent_share: Share | None = None

    def recipe(self, knowledge: Knowledge) -> Recipe:
        """Return: minimise 1 - cos + alpha TV over z; then, with z fixed, over the weights of every image's own G.

        Unsigned Adam with step decay in both phases. The paper's cost can be restricted to the largest entries
        of the update; at its default it is the plain cosine.
        """
        network = staged_generator(knowledge, "gias")
        seen = knowledge.observation
        shape, mean, deviation = knowledge.pixel_arguments()
        latent, weight = split_iterations(
            self.iterations, max(seen.image_shape[1:]), self.latent_share
        )
        variation = ((self.total_variation, total_variation),)
        return Recipe(
            (
                Phase(
                    space=LatentCodes(network, shape[0], mean, deviation),
                    distance=cosine,
                    regularizers=variation,
                    optimizer=Adam(self.latent_learning_rate),
                    iterations=latent,
                ),
                Phase(
                    space=GeneratorWeights(network, shape[0], mean, deviation),
                    distance=cosine,
                    regularizers=variation,
                    optimizer=Adam(self.weight_learning_rate),
                    iterations=weight,
                ),
            )
        )

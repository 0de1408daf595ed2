"""GI-PIP: cosine matching with an autoencoder's anomaly score as prior (Sun et al., ICASSP 2024, arXiv 2401.11748)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch

from gradsiege.attacks.base import Arm, Attack
from gradsiege.attacks.given_priors import lacking, projection
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.objectives.distances import cosine
from gradsiege.attacks.objectives.regularizers import anomaly_score, total_variation
from gradsiege.attacks.optimizers.gradient import Adam
from gradsiege.attacks.recipe import Phase, Recipe
from gradsiege.ranges import Rate, Tuned, Weight

VERSION = 1
ARMS = ("faithful", "as_released")
REQUIRES = ("protocol", "prior:autoencoder", "prior:denoising_autoencoder", "prior:pca")
KINDS = ("autoencoder", "denoising_autoencoder", "pca")

# (total variation, anomaly score) by batch size, from the commands the authors published for 32 px images. The
# third row's command says batch 4 but stands where batch 8 belongs.
PUBLISHED_WEIGHTS = {1: (1e-6, 1e-6), 4: (1e-5, 1e-4), 8: (5e-4, 5e-4)}


def published_weights(images: int) -> tuple[float, float]:
    """Return the published (TV, anomaly score) weights for a batch size.

    >>> published_weights(1), published_weights(6)
    ((1e-06, 1e-06), (1e-05, 0.0001))
    """
    return PUBLISHED_WEIGHTS[max(size for size in PUBLISHED_WEIGHTS if size <= images)]


@dataclass(frozen=True)
class GiPip(Attack):
    """Matching, total variation and the anomaly score, in pixels.

    Attributes:
        total_variation: its weight; None takes the published one of the nearest batch size below.
        anomaly_score: its weight, likewise; with 0, total variation is the only prior.
        learning_rate: of Adam on the pixels.
        arm: scores each image against held-out ones, or as released the mean of the batch.
    """

    name = "gi_pip"
    requires = REQUIRES

    total_variation: Annotated[Weight | None, Tuned(1e-4, 0.1)] = None
    anomaly_score: Annotated[Weight | None, Tuned(1e-3, 1)] = None
    learning_rate: Annotated[Rate, Tuned(0.05, 0.5)] = 0.1
    arm: Arm = "faithful"

    def recipe(self, knowledge: Knowledge) -> Recipe:
        """Return: minimise 1 - cos + b_TV TV(x) + b_AS AS(x), unsigned Adam, step decay.

        Faithful: the score of each image, m0 the mean error on held-out auxiliary images. As released: the score
        of the batch mean, m0 = 0.001. The published prior is the autoencoder; the others are controls, whose
        reconstruction error is scored alike.
        """
        prior = knowledge.trained(*KINDS)
        if prior is None:
            raise lacking("gi_pip", KINDS)
        tv, score = published_weights(knowledge.observation.images_per_client)
        tv = tv if self.total_variation is None else self.total_variation
        score = score if self.anomaly_score is None else self.anomaly_score
        faithful = self.arm == "faithful"
        typical = float(str(prior.card["held_out_error_mean"])) if faithful else 0.001
        like = torch.zeros(1, *knowledge.observation.image_shape, device=knowledge.device)
        network = projection(prior, like, "gi_pip")
        terms = ((tv, total_variation), (score, anomaly_score(network, typical, faithful)))
        phase = Phase(
            space=knowledge.pixels(),
            distance=cosine,
            regularizers=tuple(term for term in terms if term[0]),
            optimizer=Adam(self.learning_rate),
            iterations=self.iterations,
        )
        return Recipe((phase,))

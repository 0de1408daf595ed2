"""Match the update by its squared distance, near the mean of the auxiliary images: an example of an attack."""

from dataclasses import dataclass

from torch import Tensor

from gradsiege.attacks.base import Attack
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.objectives.distances import squared_l2
from gradsiege.attacks.objectives.regularizers import Candidate
from gradsiege.attacks.optimizers.gradient import Adam
from gradsiege.attacks.recipe import Phase, Recipe
from gradsiege.errors import ThreatModelError
from gradsiege.ranges import Rate, Weight
from gradsiege_example.mean_image import MeanImage

VERSION = 1
REQUIRES = ("prior:mean_image",)


@dataclass(frozen=True)
class NearMean(Attack):
    """Weight of the distance to the mean image, and the step of Adam."""

    name = "near_mean"
    requires = REQUIRES

    pull: Weight = 1e-3
    learning_rate: Rate = 0.1

    def recipe(self, knowledge: Knowledge) -> Recipe:
        """Return: minimise |g(x) - g|^2 + pull |x - mean|^2."""
        prior = knowledge.trained("mean_image")
        if prior is None:
            raise ThreatModelError("near_mean needs the prior mean_image; name it in the study")
        mean = MeanImage.load(prior.weights).to(knowledge.device)

        def distance_to_mean(candidate: Candidate) -> Tensor:
            return (candidate.images - mean).square().mean()

        space, terms = knowledge.pixels(), ((self.pull, distance_to_mean),)
        adam = Adam(self.learning_rate)
        return Recipe((Phase(space, squared_l2, terms, adam, self.iterations),))

"""GGL: CMA-ES over a generator's latent space, past the estimated defense (Li et al., CVPR 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from torch import Tensor

from gradsiege.attacks.base import Attack
from gradsiege.attacks.generators import staged_generator
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.objectives.distances import squared_l2
from gradsiege.attacks.objectives.estimated_transforms import after
from gradsiege.attacks.objectives.regularizers import Candidate
from gradsiege.attacks.optimizers.cmaes import CMAES
from gradsiege.attacks.recipe import Phase, Recipe
from gradsiege.attacks.spaces.generator import LATENT, LatentCodes
from gradsiege.protocol.local_update import Tensors
from gradsiege.ranges import PositiveSize, Range, Tuned, Weight

VERSION = 1
REQUIRES = ("protocol", "prior:staged_gan", "prior:biggan", "prior:stylegan2")
USES = ("disclosure",)


def mean_squared_l2(candidate: Tensors, observed: Tensors) -> Tensor:
    """Return the squared l2 distance divided by the number of tensors, as the released code counts it.

    >>> import torch
    >>> mean_squared_l2({"a": torch.ones(2), "b": torch.ones(2)}, {"a": torch.zeros(2), "b": torch.zeros(2)})
    tensor(2.)
    """
    return squared_l2(candidate, observed) / len(observed)


def latent_divergence(candidate: Candidate) -> Tensor:
    """Return KL(N(m, s^2) | N(0, 1)) with m, s the mean and deviation of a latent's own coordinates, summed over images.

    A scalar; the latents are ``[images, d]``.
    """
    z = candidate.variables[LATENT]
    mean = z.mean(-1)
    variance = (z - mean[..., None]).square().mean(-1)
    return -0.5 * (1 + (variance + 1e-10).log() - mean.square() - variance).sum()


@dataclass(frozen=True)
class Ggl(Attack):
    """The released CMA-ES settings; `iterations` counts its steps, 500 in the release.

    Attributes:
        population: samples of a step.
        deviation: of the first search distribution.
        tanh: bound the latent by tanh, which takes the place of the divergence.
        divergence: weight of the latent's divergence from N(0, 1), where `tanh` is off.
        transformation: the defense whose strength is estimated: ``disclosed`` takes the kind from the disclosure, if that is granted.
    """

    name = "ggl"
    requires = REQUIRES

    population: Annotated[int, Range(4, 10_000)] = 50
    deviation: PositiveSize = 1.0
    tanh: bool = True
    divergence: Annotated[Weight, Tuned(1e-3, 1)] = 0.1
    transformation: Literal["disclosed", "none", "clipping", "sparsification", "soteria"] = (
        "disclosed"
    )

    def recipe(self, knowledge: Knowledge) -> Recipe:
        """Return: minimise |T(grad(G(tanh z, y))) - g|^2 / tensors over z, gradient-free, from z in U(0, 1).

        T is the defense with its strength estimated from g. The least-matching candidate is returned, where the release
        returns the mean of the last search distribution.
        """
        network = staged_generator(knowledge, "ggl")
        shape, mean, deviation = knowledge.pixel_arguments()
        kind: str = self.transformation
        if kind == "disclosed":
            kind = str((knowledge.observation.disclosure or {}).get("defense", "none"))
        bound: Literal["tanh", "none"] = "tanh" if self.tanh else "none"
        phase = Phase(
            space=LatentCodes(network, shape[0], mean, deviation, bound, begin="uniform"),
            distance=after(mean_squared_l2, kind, knowledge),
            regularizers=() if self.tanh else ((self.divergence, latent_divergence),),
            optimizer=CMAES(self.population, self.deviation),
            iterations=self.iterations,
        )
        return Recipe((phase,))

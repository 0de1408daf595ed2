"""How the denoised images reach the sampler: as the derivative of a term by a variable that is always zero."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gradsiege.attacks.objectives.regularizers import Candidate
from gradsiege.attacks.spaces.denoised import ESTIMATE
from gradsiege.priors.denoiser.preconditioning import to_signed


@dataclass(frozen=True)
class Carried:
    """A term that is always zero, and whose derivative by ``estimate`` is the denoised images: d<c, D>/dc = D.

    Engines return the derivative by every variable and nothing else, so that the sampler gets the estimate from the evaluation that
    gave it the gradient, and the denoiser does not run twice. The images are those that regularizers see, without what a counter
    adds to them.

    Attributes:
        mean, deviation: ``[channels]``, the global model's own normalisation.
    """

    mean: Tensor
    deviation: Tensor

    def __call__(self, candidate: Candidate) -> Tensor:
        """Return <estimate, D(x)>, D in [-1, 1]."""
        images = candidate.normalised * self.deviation[:, None, None] + self.mean[:, None, None]
        return (candidate.variables[ESTIMATE] * to_signed(images).detach()).sum()

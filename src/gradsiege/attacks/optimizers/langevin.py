"""Langevin dynamics over many independent elements: samples of a posterior, and their mean in place of an optimum."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gradsiege.arithmetic import square_root
from gradsiege.attacks.variables import Variables
from gradsiege.seeds import torch_generator

MEMORY = 0.99


@dataclass(frozen=True)
class Langevin:
    """Unadjusted Langevin dynamics of exp(-U), U = coordinates * objective, preconditioned; it ends at the samples' mean.

        x <- x - (e / 2) G grad U(x) + sqrt(e G) N(0, I),   G = 1 / max(1, V)

    V is a running mean of (grad U)^2 per coordinate. At stationarity E (grad U)^2 is the mean curvature, so that G is the
    diagonal of the inverse Fisher matrix, the best preconditioner by Titsias (NeurIPS 2023); the running diagonal is that
    of Li et al. (AAAI 2016). Variables must be whitened: their prior is N(0, I), whose curvature of one is the least.
    The mean of a Gaussian posterior is exact for every stable e (its covariance is not); else there is a bias of order e.

    Attributes:
        step_size: e.
        burn_in: share of the iterations before samples count.
        coordinates: what the objective was divided by, usually the number of matched coordinates.
        seed: names of the draws; an iteration's draws depend on the seed and its number alone.
    """

    step_size: float
    burn_in: float = 0.5
    coordinates: int = 1
    seed: tuple[object, ...] = ()

    def rate(self, iteration: int, iterations: int) -> float:
        """Return the constant step size."""
        return self.step_size

    def start(self, x: Variables) -> Variables:
        """Return zero moments and zero means."""
        zeros = {f"square.{name}": torch.zeros_like(value) for name, value in x.items()}
        return zeros | {f"mean.{name}": torch.zeros_like(value) for name, value in x.items()}

    def step(
        self, x: Variables, gradient: Variables, memory: Variables, iteration: int, iterations: int
    ) -> tuple[Variables, Variables]:
        """Move every element; after the last iteration return the mean of what came after the burn-in."""
        generator = torch_generator(*self.seed, iteration)
        first = int(self.burn_in * iterations)
        moved: Variables = {}
        after: Variables = {}
        for name, value in x.items():
            slope = gradient[name] * self.coordinates
            square = torch.lerp(memory[f"square.{name}"], slope.square(), 1 - MEMORY)
            curvature = square / (1 - MEMORY ** (iteration + 1))
            scale = self.step_size / curvature.clamp_min(1)
            sample = value - scale / 2 * slope + square_root(scale) * _normal(value, generator)
            mean = memory[f"mean.{name}"]
            if iteration >= first:
                mean = mean + (sample - mean) / (iteration - first + 1)
            moved[name] = mean if iteration + 1 == iterations else sample
            after[f"square.{name}"], after[f"mean.{name}"] = square, mean
        return moved, after


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    """Draw N(0, 1) with a generator of the CPU, so that every device draws alike."""
    return torch.randn(like.shape, generator=generator).to(like)

"""CMA-ES: the search distributions of many independent elements, which `engine.evolution` moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gradsiege.attacks.variables import Variables, flatten
from gradsiege.extras import need

# The attributes of a `cmaes.CMA` that `tell` changes, without the history of its stopping rules, which are not used.
MOVING = ("_mean", "_sigma", "_C", "_p_sigma", "_pc", "_g")


@dataclass(frozen=True)
class CMAES:
    """Covariance matrix adaptation (Hansen, arXiv 1604.00772), by the `cmaes` library, in float64.

    It replaces a gradient optimizer in a `Phase`; one iteration is one generation.

    Attributes:
        population: candidates per generation.
        deviation: initial step size in every direction.
    """

    population: int = 50
    deviation: float = 1.0

    def __post_init__(self) -> None:
        """Refuse before an attack begins, not after its other phases."""
        need("cmaes")

    def rate(self, iteration: int, iterations: int) -> float:
        """Return the initial step size; the search adapts its own."""
        return self.deviation

    def start(self, x: Variables) -> Variables:
        """Return the search distributions around the starts, each tensor ``[n, ...]``."""
        rows = flatten(x).double().cpu().numpy()
        return pack([self._fresh(row) for row in rows])

    def step(
        self, x: Variables, gradient: Variables, memory: Variables, iteration: int, iterations: int
    ) -> tuple[Variables, Variables]:
        """Refuse: a generation needs the fitness of a population; see `evolve`."""
        raise TypeError("CMA-ES takes no gradient step; the phase must be run by `evolve`")

    def _fresh(self, mean: np.ndarray) -> Any:
        # It imports SciPy's distributions, which most attacks never need: a second in every process.
        import cmaes

        return cmaes.CMA(mean, self.deviation, population_size=self.population, seed=0)

    def restore(self, memory: Variables, element: int, seed: int) -> Any:
        """Return one element's search as it stands in `memory`, its draws set by `seed`."""
        search = self._fresh(memory["_mean"][element].cpu().numpy())
        for name in MOVING:
            value = memory[name][element].cpu()
            setattr(search, name, value.item() if value.dim() == 0 else value.numpy().copy())
        search.reseed_rng(seed)
        return search


def pack(searches: list[Any]) -> Variables:
    """Return what moves of several searches, each tensor ``[n, ...]``."""
    return {
        name: torch.stack([torch.as_tensor(np.array(getattr(search, name))) for search in searches])
        for name in MOVING
    }

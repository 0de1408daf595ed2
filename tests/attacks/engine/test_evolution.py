"""CMA-ES over latents: each element finds its own optimum, as the library does, and a broken one harms nobody."""

from collections.abc import Callable

import cmaes
import numpy as np
import torch
from torch import Tensor

from gradsiege.attacks.engine.evolution import evolve
from gradsiege.attacks.engine.loop import begin
from gradsiege.attacks.optimizers.cmaes import CMAES
from gradsiege.attacks.variables import Variables
from gradsiege.seeds import seed_for

torch.set_num_threads(1)


def planted_fitness(optima: Tensor) -> Callable[[Variables], tuple[Tensor, Tensor]]:
    def fitness(x: Variables) -> tuple[Tensor, Tensor]:
        loss = (x["z"] - optima[:, None]).square().sum((2, 3)) + 0.5
        return loss, loss

    return fitness


def test_evolution_finds_each_element_s_own_optimum() -> None:
    optima, optimizer = torch.randn(3, 2, 2), CMAES(population=10)
    start = {"z": torch.zeros(3, 2, 2)}
    state = begin(start, optimizer)
    fitness = planted_fitness(optima)
    state = evolve(fitness, optimizer, 60, state, ("s",), lambda state: None)
    torch.testing.assert_close(state.best["z"], optima, atol=0.02, rtol=0)
    torch.testing.assert_close(state.best_loss, torch.full((3,), 0.5), atol=1e-3, rtol=0)
    alone = begin({"z": start["z"][:1]}, optimizer)
    alone = evolve(planted_fitness(optima[:1]), optimizer, 60, alone, ("s",), lambda state: None)
    assert torch.equal(alone.best["z"][0], state.best["z"][0])


def test_evolution_equals_the_library_run_without_a_break() -> None:
    optimum, optimizer = torch.tensor([[[1.0, -2.0, 0.5]]]), CMAES(population=8)
    state = begin({"z": torch.zeros(1, 1, 3)}, optimizer)
    state = evolve(planted_fitness(optimum), optimizer, 20, state, ("s",), lambda state: None)
    search = cmaes.CMA(np.zeros(3), 1.0, population_size=8)
    for generation in range(20):
        search.reseed_rng(seed_for("s", "generation", generation, 0) % 2**32)
        points = [search.ask() for _ in range(8)]
        tensors = torch.from_numpy(np.array(points)).float()
        values = ((tensors - optimum[0]).square().sum(1) + 0.5).double().tolist()
        search.tell(list(zip(points, values, strict=True)))
    np.testing.assert_array_equal(state.memory["_mean"][0].numpy(), search.mean)


def test_a_broken_element_harms_nobody_in_evolution() -> None:
    optima, optimizer = torch.tensor([[[1.0]], [[torch.nan]], [[2.0]]]), CMAES(population=6)
    state = begin({"z": torch.zeros(3, 1, 1)}, optimizer)
    state = evolve(planted_fitness(optima), optimizer, 30, state, ("s",), lambda state: None)
    assert state.best["z"][1].isnan().all()
    torch.testing.assert_close(
        state.best["z"][::2, 0, 0], torch.tensor([1.0, 2.0]), atol=0.02, rtol=0
    )

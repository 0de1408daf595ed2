"""Estimates of a posterior: its mode by Adam, its mean by Langevin dynamics, against closed forms and quadrature in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gradsiege.attacks.engine.loop import begin, optimise
from gradsiege.attacks.optimizers.gradient import Adam, Optimizer
from gradsiege.attacks.optimizers.langevin import Langevin
from gradsiege.attacks.variables import Variables

NOISE = 0.3
OBSERVED = 5


class Linear:
    """o = A z + N(0, NOISE^2) with z ~ N(0, I); the objective is -log posterior over the number of observed coordinates."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.map = torch.randn(OBSERVED, 6, generator=generator).double()
        self.seen = 2 * torch.randn(OBSERVED, generator=generator).double()
        self.precision = torch.eye(6).double() + self.map.T @ self.map / NOISE**2
        self.mean = torch.linalg.solve(self.precision, self.map.T @ self.seen / NOISE**2)

    def __call__(self, x: Variables, iteration: int) -> tuple[Variables, Tensor]:
        """Return (gradients, matching losses)."""
        z = x["z"]
        error = z @ self.map.T - self.seen
        gradient = error @ self.map / NOISE**2 + z
        return {"z": gradient / OBSERVED}, error.square().sum(-1) / (2 * NOISE**2 * OBSERVED)


class OutsideAnExponential:
    """One z ~ N(0, 1), seen as 1.5 through Laplace noise of scale 0.5: the mode is at 1.5 and the mean is below it."""

    def __call__(self, x: Variables, iteration: int) -> tuple[Variables, Tensor]:
        """Return (gradients, matching losses)."""
        z = x["z"]
        return {"z": z + 2 * (z - 1.5).sign()}, 2 * (z - 1.5).abs().sum(-1)

    def mean(self) -> float:
        """By quadrature."""
        z = torch.linspace(-8, 8, 160_001).double()
        density = (-z.square() / 2 - 2 * (z - 1.5).abs()).exp()
        return float((z * density).sum() / density.sum())


def last(problem: object, optimizer: Optimizer, elements: int, size: int, steps: int) -> Tensor:
    """Where the elements end."""
    assert callable(problem)
    state = begin({"z": torch.zeros(elements, size).double()}, optimizer)
    done = optimise(problem, lambda x, _: x, optimizer, steps, state, lambda _: None)
    return done.x["z"]


def test_the_mode_of_a_linear_problem_is_the_closed_form() -> None:
    problem = Linear()
    found = last(problem, Adam(0.05, schedule="cosine"), 1, 6, 800)
    torch.testing.assert_close(found[0], problem.mean, rtol=0, atol=1e-4)


def test_the_mean_of_a_linear_problem_is_the_closed_form() -> None:
    problem = Linear()
    samples = last(problem, Langevin(0.5, coordinates=OBSERVED, seed=("a",)), 64, 6, 1500)
    error = samples.mean(0) - problem.mean
    assert (error.abs() < 4 * samples.std(0) / 8).all()
    # A chain's mean varies less than a sample does.
    spread = torch.linalg.inv(problem.precision).diagonal().sqrt()
    assert samples.std(0).max() < 0.8 * spread.max()
    # Not a tautology: the prior's mean is as far away as the error bars are wide, many times over.
    assert (problem.mean.abs() > 4 * samples.std(0) / 8).sum() >= 4


def test_the_unit_of_the_objective_is_the_temperature() -> None:
    """An objective in nats per coordinate is flatter than the posterior; the number of coordinates makes up for it."""
    problem = OutsideAnExponential()

    def per_coordinate(x: Variables, iteration: int) -> tuple[Variables, Tensor]:
        gradient, matching = problem(x, iteration)
        return {"z": gradient["z"] / 10}, matching / 10

    whole = last(problem, Langevin(0.1, seed=("a",)), 500, 1, 200)
    told = last(per_coordinate, Langevin(0.1, coordinates=10, seed=("a",)), 500, 1, 200)
    torch.testing.assert_close(told, whole)
    flat = last(per_coordinate, Langevin(0.1, seed=("a",)), 500, 1, 200)
    assert float(flat.mean()) < float(whole.mean()) - 0.3


@pytest.mark.parametrize(("optimizer", "wanted"), [("mode", 1.5), ("mean", None)])
def test_mean_and_mode_differ_where_they_should(optimizer: str, wanted: float | None) -> None:
    problem = OutsideAnExponential()
    if optimizer == "mode":
        found = last(problem, Adam(0.05, schedule="cosine"), 1, 1, 500)
        assert abs(float(found) - 1.5) < 0.01
    else:
        found = last(problem, Langevin(0.05, seed=("a",)), 1000, 1, 400)
        assert abs(float(found.mean()) - problem.mean()) < 0.08
        assert problem.mean() < 1.2


def test_draws_depend_on_seed_and_iteration_alone() -> None:
    problem = Linear()
    one, same, other = (
        last(problem, Langevin(0.5, coordinates=OBSERVED, seed=(seed,)), 2, 6, 20)
        for seed in ("a", "a", "b")
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert not torch.equal(one[0], one[1])

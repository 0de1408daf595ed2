"""Each optimizer against PyTorch's own, element by element."""

import math

import pytest
import torch

from gradsiege.attacks.optimizers.gradient import LBFGS, Adam
from gradsiege.attacks.variables import Variables

torch.set_num_threads(1)


def run(optimizer: Adam | LBFGS, start: torch.Tensor, steps: int) -> torch.Tensor:
    """Minimise each element's Rosenbrock-like function from its start."""
    x: Variables = {"a": start[:, :1].clone(), "b": start[:, 1:].clone()}
    memory = optimizer.start(x)
    for iteration in range(steps):
        leaf = {name: value.clone().requires_grad_() for name, value in x.items()}
        objective(torch.cat(list(leaf.values()), 1)).sum().backward()
        gradient = {name: value.grad for name, value in leaf.items() if value.grad is not None}
        x, memory = optimizer.step(x, gradient, memory, iteration, steps)
    return torch.cat(list(x.values()), 1)


def objective(rows: torch.Tensor) -> torch.Tensor:
    return (1 - rows[:, 0]) ** 2 + 3 * (rows[:, 1] - rows[:, 0] ** 2) ** 2 + rows[:, 2] ** 2 / 2


STARTS = torch.tensor([[-1.0, 0.5, 2.0], [0.3, -0.7, 1.0], [1.5, 1.5, -1.0]], dtype=torch.float64)


def test_adam_equals_pytorch() -> None:
    found = run(Adam(0.05, schedule="constant"), STARTS, 30)
    for index, start in enumerate(STARTS):
        reference = start.clone().requires_grad_()
        theirs = torch.optim.Adam([reference], lr=0.05)
        for _ in range(30):
            theirs.zero_grad()
            objective(reference[None]).sum().backward()
            theirs.step()
        torch.testing.assert_close(found[index], reference.detach())


def test_lbfgs_equals_pytorch() -> None:
    steps = 25
    found = run(LBFGS(learning_rate=0.5, history=8), STARTS, steps)
    for index, start in enumerate(STARTS):
        reference = start.clone().requires_grad_()
        theirs = torch.optim.LBFGS(
            [reference],
            lr=0.5,
            max_iter=steps,
            history_size=8,
            tolerance_grad=0,
            tolerance_change=0,
        )

        def closure(
            point: torch.Tensor = reference, solver: torch.optim.Optimizer = theirs
        ) -> torch.Tensor:
            solver.zero_grad()
            loss = objective(point[None]).sum()
            loss.backward()
            return loss

        theirs.step(closure)
        torch.testing.assert_close(found[index], reference.detach(), rtol=1e-6, atol=1e-9)


def test_hard_sign_moves_every_coordinate_alike() -> None:
    x = {"x": torch.zeros(1, 2)}
    adam = Adam(0.1, sign="hard")
    moved, _ = adam.step(x, {"x": torch.tensor([[1e-3, -50.0]])}, adam.start(x), 0, 8)
    torch.testing.assert_close(moved["x"], torch.tensor([[-0.1, 0.1]]))


@pytest.mark.parametrize(("iteration", "remaining"), [(0, 1.0), (6, 0.25)])
def test_soft_sign_bounds_a_coordinate_at_first_and_less_and_less(
    iteration: int, remaining: float
) -> None:
    """tanh(s g) / s with s = 1 - t/T: |.| <= 1 / s, and the gradient itself where it is small."""
    x = {"x": torch.zeros(1, 3)}
    adam = Adam(1.0, sign="soft", schedule="constant")
    gradient = torch.tensor([[1e-4, 2.0, -500.0]])
    _, memory = adam.step(x, {"x": gradient}, adam.start(x), iteration, 8)
    expected = [1e-4, math.tanh(2 * remaining) / remaining, -1 / remaining]
    torch.testing.assert_close(memory["first.x"], 0.1 * torch.tensor([expected]))


def test_elements_never_mix() -> None:
    for optimizer in (Adam(0.05), LBFGS(0.5)):
        together = run(optimizer, STARTS, 10)
        alone = torch.cat([run(optimizer, start[None], 10) for start in STARTS])
        torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)


def test_a_broken_element_stands_still_and_harms_nobody() -> None:
    x = {"x": torch.zeros(2, 2)}
    lbfgs = LBFGS()
    gradient = {"x": torch.tensor([[torch.nan, 1.0], [1.0, 1.0]])}
    moved, _ = lbfgs.step(x, gradient, lbfgs.start(x), 0, 5)
    assert torch.equal(moved["x"][0], torch.zeros(2))
    assert torch.isfinite(moved["x"][1]).all()
    assert moved["x"][1].any()

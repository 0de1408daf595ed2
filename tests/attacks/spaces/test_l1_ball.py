"""The projections agree with independent float64 solvers and meet the conditions that define them."""

import numpy as np
import pytest
import torch
from scipy.optimize import brentq, minimize

from gradsiege.attacks.optimizers.gradient import Adam
from gradsiege.attacks.spaces.l1_ball import onto_l1_ball, onto_simplex

torch.set_num_threads(1)


def rows(seed: int, count: int, size: int) -> torch.Tensor:
    """Rows of very different scales, some with many equal and some with zero entries."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(count, size, generator=generator, dtype=torch.float64)
    values = values * 10 ** torch.linspace(-2, 2, count, dtype=torch.float64)[:, None]
    values[1] = values[1].sign()
    values[2, ::2] = 0
    return values


def by_root_finding(values: np.ndarray, radius: float) -> np.ndarray:
    """Soft-threshold at the root of the dual equation sum max(|v| - theta, 0) = radius."""
    size = np.abs(values)
    if size.sum() <= radius:
        return values
    theta = brentq(lambda t: np.maximum(size - t, 0).sum() - radius, 0, size.max(), xtol=1e-14)
    return np.sign(values) * np.maximum(size - theta, 0)


@pytest.mark.parametrize("size", [1, 7, 400])
@pytest.mark.parametrize("radius", [0.5, 30.0])
def test_the_l1_projection_agrees_with_root_finding_in_float64(size: int, radius: float) -> None:
    values = rows(size, 12, size)
    expected = np.stack([by_root_finding(row, radius) for row in values.numpy()])
    np.testing.assert_allclose(onto_l1_ball(values, radius).numpy(), expected, atol=1e-10)
    single = onto_l1_ball(values.float(), radius).double().numpy()
    np.testing.assert_allclose(single, expected, atol=1e-5 * np.abs(values.numpy()).max())


def test_the_l1_projection_agrees_with_a_general_solver() -> None:
    """Quadratic program over w = p - q with p, q >= 0, solved without any knowledge of the ball's geometry."""
    values, radius = rows(3, 5, 5)[2].numpy() + 0.3, 0.4
    solved = minimize(
        lambda pq: np.square(pq[:5] - pq[5:] - values).sum(),
        np.full(10, 0.05),
        bounds=[(0, None)] * 10,
        constraints={"type": "ineq", "fun": lambda pq: radius - pq.sum()},
        options={"ftol": 1e-12, "maxiter": 500},
    )
    assert solved.success
    found = onto_l1_ball(torch.from_numpy(values), radius).numpy()
    np.testing.assert_allclose(found, solved.x[:5] - solved.x[5:], atol=1e-5)


def test_no_corner_of_the_ball_is_nearer() -> None:
    """w is the projection of v exactly if <v - w, u - w> <= 0 for every u of the ball; its corners suffice."""
    values, radius = rows(0, 30, 200), 4.0
    found = onto_l1_ball(values, radius)
    away = values - found
    assert (found.abs().sum(1) <= radius * (1 + 1e-12)).all()
    corners = radius * away.abs().amax(1)
    assert (corners - (away * found).sum(1) <= 1e-9 * values.abs().amax(1) * radius).all()
    assert (away.norm(dim=1) > 0).any()


def test_the_simplex_projection_meets_its_optimality_conditions() -> None:
    values = rows(1, 20, 9)
    found = onto_simplex(values)
    torch.testing.assert_close(found.sum(1), torch.ones(20, dtype=torch.float64))
    assert (found >= 0).all()
    away = values - found
    assert (away.amax(1) - (away * found).sum(1) <= 1e-9).all()
    torch.testing.assert_close(onto_simplex(found), found)


def test_points_of_the_ball_stay_and_radius_zero_leaves_nothing() -> None:
    values = rows(2, 6, 50)
    inside = values / values.abs().sum(1, keepdim=True)
    assert torch.equal(onto_l1_ball(inside, 1.01), inside)
    assert not onto_l1_ball(values, 0.0).any()
    with pytest.raises(ValueError, match="-1"):
        onto_l1_ball(values, -1)


def test_vmap_gives_what_the_batch_gives_and_a_broken_row_harms_nobody() -> None:
    values = rows(4, 6, 40).view(3, 2, 40).float()
    batched = onto_l1_ball(values, 3.0)
    assert torch.equal(torch.vmap(lambda one: onto_l1_ball(one, 3.0))(values), batched)
    broken = values.clone()
    broken[1, 0, 5] = torch.nan
    after = onto_l1_ball(broken, 3.0)
    assert torch.equal(after[0], batched[0])
    assert torch.equal(after[1, 1], batched[1, 1])


def test_a_million_coordinates_in_single_precision_fill_the_ball() -> None:
    values = torch.randn(1, 2**20, generator=torch.Generator().manual_seed(0))
    found = onto_l1_ball(values, 6000.0)
    assert abs(float(found.double().abs().sum()) - 6000) < 0.5


def test_gifd_s_step_size_is_ramped_up_held_and_ramped_down() -> None:
    adam = Adam(0.1, schedule="ramps")
    rates = [adam.rate(iteration, 1000) for iteration in range(1000)]
    assert rates[0] == 0
    np.testing.assert_allclose(rates[50:251], 0.1)
    np.testing.assert_allclose(rates[25], 0.05)
    # Half of the cosine's way is at 1/4 + 3/8.
    np.testing.assert_allclose(rates[625], 0.05)
    assert rates[-1] < 1e-6
    assert (np.diff(rates[250:]) <= 0).all()

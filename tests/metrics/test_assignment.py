"""Every victim gets exactly one reconstruction, whatever the attack returned."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gradsiege.metrics.assignment import ASSIGNMENT_COST, assign, squared_error_matrix
from gradsiege.metrics.fidelity import mean_squared_error
from gradsiege.metrics.registry import METRICS


def batch(size: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(size, 3, 8, 8, generator=generator)


def is_bijection(order: Tensor) -> bool:
    return order.dtype == torch.int64 and sorted(order.tolist()) == list(range(len(order)))


@settings(max_examples=30)
@given(order=st.integers(1, 12).flatmap(lambda n: st.permutations(range(n))))
def test_a_planted_permutation_is_found(order: list[int]) -> None:
    truths = batch(len(order))
    noisy = (truths + 0.2 * batch(len(order), seed=1)).clamp(0, 1)
    planted = torch.tensor(order)
    found = assign(noisy[planted], truths)
    assert torch.equal(planted[found], torch.arange(len(order)))
    assert torch.equal(noisy[planted][found], noisy)


def test_a_batch_of_one_keeps_its_order() -> None:
    assert assign(batch(1, 1), batch(1)).tolist() == [0]


def test_a_batch_in_order_stays_in_order() -> None:
    assert assign(batch(6), batch(6)).tolist() == list(range(6))


@pytest.mark.parametrize("victim", [0, 3])
def test_collapsed_reconstructions_are_still_spread_over_all_victims(victim: int) -> None:
    truths = batch(5)
    collapsed = truths[victim].expand_as(truths)
    order = assign(collapsed, truths)
    assert is_bijection(order)
    assert torch.equal(order, assign(collapsed, truths))
    exact = mean_squared_error(collapsed[order], truths) == 0
    assert exact.tolist() == [i == victim for i in range(5)]


def test_two_reconstructions_cannot_claim_one_victim() -> None:
    """Best-of-originals would call both copies exact; a bijection allows one of them."""
    truths = batch(2)
    copies = truths[[0, 0]]
    best_of_originals = squared_error_matrix(copies, truths).amin(dim=1)
    assert best_of_originals.tolist() == [0.0, 0.0]
    assigned = mean_squared_error(copies[assign(copies, truths)], truths)
    assert (assigned == 0).sum() == 1


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), failed=st.sets(st.integers(0, 5)))
def test_the_total_cost_is_the_smallest_and_failures_do_not_disturb_the_rest(
    seed: int, failed: set[int]
) -> None:
    from itertools import permutations

    reconstructions, truths = batch(6, seed), batch(6, seed + 1)
    for index in failed:
        reconstructions[index, 0, 0, 0] = (torch.nan, torch.inf, -torch.inf)[index % 3]
    order = assign(reconstructions, truths)
    assert is_bijection(order)
    costs = squared_error_matrix(reconstructions, truths)
    columns = torch.arange(6)
    every = torch.tensor(list(permutations(range(6))))
    smallest = costs[every, columns].sum(dim=1).amin()
    assert costs[order, columns].sum().item() == pytest.approx(smallest.item(), abs=1e-12)


def test_failures_cost_as_much_as_the_worst_image() -> None:
    black, white = torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4)
    worst = squared_error_matrix(black, white)
    failed = squared_error_matrix(torch.full_like(black, torch.nan), white)
    assert torch.equal(failed, worst)
    assert worst.unique().tolist() == [METRICS[ASSIGNMENT_COST].range[1]]


def test_the_cost_matrix_is_the_metric_of_every_pair() -> None:
    reconstructions, truths = batch(4, 1), batch(4)
    costs = squared_error_matrix(reconstructions, truths)
    for i in range(4):
        row = mean_squared_error(reconstructions[i].expand_as(truths), truths)
        torch.testing.assert_close(costs[i], row)
    assert (squared_error_matrix(truths, truths).diagonal() == 0).all()
    double = squared_error_matrix(reconstructions.double(), truths.double())
    torch.testing.assert_close(costs, double)


def test_shuffled_batches_pair_the_same_images() -> None:
    reconstructions, truths = batch(7, 1), batch(7)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(0))
    paired = reconstructions[assign(reconstructions, truths)]
    shuffled = reconstructions[order]
    assert torch.equal(shuffled[assign(shuffled, truths)], paired)
    turned = reconstructions[assign(reconstructions, truths[order])]
    assert torch.equal(turned, paired[order])

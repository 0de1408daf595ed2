"""Labels counted from a bias of which not every entry was received."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gradsiege.attacks import labels
from gradsiege.attacks.label_counts import completed, counts, counts_of_partial
from gradsiege.metrics.labels import label_accuracy

CLASSES = 10
Scenes = Callable[..., Any]


def bias_of(true: list[int]) -> Tensor:
    """The bias gradient of an undecided network, ``[1, classes]``: p - onehot(y) with p = 1 / C, averaged."""
    return 1 / CLASSES - torch.eye(CLASSES)[true].mean(0, keepdim=True)


def sparse(bias: Tensor, sent: int) -> Tensor:
    """The bias with its `sent` largest magnitudes alone."""
    largest = bias.abs().topk(sent).indices
    return torch.zeros_like(bias).scatter(-1, largest, bias.gather(-1, largest))


@given(true=st.lists(st.integers(0, CLASSES - 1), min_size=2, max_size=6), sent=st.integers(0, 9))
def test_rows_that_lie_along_the_bias_stand_for_what_was_not_sent(
    true: list[int], sent: int
) -> None:
    bias = bias_of(true)
    received = sparse(bias, sent) if sent else torch.zeros_like(bias)
    assert counts_of_partial(received, 5 * bias, len(true)).tolist() == [sorted(true)]


@given(true=st.lists(st.integers(0, CLASSES - 1), min_size=2, max_size=6))
def test_a_whole_bias_is_counted_whatever_the_rows_say(true: list[int]) -> None:
    bias = bias_of(true) * 1.01 + 0.001
    rows = -bias.flip(-1)
    assert torch.equal(counts_of_partial(bias, rows, len(true)), counts(bias, len(true)))


@given(st.integers(1, 9), st.integers(0, 2**16))
def test_an_estimate_is_no_larger_than_the_least_entry_that_was_sent(sent: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    whole = torch.randn(CLASSES, generator=generator)
    received = sparse(whole[None], sent)[0]
    estimate = completed(received, torch.randn(CLASSES, generator=generator), 4)
    assert torch.equal(estimate[received != 0], received[received != 0])
    limit = received[received != 0].abs().min()
    assert bool((estimate[received == 0].abs() <= limit * (1 + 1e-6)).all())


def test_how_much_an_image_adds_tells_one_image_of_a_class_from_two() -> None:
    """One entry was sent in either case; that it is larger says that its class has two images."""
    four = torch.tensor([[-1.0, -1.0, -0.1, -0.1, 1, 1, 1, 1, 1, 1]])
    two = torch.tensor([[-1.0, -1.0, 1, 1, 1, 1, 1, 1, 1, 1]])
    assert counts_of_partial(sparse(bias_of([0, 1, 2, 3]), 1), four, 4).tolist() == [[0, 1, 2, 3]]
    assert counts_of_partial(sparse(bias_of([0, 0, 1, 1]), 1), two, 4).tolist() == [[0, 0, 1, 1]]


def test_clients_whose_bias_was_received_whole_keep_their_counts_beside_others() -> None:
    bias = torch.cat([bias_of([4, 4, 4, 1]), sparse(bias_of([0, 2, 2, 2]), 1)])
    rows = torch.cat([bias_of([7, 7, 7, 7]), bias_of([0, 2, 2, 2])])
    assert counts_of_partial(bias, rows, 4).tolist() == [[1, 4, 4, 4], [0, 2, 2, 2]]


@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize("name", ["sparsification", "top_k"])
@pytest.mark.parametrize("model", ["convnet", "resnet18"])
def test_batches_of_sparse_uploads(name: str, model: str, steps: int, defended: Scenes) -> None:
    """Several local steps add up; an image is worth as much of their mean as of one step's gradient."""
    scene = defended(name, model=model, images=4, steps=steps, victims=5)
    share = {
        rule: label_accuracy(labels.inferred(scene.seen, rule), scene.labels).mean()
        for rule in ("automatic", "bias_corrected")
    }
    assert share["automatic"] >= 0.95
    assert name == "top_k" or share["bias_corrected"] <= 0.5

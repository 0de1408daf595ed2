"""Labels are counted as multisets."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gradsiege.metrics.labels import UNKNOWN, label_accuracy

ROWS = st.integers(1, 8).flatmap(
    lambda size: st.lists(
        st.tuples(
            st.lists(st.integers(UNKNOWN, 5), min_size=size, max_size=size),
            st.lists(st.integers(0, 5), min_size=size, max_size=size),
        ),
        min_size=1,
        max_size=4,
    )
)


@settings(max_examples=100)
@given(rows=ROWS)
def test_it_is_the_multiset_intersection(rows: list[tuple[list[int], list[int]]]) -> None:
    inferred, true = (torch.tensor(column) for column in zip(*rows, strict=True))
    expected = [
        sum((Counter(label for label in guess if label >= 0) & Counter(truth)).values())
        / len(truth)
        for guess, truth in rows
    ]
    assert label_accuracy(inferred, true).tolist() == expected


def test_order_is_free_and_duplicates_count() -> None:
    true = torch.tensor([[1, 2, 3, 3]])
    assert label_accuracy(torch.tensor([[3, 1, 3, 2]]), true).item() == 1.0
    assert label_accuracy(torch.tensor([[3, 3, 3, 3]]), true).item() == 0.5
    assert label_accuracy(torch.tensor([[3, UNKNOWN, UNKNOWN, UNKNOWN]]), true).item() == 0.25
    assert label_accuracy(torch.full((1, 4), UNKNOWN), true).item() == 0.0


def test_an_absurd_guess_is_wrong_and_costs_no_memory() -> None:
    assert label_accuracy(torch.tensor([[2**62, 1]]), torch.tensor([[0, 1]])).item() == 0.5


@pytest.mark.parametrize(
    ("inferred", "true", "error", "message"),
    [
        ([[0, 1, 2]], [[0, 1]], ValueError, "exactly one label per image"),
        ([[0, -2]], [[0, 1]], ValueError, "inferred: label -2 is below -1"),
        ([[0, 1]], [[0, -1]], ValueError, "true: label -1 is below 0"),
        ([[0.0, 1.0]], [[0, 1]], TypeError, r"float32, labels need int64"),
        ([0, 1], [[0, 1]], ValueError, r"non-empty \[v, B\]"),
    ],
)
def test_wrong_labels_are_refused(
    inferred: list[object], true: list[object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        label_accuracy(torch.tensor(inferred), torch.tensor(true))

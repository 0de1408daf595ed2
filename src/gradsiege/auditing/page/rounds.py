"""The page of recorded uploads of several rounds: how well they are matched in each round, without any truth."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from torch import Tensor

from gradsiege.auditing.page.page import rendered
from gradsiege.auditing.page.recorded import strips
from gradsiege.auditing.page.sentences import DASH, number
from gradsiege.auditing.page.series import Series, Value, placed
from gradsiege.auditing.page.tables import Table

if TYPE_CHECKING:
    from gradsiege.auditing.recorded_result import RecordedResult, RecordedRounds

# The attacker whose losses are compared between rounds: a cosine distance, which no scale of the updates changes.
COMPARED = "inverting_gradients"
STEP = 0.1
READING = (
    "Cosine distance between the recorded update and that of the reconstruction, upwards; 0 is a perfect match. Dot: median over clients; "
    "bar: from the best to the worst. A good match is not a proof of likeness."
)


def render_rounds(audit: RecordedRounds, pictures: bool = True) -> str:
    """Return the page as one HTML document."""
    return rendered("rounds.html.j2", context(audit, pictures))


def context(audit: RecordedRounds, pictures: bool) -> dict[str, Any]:
    """Return all values of the template."""
    first = next(iter(audit.rounds.values()))
    shown = {
        number: [strip for strip in strips(one) if strip.pairs][:1]
        for number, one in audit.rounds.items()
    }
    return {
        "title": f"{first.about['network']}, recorded rounds",
        "network": first.about["network"],
        "sentence": audit.sentence(),
        "series": by_round(audit),
        "gallery": shown if pictures else None,
        "remarks": first.about["remarks"],
    }


def by_round(audit: RecordedRounds) -> Series:
    """Return drawing and table of all rounds."""
    values = [_value(number, one) for number, one in audit.rounds.items()]
    points, grid = placed(values, STEP)
    return Series("rounds", "Match by round", "Round", points, grid, READING, _table(audit, values))


def _value(round_: int, audit: RecordedResult) -> Value:
    losses = next((match.loss for match in audit.matches if match.attacker == COMPARED), None)
    finite = None if losses is None else losses[losses.isfinite()]
    if finite is None or not len(finite):
        return Value(f"{round_}", math.nan, math.nan, math.nan, math.nan, "no match")
    median, low, high = float(finite.median()), float(finite.min()), float(finite.max())
    return Value(f"{round_}", median, low, high, math.nan, f"distance {number(median, 3)}")


def _table(audit: RecordedRounds, values: list[Value]) -> Table:
    rows = [
        [
            value.label,
            f"{len(one.norms)}",
            "aggregate" if one.equal else "single clients'",
            f"{float(one.norms.median()):.4g}",
            DASH if one.labels is None else _counted(one.labels),
            number(value.low, 3),
            number(value.estimate, 3),
        ]
        for value, one in zip(values, audit.rounds.values(), strict=True)
    ]
    caption = (
        "Every round: its uploads, whose they are, their median norm, the labels that they give away, and the least and median cosine "
        "distance that Inverting Gradients reached. Secure aggregation makes all uploads of a round equal."
    )
    headings = ("Round", "Uploads", "Are", "Norm", "Labels read", "Best match", "Median match")
    return Table(caption, headings, rows, frozenset((1, 3, 5, 6)))


def _counted(labels: Tensor) -> str:
    """Return every label with the number of pictures that it was read of.

    >>> import torch
    >>> _counted(torch.tensor([[3], [5], [3]]))
    '3 (2), 5 (1)'
    """
    values, counts = labels.unique(return_counts=True)
    return ", ".join(
        f"{value} ({count})" for value, count in zip(values.tolist(), counts.tolist(), strict=True)
    )

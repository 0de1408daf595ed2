"""The page of recorded uploads of several rounds: how well they are matched in each round, without any truth."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from torch import Tensor

from gradsiege.auditing.page.page import rendered
from gradsiege.auditing.page.recorded import strip_of
from gradsiege.auditing.page.sentences import DASH, number
from gradsiege.auditing.page.series import Series, Value, placed
from gradsiege.auditing.page.tables import Table
from gradsiege.auditing.words import with_rounds

if TYPE_CHECKING:
    from gradsiege.auditing.recorded_result import Match, RecordedResult, RecordedRounds

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
    quoted = {number: _quoted(one) for number, one in audit.rounds.items()}
    shown = {number: strip_of(match) for number, match in quoted.items() if match is not None}
    return {
        "title": f"{first.about['network']}, recorded rounds",
        "network": first.about["network"],
        "sentence": audit.sentence(),
        "series": by_round(audit),
        "gallery": shown if pictures else None,
        "notes": with_rounds({number: one.plan.notes for number, one in audit.rounds.items()}),
        "remarks": with_rounds(
            {number: one.about["remarks"] for number, one in audit.rounds.items()}
        ),
    }


def by_round(audit: RecordedRounds) -> Series:
    """Return drawing and table of all rounds."""
    values = [_value(number, one) for number, one in audit.rounds.items()]
    points, grid = placed(values, STEP)
    return Series("rounds", "Match by round", "Round", points, grid, READING, _table(audit, values))


def _quoted(audit: RecordedResult) -> Match | None:
    """Return what the attacker of the drawing made of a round; None if it did not finish."""
    return next((match for match in audit.matches if match.attacker == COMPARED), None)


def _iterations(audit: RecordedResult) -> str:
    """Return the iterations with which the attacker of the drawing ran."""
    ran = [part for part in audit.plan.running if part.attacker.id == COMPARED]
    return f"{ran[0].attacker.attack.iterations}" if ran else DASH


def _value(round_: int, audit: RecordedResult) -> Value:
    match = _quoted(audit)
    finite = None if match is None else match.loss[match.loss.isfinite()]
    if finite is None or not len(finite):
        return Value(f"{round_}", math.nan, math.nan, math.nan, math.nan, "no match")
    median, low, high = float(finite.median()), float(finite.min()), float(finite.max())
    return Value(f"{round_}", median, low, high, math.nan, f"distance {number(median, 3)}")


def _table(audit: RecordedRounds, values: list[Value]) -> Table:
    rows = [
        [
            value.label,
            f"{one.attacked} of {len(one.norms)}",
            "aggregate" if one.equal else "single clients'",
            f"{float(one.norms.median()):.4g}",
            _counted(one.labels),
            _iterations(one),
            number(value.low, 3),
            number(value.estimate, 3),
        ]
        for value, one in zip(values, audit.rounds.values(), strict=True)
    ]
    caption = (
        "Every round: how many of its uploads were attacked, whose they are, the median norm of all, the labels that all give away, and "
        "the least and median cosine distance that Inverting Gradients reached with so many iterations. Rounds with different numbers "
        "of iterations cannot be compared. Secure aggregation makes all uploads of a round equal."
    )
    headings = (
        "Round", "Uploads", "Are", "Norm", "Labels read", "Iterations", "Best match", "Median match",
    )  # fmt: skip
    return Table(caption, headings, rows, frozenset((1, 3, 5, 6, 7)))


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

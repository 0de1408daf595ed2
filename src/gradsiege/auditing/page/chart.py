"""The worst case of every situation as a drawing: a dot with its interval, and a tick for the best guess without the update."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gradsiege.auditing.findings import Finding

LEFT, RIGHT, ROW, WIDTH = 12.0, 12.0, 64.0, 640.0
GRID = 5.0
# Letters of a label that fit on a phone; the table below has all of them.
MOST = 56


@dataclass(frozen=True)
class Mark:
    """One row of the drawing, in pixels; None where there is no such number."""

    label: str
    y: float
    dot: float | None
    low: float | None
    high: float | None
    floor: float | None
    value: str


@dataclass(frozen=True)
class Chart:
    """The drawing: its size, rows, and grid lines as (place, number)."""

    width: float
    height: float
    marks: tuple[Mark, ...]
    grid: tuple[tuple[float, str], ...]


def chart(findings: Sequence[Finding], labels: Sequence[str]) -> Chart | None:
    """Return the drawing of findings that have a number; None if fewer than two have one, which a sentence tells better."""
    known = [
        (one, label)
        for one, label in zip(findings, labels, strict=True)
        if math.isfinite(one.psnr.estimate)
    ]
    if len(known) < 2:
        return None
    numbers = [
        value
        for one, _ in known
        for value in (one.psnr.estimate, one.psnr.low, one.psnr.high, one.floor)
        if math.isfinite(value)
    ]
    first = math.floor(min(numbers) / GRID) * GRID
    last = max(math.ceil(max(numbers) / GRID) * GRID, first + GRID)

    def place(value: float) -> float | None:
        if not math.isfinite(value):
            return None
        return round(LEFT + (value - first) / (last - first) * (WIDTH - LEFT - RIGHT), 1)

    marks = tuple(
        Mark(
            label if len(label) <= MOST else f"{label[: MOST - 1]}…",
            34 + ROW * row,
            place(one.psnr.estimate),
            place(one.psnr.low),
            place(one.psnr.high),
            place(one.floor),
            f"{one.psnr.estimate:.1f} dB",
        )
        for row, (one, label) in enumerate(known)
    )
    count = round((last - first) / GRID)
    step = max(1, math.ceil(count / 8))
    lines = tuple(
        (place(first + GRID * number) or LEFT, f"{first + GRID * number:g}")
        for number in range(0, count + 1, step)
    )
    return Chart(WIDTH, ROW * len(known) + 40, marks, lines)

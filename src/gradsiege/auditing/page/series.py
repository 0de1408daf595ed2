"""Leakage along an axis: by stage of training, by batch size, by local steps; a drawing and a table for each axis that varies."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter

from gradsiege.auditing.findings import Finding
from gradsiege.auditing.page.sentences import interval, number, percent
from gradsiege.auditing.page.tables import Table
from gradsiege.auditing.situations import NONE, Situation

WIDTH, HEIGHT = 640.0, 260.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 28.0, 14.0, 34.0
GRID = 5.0
# Width of a letter of a label on a phone, in pixels of the drawing.
LETTER = 11.0
READING = (
    "Worst case in dB, upwards. Dot and bar: the strongest attacker with its 95 % interval. Dash: the best guess that needs no update "
    "beyond its label."
)


@dataclass(frozen=True)
class Point:
    """One place on the axis, in pixels; None where there is no such number."""

    label: str
    x: float
    y: float | None
    low: float | None
    high: float | None
    floor: float | None
    value: str


@dataclass(frozen=True)
class Series:
    """Numbers along one axis: what varies, the drawing with grid lines as (place, number), how to read it, and the table."""

    name: str
    title: str
    axis: str
    points: tuple[Point, ...]
    grid: tuple[tuple[float, str], ...]
    reading: str
    table: Table
    width: float = WIDTH
    height: float = HEIGHT

    @property
    def line(self) -> str:
        """The points of the curve as SVG takes them."""
        # A gap where there is no number would need a path of its own; the table says it.
        return " ".join(f"{point.x:g},{point.y:g}" for point in self.points if point.y is not None)

    @property
    def every(self) -> int:
        """How many points share a label, so that labels do not run into each other."""
        longest = max(len(point.label) for point in self.points)
        return math.ceil(len(self.points) * (LETTER * longest + 12) / (WIDTH - LEFT))


@dataclass(frozen=True)
class Value:
    """A number at a place of an axis, its limits and what a guess reaches; NaN where there is none."""

    label: str
    estimate: float
    low: float
    high: float
    floor: float
    words: str


def series(findings: Sequence[Finding]) -> list[Series]:
    """Return a series for every axis along which undefended situations differ from the first one."""
    base = findings[0].situation
    free = [finding for finding in findings if finding.situation.name == NONE]
    axes: list[tuple[str, str, str, Callable[[Situation], tuple[str, float]]]] = [
        ("stages", "By stage of training", "Stage", lambda place: (place.stage, 0.0)),
        ("batches", "By batch size", "Pictures per step", _batch),
        ("steps", "By local steps", "Local steps", _steps),
    ]
    drawn = []
    for name, title, axis, of in axes:
        along = [
            (*of(finding.situation), finding)
            for finding in free
            if _differs_at_most(name, base, finding.situation)
        ]
        # Stages have no place on a scale and keep their order.
        along.sort(key=itemgetter(1))
        labels = [label for label, _, _ in along]
        if len(set(labels)) > 1:
            drawn.append(_series(name, title, axis, [finding for *_, finding in along], labels))
    return drawn


def _batch(place: Situation) -> tuple[str, float]:
    return str(place.training.batch_size), place.training.batch_size


def _steps(place: Situation) -> tuple[str, float]:
    return str(place.training.steps), place.training.steps


def _differs_at_most(axis: str, base: Situation, place: Situation) -> bool:
    """Return whether a situation is the first one, but for its place on an axis."""
    if axis == "stages":
        return place.training == base.training
    if place.stage != base.stage:
        return False
    if axis == "batches":
        return place.training.steps == base.training.steps
    return place.training.batch_size == base.training.batch_size


def _series(
    name: str, title: str, axis: str, along: Sequence[Finding], labels: Sequence[str]
) -> Series:
    values = [
        Value(
            label,
            one.psnr.estimate,
            one.psnr.low,
            one.psnr.high,
            one.floor,
            f"{number(one.psnr.estimate)} dB",
        )
        for label, one in zip(labels, along, strict=True)
    ]
    points, grid = placed(values, GRID)
    return Series(name, title, axis, points, grid, READING, _table(title, axis, along, labels))


def placed(
    values: Sequence[Value], step: float
) -> tuple[tuple[Point, ...], tuple[tuple[float, str], ...]]:
    """Return the points of a drawing, and its grid lines, one per `step`."""
    numbers = [
        part
        for value in values
        for part in (value.estimate, value.low, value.high, value.floor)
        if math.isfinite(part)
    ]
    first = math.floor(min(numbers, default=0.0) / step) * step
    last = max(math.ceil(max(numbers, default=0.0) / step) * step, first + step)
    room = HEIGHT - TOP - BOTTOM

    def height(value: float) -> float | None:
        if not math.isfinite(value):
            return None
        return round(HEIGHT - BOTTOM - (value - first) / (last - first) * room, 1)

    apart = (WIDTH - LEFT - RIGHT - 60) / max(1, len(values) - 1)
    points = tuple(
        Point(
            value.label,
            round(LEFT + 30 + place * apart, 1),
            height(value.estimate),
            height(value.low),
            height(value.high),
            height(value.floor),
            value.words,
        )
        for place, value in enumerate(values)
    )
    grid = tuple(
        (height(first + step * place) or 0.0, f"{first + step * place:g}")
        for place in range(round((last - first) / step) + 1)
    )
    return points, grid


def _table(title: str, axis: str, along: Sequence[Finding], labels: Sequence[str]) -> Table:
    rows = [
        [
            label,
            interval(one.psnr.estimate, one.psnr.low, one.psnr.high),
            number(one.floor),
            percent(one.identified.estimate),
            percent(one.labels),
            f"{one.pictures}",
        ]
        for label, one in zip(labels, along, strict=True)
    ]
    caption = f"{title}, without a defense: the strongest attacker at each place, all else as in the first situation."
    headings = (axis, "Worst case, dB", "Guess, dB", "Identified", "Labels read", "Pictures")
    return Table(caption, headings, rows, frozenset(range(1, 6)))

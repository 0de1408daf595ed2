"""Leakage along an axis: by stage of training, by batch size, by local steps; a drawing and a table for each axis that varies."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gradsiege.auditing.findings import Finding
from gradsiege.auditing.page.sentences import interval, number, percent
from gradsiege.auditing.page.tables import Table
from gradsiege.auditing.situations import NONE, Situation

WIDTH, HEIGHT = 640.0, 260.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 28.0, 14.0, 34.0
GRID = 5.0


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
    """Leakage along one axis: what varies, its drawing with grid lines as (place, number), and its table."""

    name: str
    title: str
    axis: str
    points: tuple[Point, ...]
    grid: tuple[tuple[float, str], ...]
    table: Table
    width: float = WIDTH
    height: float = HEIGHT

    @property
    def line(self) -> str:
        """The points of the worst case as SVG takes them."""
        return " ".join(f"{point.x:g},{point.y:g}" for point in self.points if point.y is not None)


def series(findings: Sequence[Finding]) -> list[Series]:
    """Return a series for every axis along which undefended situations differ from the first one."""
    base = findings[0].situation
    free = [one for one in findings if one.situation.name == NONE]
    axes: list[tuple[str, str, str, Callable[[Situation], tuple[str, float]]]] = [
        ("stages", "By stage of training", "Stage", lambda place: (place.stage, 0.0)),
        ("batches", "By batch size", "Pictures per step", _batch),
        ("steps", "By local steps", "Local steps", _steps),
    ]
    drawn = []
    for name, title, axis, of in axes:
        along = [one for one in free if _differs_at_most(name, base, one.situation)]
        if name != "stages":
            along.sort(key=lambda one, of=of: of(one.situation)[1])  # type: ignore[misc]
        if len({of(one.situation)[0] for one in along}) > 1:
            drawn.append(_series(name, title, axis, along, [of(one.situation)[0] for one in along]))
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
    numbers = [
        value
        for one in along
        for value in (one.psnr.estimate, one.psnr.low, one.psnr.high, one.floor)
        if math.isfinite(value)
    ]
    first = math.floor(min(numbers, default=0.0) / GRID) * GRID
    last = max(math.ceil(max(numbers, default=0.0) / GRID) * GRID, first + GRID)

    def height(value: float) -> float | None:
        if not math.isfinite(value):
            return None
        return round(
            HEIGHT - BOTTOM - (value - first) / (last - first) * (HEIGHT - TOP - BOTTOM), 1
        )

    step = (WIDTH - LEFT - RIGHT - 60) / max(1, len(along) - 1)
    points = tuple(
        Point(
            label,
            round(LEFT + 30 + place * step, 1),
            height(one.psnr.estimate),
            height(one.psnr.low),
            height(one.psnr.high),
            height(one.floor),
            f"{number(one.psnr.estimate)} dB",
        )
        for place, (one, label) in enumerate(zip(along, labels, strict=True))
    )
    grid = tuple(
        (height(first + GRID * place) or 0.0, f"{first + GRID * place:g}")
        for place in range(round((last - first) / GRID) + 1)
    )
    return Series(name, title, axis, points, grid, _table(title, axis, along, labels))


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

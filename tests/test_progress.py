"""Progress in a log: lines are rare, and name the item that comes next."""

from __future__ import annotations

import pytest

from gradsiege import progress


class Clock:
    """A clock that each look moves on by the time of one item."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.now = seconds, 0.0

    def monotonic(self) -> float:
        self.now += self.seconds
        return self.now


def lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], seconds: float
) -> list[str]:
    """Run a loop over three of five items that take so long each, and return the printed lines."""
    monkeypatch.setattr(progress, "time", Clock(seconds))
    named = ["a", "b", "c", "d", "e"].__getitem__
    assert list(progress.track(range(2, 5), 5, "attacks", 2, named)) == [2, 3, 4]
    return capsys.readouterr().err.splitlines()


def test_a_line_says_how_far_it_is_and_which_item_comes_next(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = lines(monkeypatch, capsys, 2 * progress.SECONDS_BETWEEN_LINES)
    assert said[-1] == "attacks: 4/5, now e"


def test_fast_items_print_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lines(monkeypatch, capsys, progress.SECONDS_BETWEEN_LINES / 10) == []

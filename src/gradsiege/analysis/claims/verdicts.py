"""The rules that decide a claim, from an interval and from equivalence tests alone.

Verdicts: `reproduced` (the whole interval holds what is claimed); `weaker` (the claimed direction, but an interval that excludes the
claimed size); `not reproduced` (the interval excludes what is claimed); `undecided` (none of these: more victims or
seeds are needed; absence of evidence is not evidence of absence); `not run`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from gradsiege.analysis.claims.claim import Rule
from gradsiege.analysis.interval import Interval

Verdict = Literal["reproduced", "weaker", "undecided", "not reproduced", "not run"]
# From the mildest to the gravest. The gravest verdict of the parts decides, since the statement is about all of them.
GRAVITY: tuple[Verdict, ...] = ("reproduced", "weaker", "not run", "undecided", "not reproduced")


@dataclass(frozen=True)
class Evidence:
    """A measurement: its 95 % interval, and a test whether it lies between two bounds (alpha 0.05).

    error: standard error of the published value that it is compared with; 0 where none is known.
    """

    interval: Interval
    inside: Callable[[float, float], bool]
    error: float = 0.0


@dataclass(frozen=True)
class Judgement:
    """A verdict and, unless the numbers show it, the reason."""

    verdict: Verdict
    why: str = ""


def judge(
    rule: Rule,
    evidence: Evidence,
    value: float | None,
    tolerance: float,
    *,
    paired: bool = False,
    sign: int = 1,
) -> Judgement:
    """Apply one rule to one measurement.

    value: as published; None for `equivalent`, `ordering` and a difference of unstated size. sign: +1 where
    the claimed difference is positive, -1 where it is negative. paired: the measurement is a difference.
    """
    interval = evidence.interval
    if math.isnan(interval.low) or math.isnan(interval.high):
        return Judgement(
            "undecided", f"{interval.units} sampling unit gives no interval; two are needed"
        )
    if rule in ("value_within", "equivalent"):
        return _within(evidence, value or 0.0, tolerance, paired)
    if rule in ("difference_sign", "ordering"):
        return judge_difference(interval, sign, value, tolerance)
    low, high, bar = interval.low, interval.high, (value or 0.0) + tolerance
    if rule == "at_least":
        low, high, bar = -interval.high, -interval.low, tolerance - (value or 0.0)
    if high <= bar:
        return Judgement("reproduced")
    if low > bar:
        return Judgement("not reproduced", "the interval lies beyond the bar")
    return Judgement("undecided", "the interval reaches across the bar")


def _within(evidence: Evidence, value: float, tolerance: float, paired: bool) -> Judgement:
    low, high = value - tolerance, value + tolerance
    interval = evidence.interval.widened(evidence.error)
    if evidence.inside(low, high):
        return Judgement("reproduced")
    if low <= interval.high and interval.low <= high:
        return Judgement("undecided", "the interval is too wide for the tolerance")
    towards = (interval.low, interval.high) if value > 0 else (-interval.high, -interval.low)
    if paired and value and towards[0] > 0 and towards[1] < abs(value) - tolerance:
        return Judgement("weaker", "the difference goes the claimed way and is smaller")
    return Judgement(
        "not reproduced", "the interval excludes the published value with its tolerance"
    )


def judge_difference(
    interval: Interval, sign: int, size: float | None, tolerance: float
) -> Judgement:
    """Judge a paired difference that is claimed to go one way, by its interval alone.

    The least difference is the smallest one that counts (`tolerance`) or, where a size is claimed, that size less its tolerance.

    >>> half = Interval(0.4, 0.1, 0.7, 0.95, 32, "bca")
    >>> judge_difference(half, 1, None, 0.5).verdict, judge_difference(half, 1, None, 0.1).verdict
    ('undecided', 'reproduced')
    """
    low, high = sorted((sign * interval.low, sign * interval.high))
    least = tolerance if size is None else size - tolerance
    claimed = "the smallest difference that counts" if size is None else "the claimed size"
    if low >= least:
        return Judgement("reproduced")
    if low > 0 and high < least:
        return Judgement("weaker", f"the claimed way, but the interval excludes {claimed}")
    if low > 0:
        return Judgement("undecided", f"the claimed way, but the interval reaches across {claimed}")
    if high < 0:
        return Judgement("not reproduced", "the difference goes the other way")
    if high < least:
        return Judgement("not reproduced", f"the interval holds zero and excludes {claimed}")
    return Judgement("undecided", f"the interval holds zero and {claimed}")


def together(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict on a statement about all of several parts: that of the gravest.

    Each part is tested at its full level without adjustment, since all must hold (intersection-union test).

    >>> together(["reproduced", "weaker"]), together(["not run", "not reproduced"])
    ('weaker', 'not reproduced')
    """
    return max(verdicts, key=GRAVITY.index)

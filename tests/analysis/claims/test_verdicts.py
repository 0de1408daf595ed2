"""Each rule with planted intervals: every verdict that it can give, and the bounds between them."""

from __future__ import annotations

import math

import pytest

from gradsiege.analysis.claims.claim import Rule
from gradsiege.analysis.claims.verdicts import GRAVITY, Evidence, Verdict, judge, together
from gradsiege.analysis.interval import Interval


def evidence(low: float, high: float) -> Evidence:
    """An interval; the equivalence test passes where its inner nine tenths lie between the bounds."""
    slack = (high - low) / 20
    interval = Interval((low + high) / 2, low, high, 0.95, 8, "planted")
    return Evidence(interval, lambda least, most: least < low + slack and high - slack < most)


CASES: list[tuple[Rule, float | None, float, bool, int, float, float, Verdict]] = [
    # rule, published, tolerance, paired, sign, interval, verdict
    ("value_within", 16.0, 1.0, False, 1, 15.5, 16.5, "reproduced"),
    ("value_within", 16.0, 1.0, False, 1, 14.98, 16.5, "reproduced"),  # 95 % sticks out, 90 % not
    ("value_within", 16.0, 1.0, False, 1, 14.0, 16.5, "undecided"),
    ("value_within", 16.0, 1.0, False, 1, 12.0, 20.0, "undecided"),
    ("value_within", 16.0, 1.0, False, 1, 12.0, 14.9, "not reproduced"),
    ("value_within", 16.0, 1.0, False, 1, 17.1, 18.0, "not reproduced"),
    ("value_within", -0.06, 0.02, True, 1, -0.07, -0.05, "reproduced"),
    ("value_within", -0.06, 0.02, True, 1, -0.03, -0.01, "weaker"),
    ("value_within", -0.06, 0.02, True, 1, -0.03, 0.01, "not reproduced"),  # may be nothing at all
    ("value_within", -0.06, 0.02, True, 1, -0.20, -0.10, "not reproduced"),  # more than claimed
    ("value_within", -0.06, 0.02, True, 1, 0.01, 0.03, "not reproduced"),
    ("equivalent", None, 1.0, True, 1, -0.4, 0.6, "reproduced"),
    ("equivalent", None, 1.0, True, 1, 0.2, 0.6, "reproduced"),  # a difference, but a small one
    ("equivalent", None, 1.0, True, 1, -0.4, 1.6, "undecided"),
    ("equivalent", None, 1.0, True, 1, 1.1, 1.6, "not reproduced"),
    ("difference_sign", 3.7, 1.0, True, -1, -4.0, -3.0, "reproduced"),
    ("difference_sign", 3.7, 1.0, True, -1, -9.0, -8.0, "reproduced"),  # more than claimed
    ("difference_sign", 3.7, 1.0, True, -1, -2.9, -2.7, "reproduced"),  # all of it reaches 2.7
    (
        "difference_sign",
        3.7,
        1.0,
        True,
        -1,
        -2.9,
        -0.1,
        "undecided",
    ),  # 2.7 is neither shown nor excluded
    ("difference_sign", 3.7, 1.0, True, -1, -2.6, -0.1, "weaker"),
    ("difference_sign", 3.7, 1.0, True, -1, -2.6, 0.1, "not reproduced"),
    ("difference_sign", 3.7, 1.0, True, -1, -4.0, 0.1, "undecided"),
    ("difference_sign", 3.7, 1.0, True, -1, 0.1, 4.0, "not reproduced"),
    ("difference_sign", None, 0.5, True, 1, 0.6, 2.0, "reproduced"),
    (
        "difference_sign",
        None,
        0.5,
        True,
        1,
        0.1,
        2.0,
        "undecided",
    ),  # whether it counts is not shown
    ("difference_sign", None, 0.5, True, 1, 0.1, 0.4, "weaker"),  # real, too small to count
    ("difference_sign", None, 0.5, True, 1, -0.1, 0.4, "not reproduced"),
    ("difference_sign", None, 0.5, True, 1, -0.1, 2.0, "undecided"),
    ("difference_sign", None, 0.5, True, 1, -2.0, -0.1, "not reproduced"),
    ("ordering", None, 0.01, True, 1, 0.02, 0.04, "reproduced"),
    ("ordering", None, 0.01, True, 1, 0.004, 0.04, "undecided"),
    ("ordering", None, 0.01, True, 1, -0.04, -0.02, "not reproduced"),
    ("at_most", 0.1, 0.0, False, 1, 0.0, 0.1, "reproduced"),
    ("at_most", 0.1, 0.0, False, 1, 0.0, 0.2, "undecided"),
    ("at_most", 0.1, 0.0, False, 1, 0.2, 0.4, "not reproduced"),
    ("at_most", 0.1, 0.1, False, 1, 0.15, 0.2, "reproduced"),
    ("at_least", -0.01, 0.0, True, 1, -0.01, 0.02, "reproduced"),
    ("at_least", -0.01, 0.0, True, 1, -0.03, 0.02, "undecided"),
    ("at_least", -0.01, 0.0, True, 1, -0.03, -0.02, "not reproduced"),
    ("at_least", -0.01, 0.02, True, 1, -0.03, -0.02, "reproduced"),
]


@pytest.mark.parametrize(
    ("rule", "value", "tolerance", "paired", "sign", "low", "high", "verdict"), CASES
)
def test_a_planted_interval_gets_its_verdict(
    rule: Rule,
    value: float | None,
    tolerance: float,
    paired: bool,
    sign: int,
    low: float,
    high: float,
    verdict: Verdict,
) -> None:
    found = judge(rule, evidence(low, high), value, tolerance, paired=paired, sign=sign)
    assert found.verdict == verdict
    assert bool(found.why) == (verdict != "reproduced"), "what is not reproduced says why"


def test_no_interval_is_never_a_verdict_on_the_claim() -> None:
    alone = Evidence(Interval(16.0, math.nan, math.nan, 0.95, 1, "bca"), lambda low, high: True)
    for rule in (
        "value_within",
        "difference_sign",
        "at_most",
        "at_least",
        "equivalent",
        "ordering",
    ):
        found = judge(rule, alone, 16.0, 1.0)
        assert found.verdict == "undecided"
        assert "two are needed" in found.why


def test_the_gravest_part_decides() -> None:
    for place, verdict in enumerate(GRAVITY):
        assert together(GRAVITY[: place + 1]) == verdict
        assert together([verdict, verdict]) == verdict
    assert together(["reproduced", "not run"]) == "not run", "all of it was not shown"


def test_the_sampling_error_of_a_published_value_widens_the_comparison() -> None:
    """Equal to an exact 16, undecided beside one that is known to 1 dB, and no longer refuted 2 dB beside it."""
    near = Interval(16.0, 15.5, 16.5, 0.95, 8, "planted")
    assert near.widened(0.0) == near
    wider = near.widened(1.0)
    assert (wider.low, wider.high) == pytest.approx((16 - 2.0227, 16 + 2.0227), abs=1e-4)
    far = Interval(18.0, 17.5, 18.5, 0.95, 8, "planted")
    for error, wanted in ((0.0, "not reproduced"), (1.0, "undecided")):
        found = judge("value_within", Evidence(far, lambda *_: False, error), 16.0, 1.0)
        assert found.verdict == wanted

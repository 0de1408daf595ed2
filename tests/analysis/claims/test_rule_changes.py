"""Changed rules, least numbers of victims, errors of published values and third-party marks, in the ledger and in verdicts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from planted_claims import claim, only, rows, tables

from gradsiege.analysis.claims.claim import Change, Claim
from gradsiege.analysis.claims.evaluation import evaluate
from gradsiege.analysis.claims.evidence import Sample
from gradsiege.analysis.rates import wilson_interval
from gradsiege.report.claim_words import reasons
from gradsiege.study.ledger import FILE, load

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def ledger() -> dict[str, Claim]:
    return {entry.id: entry for entry in load(ROOT / FILE)}


def test_a_stated_least_number_is_the_arithmetic_of_its_rule(ledger: dict[str, Claim]) -> None:
    stated = [entry for entry in ledger.values() if entry.least_units]
    assert {entry.id for entry in stated} == {"tip.unrecognisable", "tip.unrecognisable.adaptive"}
    for entry in stated:
        bar = dict(entry.value)["identified"]
        assert wilson_interval(0, entry.least_units).high <= bar
        assert wilson_interval(0, entry.least_units - 1).high > bar


def test_too_few_victims_are_named_as_the_reason() -> None:
    rule = {"rule": "at_most", "value": {"identified": 0.1}, "tolerance": {"identified": 0.0}}
    none = rows().assign(identified=False)
    asked = claim(**rule, least_units=35)
    found = only(evaluate([asked], tables(none)))
    assert found.verdict == "undecided"
    assert "at least 35 independent victims" in found.why
    seen = only(evaluate([asked], tables(rows().assign(identified=True))))
    assert seen.verdict == "not reproduced", "to refute it, few are enough"


def test_protection_disabled_means_as_good_as_no_defense(ledger: dict[str, Claim]) -> None:
    for name in ("critics.precode", "critics.soteria"):
        entry = ledger[name]
        assert (entry.rule, dict(entry.value)) == ("at_least", {"psnr": -1.0})
        assert entry.against[0].defense == {"name": "none"}
        assert "difference to the same attack" in entry.changed[0].reason


def test_an_error_of_the_published_value_needs_more_to_be_reproduced() -> None:
    values = np.array([15.8, 16.1, 16.0, 15.9, 16.2, 16.0, 15.9, 16.1])
    sample = Sample(values, np.arange(8), "mean")
    assert sample.inside(15.0, 17.0, "x")
    assert not sample.inside(15.0, 17.0, "x", error=1.0)
    assert sample.inside(15.0, 17.0, "x", error=0.1)
    with pytest.raises(ValueError, match="`error` needs a metric of the value"):
        claim(error={"ssim": 0.1})
    with pytest.raises(ValueError, match="positive"):
        claim(error={"psnr": -0.1})


def test_a_change_is_shown_with_date_and_reason() -> None:
    change = {"date": "2026-11-29", "reason": "the old rule showed nothing"}
    found = only(evaluate([claim(changed=[change])], tables(rows())))
    assert reasons(found) == "rule changed 2026-11-29: the old rule showed nothing"
    with pytest.raises(ValueError, match="date"):
        Change(date="yesterday", reason="x")


def test_numbers_of_third_parties_are_marked() -> None:
    found = only(evaluate([claim(origin="third_party")], tables(rows())))
    assert (found.verdict, found.shown_verdict) == ("reproduced", "reproduced (third-party number)")


def test_every_third_party_number_of_the_ledger_carries_the_mark(ledger: dict[str, Claim]) -> None:
    marked = [entry for entry in ledger.values() if entry.origin == "third_party"]
    assert len(marked) == 52
    assert all(
        "third-party number" in outcome.shown_verdict
        for outcome in evaluate(marked, tables(rows()))
    )

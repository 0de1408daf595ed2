"""The page of verdicts: what is kept is read back as it was judged, and the best evidence is chosen without looking at verdicts."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted_claims import changed, claim, rows, tables

from gradsiege.analysis.claims.claim import Change, Claim
from gradsiege.analysis.claims.evaluation import Outcome, evaluate
from gradsiege.analysis.claims.verdicts import Verdict
from gradsiege.inspection import kept_evidence, verdict_page
from gradsiege.inspection.kept_evidence import Evidence, Measurement, read, strength
from gradsiege.report.save import csv
from gradsiege.report.tables import table_claims
from gradsiege.report.tidy import tidy
from gradsiege.study import Study
from gradsiege.study.ledger import FILE

ROOT = Path(__file__).parents[2]
PLANTED: dict[str, Any] = {
    "rule": "at_most",
    "value": {"identified": 0.1},
    "tolerance": {"identified": 0.0},
    "cells": {"defense": "tip", "attack": "inverting_gradients"},
    "needs": {"dataset": "cifar10"},
    "transfers": True,
}


def keep(folder: Path, outcomes: list[Outcome], ended: str = "2026-11-20T10:00+00:00") -> Path:
    """Write what `make keep` writes of these outcomes."""
    folder.mkdir(parents=True)
    table = folder / kept_evidence.NAME
    table.write_text(csv(tidy(table_claims.plotted(outcomes))))
    (folder / "run.json").write_text(json.dumps({"last cell ended": ended}))
    return table


def judged(planted: Claim, hits: float, dataset: str = "cifar10") -> list[Outcome]:
    study = changed(datasets=[{"id": "cifar", "name": dataset, "size": 32}])
    return evaluate([planted], tables(rows(hits=hits, defense="tip"), study=study))


def test_a_kept_verdict_is_read_as_it_was_judged(tmp_path: Path) -> None:
    (outcome,) = judged(claim(**PLANTED), hits=0.0)
    (evidence,) = read(keep(tmp_path / "small", [outcome]))
    assert outcome.verdict != "not run"
    assert (evidence.study, evidence.said, evidence.why) == (
        "small",
        outcome.shown_verdict,
        outcome.why,
    )
    assert evidence.deviations == outcome.departures
    (part,), (measured,) = outcome.parts, evidence.measured
    interval = part.interval
    assert (measured.value, measured.low, measured.high) == pytest.approx(
        (interval.estimate, interval.low, interval.high)
    )
    assert (measured.units, measured.published) == (interval.units, 0.1)
    assert measured.verdict == part.verdict
    assert measured.cell["defense"] == "tip"
    assert evidence.judged == date(2026, 11, 20)


def test_a_claim_that_was_not_run_is_no_evidence(tmp_path: Path) -> None:
    (outcome,) = evaluate([claim(**PLANTED)], tables(rows(defense="none")))
    assert outcome.verdict == "not run"
    assert read(keep(tmp_path / "small", [outcome])) == []


EVIDENCE = st.builds(
    Evidence,
    claim=st.just("a"),
    study=st.sampled_from("uvw"),
    dataset=st.sampled_from("xy"),
    model=st.just("m"),
    arm=st.just(""),
    said=st.just("undecided"),
    why=st.just(""),
    judged=st.just(date(2026, 1, 1)),
    stand_in=st.booleans(),
    deviations=st.lists(st.text(min_size=1), max_size=3).map(tuple),
)


@given(st.lists(EVIDENCE, min_size=1), st.sampled_from(verdict_page.ORDER))
def test_the_choice_does_not_look_at_verdicts(evidence: list[Evidence], other: str) -> None:
    best = min(evidence, key=strength)
    assert not best.stand_in or all(each.stand_in for each in evidence)
    alike = [each for each in evidence if each.stand_in == best.stand_in]
    assert len(best.deviations) == min(len(each.deviations) for each in alike)
    overturned = [dataclasses.replace(each, said=other) for each in evidence]
    assert min(overturned, key=strength) == dataclasses.replace(best, said=other)


def ledger_of(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    return path


LEDGER = """
claims:
  - &first {id: one, paper: P, source: s, place: p, statement: "Few | identified.", rule: at_most, value: {identified: 0.1},
     tolerance: {identified: 0.0}, cells: {defense: tip, attack: inverting_gradients}, needs: {dataset: cifar10}, transfers: true}
  - {id: other, paper: Q, source: s, place: p, statement: Another., rule: at_most, value: {identified: 0.1},
     tolerance: {identified: 0.0}, cells: {defense: agp}, needs: {dataset: cifar10, model: resnet18}}
"""


def test_the_page_gives_the_real_data_and_names_who_disagrees(tmp_path: Path) -> None:
    planted = claim(**PLANTED)
    keep(tmp_path / "kept/real", judged(planted, hits=1.0))
    keep(tmp_path / "kept/stand_in", judged(planted, hits=0.0, dataset="photos"))
    (tmp_path / "kept/old").mkdir()
    (tmp_path / "kept/old/run.json").write_text("{}")
    page = verdict_page.page(ledger_of(tmp_path, LEDGER), tmp_path / "kept")
    (line,) = [text for text in page.splitlines() if text.startswith("| `one`")]
    assert "Few \\| identified." in line
    assert "**not reproduced**" in line
    assert "stand-in data" not in line
    assert "[real](real/README.md)" in line
    assert "100 %" in line
    assert "Elsewhere: 1 " in line
    assert "Of 2 claims, 1 not reproduced and 1 not run." in page
    assert "not heard here: old." in page
    (waiting,) = [text for text in page.splitlines() if text.startswith("| `other`")]
    assert waiting.endswith("| data set cifar10; model resnet18; defense agp |")


def test_a_rule_that_changed_after_the_run_is_marked(tmp_path: Path) -> None:
    planted = claim(**PLANTED)
    keep(tmp_path / "kept/real", judged(planted, hits=1.0))
    change = "transfers: true, changed: [{date: '2026-11-21', reason: r}]"
    late = ledger_of(tmp_path, LEDGER.replace("transfers: true", change, 1))
    assert "by the rule before its change of 2026-11-21" in verdict_page.page(
        late, tmp_path / "kept"
    )
    early = ledger_of(tmp_path, LEDGER.replace("transfers: true", change.replace("21", "19"), 1))
    assert "by the rule before" not in verdict_page.page(early, tmp_path / "kept")
    assert Change(date="2026-11-21", reason="r").date > "2026-11-20"


LOWER = claim(
    **PLANTED
    | {"rule": "difference_sign", "direction": "lower", "value": {}, "tolerance": {"psnr": 0.5}}
    | {"against": [{"defense": "none"}]}
)


def kept_difference(*intervals: tuple[float, float], said: Verdict = "reproduced") -> Evidence:
    """Evidence on paired differences of PSNR that was judged when it was kept."""
    parts = tuple(
        Measurement({"attack": str(number)}, "psnr", (low + high) / 2, low, high, 32, said)
        for number, (low, high) in enumerate(intervals)
    )
    shown = f"{said} (stand-in data)"
    return Evidence("a", "u", "x", "m", "", shown, "old", date(2026, 1, 1), True, (), parts)


@pytest.mark.parametrize(
    ("intervals", "verdict", "why"),
    [
        ([(-2.0, -0.6)], "reproduced", "old"),  # nothing to say anew
        ([(-0.7, -0.1)], "undecided", "reaches across"),
        ([(-0.4, -0.1)], "weaker", "excludes"),
        ([(-2.0, -0.6), (0.1, 0.3)], "not reproduced", "the other way"),
    ],
)
def test_a_kept_difference_is_judged_by_the_rule_of_today(
    intervals: list[tuple[float, float]], verdict: Verdict, why: str
) -> None:
    again = kept_evidence.judged_again(LOWER, kept_difference(*intervals))
    assert again.said == f"{verdict} (stand-in data)"
    assert why in again.why


def test_what_was_undecided_for_another_reason_stays_as_it_was_kept() -> None:
    kept = dataclasses.replace(kept_difference((-2.0, -0.6)), said="undecided (stand-in data)")
    assert kept_evidence.judged_again(LOWER, kept) == kept
    bar = claim(**PLANTED)
    assert kept_evidence.judged_again(bar, kept_difference((-0.7, -0.1))).said.startswith("repro")


def test_data_that_stand_in_are_not_heard_on_a_claim_that_does_not_transfer(tmp_path: Path) -> None:
    keep(tmp_path / "kept/stand_in", judged(claim(**PLANTED), hits=0.0, dataset="photos"))
    (heard,) = kept_evidence.by_claim([claim(**PLANTED)], tmp_path / "kept").values()
    assert len(heard) == 1
    alone = claim(**PLANTED | {"transfers": False})
    assert kept_evidence.by_claim([alone], tmp_path / "kept") == {alone.id: []}


def test_a_study_is_heard_though_its_report_has_no_table_of_claims(
    study_copy: tuple[Study, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    study, root = study_copy
    tables_of_study = root / "results" / study.study / "tables"
    tables_of_study.mkdir(exist_ok=True)
    (tables_of_study / "table_costs.csv").write_text("Stage\n")
    assert not (tables_of_study / kept_evidence.NAME).exists()
    spec = importlib.util.spec_from_file_location("keep", ROOT / "docs/results/keep.py")
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    monkeypatch.chdir(root)
    monkeypatch.setattr(program, "KEPT", tmp_path)
    (root / "config").mkdir(exist_ok=True)
    shutil.copyfile(ROOT / FILE, root / FILE)
    folder = program.keep(root / "tiny.yaml")
    assert (folder / kept_evidence.NAME).read_text().startswith("claim,dataset,model,")


def test_the_kept_page_is_what_the_program_writes() -> None:
    kept = ROOT / "docs/results"
    assert (kept / "VERDICTS.md").read_text() == verdict_page.page(ROOT / FILE, kept)

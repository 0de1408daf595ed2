"""Claims in the report and in their table: every verdict with its mark, its numbers and its reason."""

from __future__ import annotations

import dataclasses
import re
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gradsiege.analysis.claims.claim import Claim
from gradsiege.analysis.power import detectable_difference, paired_spread
from gradsiege.report.claim_words import SHOWN, claimed, measured, part_names, tally
from gradsiege.report.data import StudyData
from gradsiege.report.page import page as report
from gradsiege.report.page.claims_section import power_line, section
from gradsiege.report.page.findings import findings
from gradsiege.report.tables import table_claims
from gradsiege.report.wording import number
from gradsiege.study.ledger import FILE, load

LEDGER = Path(__file__).parents[2] / FILE
OWN = {
    "paper": "Made up",
    "source": "nowhere",
    "place": "nowhere",
    "statement": "The made-up data come out as made up.",
    "rule": "value_within",
    "needs": {"dataset": "photos"},
    "tolerance": {"psnr": 3.0},
    "cells": {"defense": "none", "training_stage": "untrained", "attack": "inverting_gradients"},
}


@pytest.fixture(scope="module")
def judged(made_up_study: StudyData) -> StudyData:
    """The made-up study with the real ledger, and two claims about its own data."""
    planted = [
        Claim.model_validate({**OWN, "id": "own.right", "value": {"psnr": 27.3}}),
        Claim.model_validate({**OWN, "id": "own.wrong", "value": {"psnr": 17.3}}),
    ]
    parameters = {
        "gaussian-sigma0.01": {"sigma": 0.01},
        "gaussian-sigma0.1": {"sigma": 0.1},
        "tip": {
            "selection": "top",
            "spectrum": "high",
            "ratio": 0.1,
            "epsilon": 5.0,
            "noise_norm": None,
        },
    }
    defenses = [
        {**item, "parameters": parameters.get(item["id"], {})}
        for item in made_up_study.study["defenses"]
    ]
    study = {**made_up_study.study, "defenses": defenses}
    return dataclasses.replace(made_up_study, study=study, claims=[*planted, *load(LEDGER)])


@pytest.fixture(scope="module")
def html(judged: StudyData) -> str:
    return report.render(judged, {"table_claims": table_claims.draw(judged)}, {})


def claims_of(html: str) -> str:
    """The section without its markup's line breaks, scripts not run."""
    section = re.search(r'<section id="claims".*?</section>', html, re.DOTALL)
    assert section
    return unescape(section[0]).replace("\u00a0", " ")


def rows_of(html: str) -> dict[str, str]:
    """Table rows of the section by claim, the first of each."""
    rows = re.findall(r"<tr><th scope=\"row\">.*?</tr>", claims_of(html), re.DOTALL)
    return {re.findall(r"<code>(\S+)</code>", row)[0]: row for row in reversed(rows)}


def test_every_claim_of_the_ledger_is_in_the_page(judged: StudyData, html: str) -> None:
    section = claims_of(html)
    for claim in judged.claims:
        assert f"<code>{claim.id}</code>" in section
        assert claim.statement.replace(" %", "\u00a0%").replace("\u00a0", " ") in section


def test_numbers_interval_and_verdict_stand_together(judged: StudyData, html: str) -> None:
    row = rows_of(html)["own.right"]
    part = next(outcome for outcome in judged.outcomes if outcome.claim.id == "own.right").parts[0]
    interval = part.interval
    low, high = number(interval.low, 2), number(interval.high, 2)
    assert f"{number(interval.estimate, 2)} dB [{low}, {high}], 8 victims" in row
    assert "claimed: PSNR 27.30 ± 3.00 dB" in row
    assert '<span class="chip reproduced">reproduced</span>' in row
    assert "Photos, ConvNet" in row
    assert '<span class="chip not-reproduced">not reproduced</span>' in rows_of(html)["own.wrong"]


def test_no_chip_says_reproduced_on_stand_in_data_without_the_mark(html: str) -> None:
    marked = 0
    for name, row in rows_of(html).items():
        chip = re.search(
            r'<span class="chip \S+">([^<]+)</span>( <span class="badge">stand-in data)?', row
        )
        if chip is None:
            continue  # not run at all
        assert bool(chip[2]) == (not name.startswith("own."))
        marked += bool(chip[2])
    assert marked > 5


def test_the_data_file_carries_the_mark_in_the_verdict(judged: StudyData) -> None:
    table = table_claims.draw(judged).data
    assert set(table.loc[table["claim_verdict"] == "reproduced", "claim"]) == {"own.right"}
    stood_in = table.loc[table["stand_in"].eq(True), "claim_verdict"]
    assert stood_in.str.contains("(stand-in data", regex=False).all()
    others = table.loc[table["origin"] == "third_party", "claim_verdict"]
    assert others.str.endswith("third-party number)").all()
    assert (
        not table.loc[table["origin"] != "third_party", "claim_verdict"].str.contains("party").any()
    )
    assert set(table["claim"]) == {claim.id for claim in judged.claims}
    ran = table[table["measured"].notna()]
    assert (
        ran[["metric", "units", "part_verdict", "tolerance", "dataset", "attack"]]
        .notna()
        .any()
        .all()
    )
    unrun = table[table["metric"].isna()]
    assert unrun["claim_verdict"].str.startswith("not run").all()
    assert (unrun["why"].str.len() > 10).all()


def test_what_was_not_run_says_what_it_needs(html: str) -> None:
    assert "The study has no defense agp" in rows_of(html)["tip.accuracy.agp"]
    assert "stand-in" not in rows_of(html)["tip.accuracy.agp"]
    assert re.search(r"<summary>\d+ claims were not run: what each of them needs</summary>", html)


def test_deviations_are_listed_with_a_verdict(html: str) -> None:
    row = rows_of(html)["tip.unrecognisable"]
    assert "Model convnet instead of resnet18." in row
    assert "Data set photos instead of cifar10 or cifar100 or tiny_imagenet." in row


def test_parts_are_told_apart(judged: StudyData) -> None:
    for outcome in judged.outcomes:
        names = [
            (name, part.comparison.metric, part.comparison.value)
            for name, part in zip(part_names(outcome.parts), outcome.parts, strict=True)
        ]
        assert len(names) == len(set(names)), outcome.claim.id


def test_every_metric_has_words(judged: StudyData) -> None:
    for claim in judged.claims:
        for _, metric, value in claim.published():
            assert SHOWN[metric][0] in claimed(claim, metric, value, paired=False)


def test_differences_are_told_from_values(judged: StudyData) -> None:
    by_id = {claim.id: claim for claim in judged.claims}
    assert claimed(by_id["shadow.psnr.chest"], "psnr", 3.73, paired=True) == (
        "PSNR lower by 3.73 dB (± 1.00 dB)"
    )
    assert claimed(by_id["tip.accuracy.comparable"], "accuracy", None, paired=True) == (
        "|Δ accuracy| < 1.0 points"
    )
    assert (
        claimed(by_id["tip.unrecognisable"], "identified", 0.1, paired=False) == "identified ≤ 10 %"
    )
    assert (
        claimed(by_id["shadow.accuracy"], "accuracy", -0.01, paired=True)
        == "Δ accuracy ≥ −1.0 points"
    )
    assert claimed(by_id["gifd.ball"], "psnr", None, paired=True) == (
        "PSNR higher (0.50 dB and more count)"
    )
    lowered = next(
        outcome for outcome in judged.outcomes if outcome.claim.id == "tip.leaks_less"
    ).parts[0]
    assert measured(lowered).startswith("−")


def test_the_power_line_is_the_numbers(judged: StudyData, html: str) -> None:
    spread, units = paired_spread(judged.scores)
    size = detectable_difference(spread, units)
    line = power_line(judged)
    assert f"({number(spread)} dB)" in line
    assert f"difference of {number(size)} dB with 80 % probability" in line
    assert units == 8
    assert line in claims_of(html)


def test_the_tally_counts_verdicts(judged: StudyData) -> None:
    sentence = tally(judged.outcomes)
    assert sentence.startswith(
        f"The ledger holds {len(judged.claims)} claims; verdicts: 1 reproduced, "
    )
    assert sum(map(int, re.findall(r"(\d+) (?!claims)", sentence))) == len(judged.outcomes)
    assert sentence in {finding.sentence for finding in findings(judged)}


def test_a_study_without_a_ledger_or_without_results_says_so(
    made_up_study: StudyData, empty_study: StudyData, judged: StudyData
) -> None:
    assert "The ledger holds no claim." in claims_of(report.render(made_up_study, {}, {}))
    empty = dataclasses.replace(empty_study, claims=judged.claims)
    assert "No claim was tested by this study." in claims_of(report.render(empty, {}, {}))
    assert power_line(empty) == ""
    assert section(empty).tested == []


def test_insertion_areas_reach_the_claims(judged: StudyData) -> None:
    outcome = next(
        judgement
        for judgement in dataclasses.replace(
            judged,
            claims=[
                Claim.model_validate(
                    {
                        **OWN,
                        "id": "area",
                        "cells": {"defense": "none", "training_stage": "late"},
                        "value": {"insertion_area": 0.715},
                        "tolerance": {"insertion_area": 0.05},
                    }
                )
            ],
        ).outcomes
    )
    assert outcome.parts[0].interval.estimate == pytest.approx(0.715)  # 0.7 and 0.7 + 0.03
    assert outcome.parts[0].interval.units == 2


def test_a_broken_explanation_is_a_failed_row(judged: StudyData) -> None:
    broken = {
        key: {**arrays, "deletion_area.after": np.array([np.nan, 0.5])}
        for key, arrays in judged.explanations.items()
    }
    table = dataclasses.replace(judged, explanations=broken).explained
    assert set(table["status"]) == {"failed", "complete"}
    assert isinstance(table, pd.DataFrame)
    assert table.groupby("victim")["status"].first().tolist() == ["failed", "complete"]

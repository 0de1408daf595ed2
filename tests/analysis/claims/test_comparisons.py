"""How a claim compares: against several references, in order, over seeds, as rates, with failures; and why it was not run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from planted_claims import (
    CELL,
    STUDY,
    VICTIMS,
    changed,
    claim,
    lowers,
    only,
    rows,
    tables,
    utility,
)

from gradsiege.analysis.claims.evaluation import evaluate


def test_several_references_must_all_be_beaten() -> None:
    study = changed(attacks=[{"id": name, "name": name} for name in ("gifd", "gias", "ggl")])
    better = claim(
        rule="difference_sign",
        direction="higher",
        value={},
        tolerance={"psnr": 0.5},
        cells={"attack": "gifd"},
        against=[{"attack": "gias"}, {"attack": "ggl"}],
    )
    cells = [rows(1, 24.0, attack="gifd"), rows(attack="gias"), rows(2, 21.0, attack="ggl")]
    assert only(evaluate([better], tables(*cells, study=study))).verdict == "reproduced"
    in_part = only(evaluate([better], tables(*cells[:2], study=study)))
    assert in_part.verdict == "not run"
    assert in_part.why.startswith("1 of 2 comparisons are missing: the cells to compare with")
    assert len(in_part.parts) == 1


def test_an_order_is_tested_neighbour_by_neighbour() -> None:
    study = changed(defenses=[{"id": name, "name": name} for name in ("none", "agp", "tip_dp")])
    order = claim(
        rule="ordering",
        value={},
        tolerance={"accuracy": 0.01},
        cells={},
        arms=[{"defense": "none"}, {"defense": "agp"}, {"defense": "tip_dp"}],
    )
    falling = [utility(0.8), utility(0.6, defense="agp"), utility(0.5, defense="tip_dp")]
    found = only(evaluate([order], tables(study=study, utility=pd.concat(falling))))
    assert found.verdict == "reproduced"
    assert [part.interval.estimate for part in found.parts] == pytest.approx([0.201, 0.1])
    rising = [utility(0.8), utility(0.5, defense="agp"), utility(0.6, defense="tip_dp")]
    found = only(evaluate([order], tables(study=study, utility=pd.concat(rising))))
    assert found.verdict == "not reproduced"


def test_accuracy_is_compared_over_seeds_at_the_round_that_is_asked_for() -> None:
    comparable = claim(
        rule="equivalent",
        value={},
        tolerance={"accuracy": 0.01},
        cells={"defense": "tip"},
        against=[{"defense": "none"}],
    )
    both = pd.concat([utility(0.8), utility(0.803, defense="tip")])
    found = only(evaluate([comparable], tables(utility=both)))
    assert found.verdict == "reproduced"
    assert found.parts[0].interval.units == 3
    assert found.parts[0].interval.method == "student"
    lone = both[both["seed"] == 0]
    found = only(evaluate([comparable], tables(utility=lone)))
    assert found.verdict == "undecided"
    assert found.why == "1 sampling unit gives no interval; two are needed"

    early = claim(
        value={},
        tolerance={"accuracy": 0.02},
        points=[
            {"at": {"round": turn}, "value": {"accuracy": value}}
            for turn, value in ((1, 0.602), (3, 0.802), (50, 0.9))
        ],
    )
    found = only(evaluate([early], tables(utility=utility(0.8))))
    assert [part.verdict for part in found.parts] == ["reproduced", "reproduced"]
    assert found.shown_verdict == "not run"
    assert found.why == "1 of 3 comparisons are missing: the study ends with round 3"


def test_an_identification_rate_counts_failures_as_misses() -> None:
    hidden = claim(rule="at_most", value={"identified": 0.25}, tolerance={"identified": 0.0})
    cell = rows(hits=0.0)
    assert only(evaluate([hidden], tables(cell))).verdict == "reproduced"
    cell = rows(hits=1.0)
    assert only(evaluate([hidden], tables(cell))).verdict == "not reproduced"
    assert only(evaluate([hidden], tables(cell.assign(status="failed")))).verdict == "reproduced"
    less = claim(
        rule="difference_sign",
        direction="lower",
        value={},
        tolerance={"identified": 0.1},
        cells={"defense": "tip"},
        against=[{"defense": "none"}],
    )
    found = only(evaluate([less], tables(cell, rows(defense="tip").assign(status="failed"))))
    assert found.parts[0].interval.estimate == -1.0


def test_failed_attacks_leave_the_pair_and_are_counted() -> None:
    cell = rows(1, 16.0, defense="tip")
    cell.loc[:2, ["status", "psnr"]] = ["failed", float("nan")]
    part = only(evaluate([lowers(4.0)], tables(rows(), cell))).parts[0]
    assert (part.lost, part.interval.units) == (3, VICTIMS - 3)


def test_explanations_are_paired_by_victim() -> None:
    ids = {k: v for k, v in CELL.items() if k not in ("threat_model", "attack")}
    before = pd.DataFrame(
        {
            **{name: [value] * 9 for name, value in ids.items()},
            "seed": 0,
            "victim": range(9),
            "image": 0,
            "status": "complete",
            "insertion_area": np.linspace(0.2, 0.6, 9),
        }
    )
    after = before.assign(defense="tip", insertion_area=before["insertion_area"] + 0.1)
    keeps = claim(
        rule="difference_sign",
        direction="higher",
        value={},
        tolerance={"insertion_area": 0.02},
        cells={"defense": "tip"},
        against=[{"defense": "none"}],
    )
    found = only(evaluate([keeps], tables(explained=pd.concat([before, after]))))
    assert found.verdict == "reproduced"
    assert found.parts[0].interval.estimate == pytest.approx(0.1)
    assert "explains no victim" in only(evaluate([keeps], tables())).why


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"cells": {"defense": "agp"}}, "the study has no defense agp"),
        (
            {"cells": {"defense": {"name": "tip", "parameters": {"epsilon": 1.0}}}},
            "the study has no defense tip with epsilon 1",
        ),
        (
            {"cells": {"protocol": {"images": 8}}},
            "the study has no protocol with images 8",
        ),
        (
            {"cells": {"prior": {"name": "autoencoder"}}},
            "no attack of the study uses the prior autoencoder",
        ),
        (
            {"cells": {"federation": {"rounds": 40}}},
            "the study has no federation with rounds 40",
        ),
        ({"cells": {"training_stage": "early"}}, "the study has no training stage early"),
        (
            {"cells": {"training_stage": "untrained"}},
            "its cells are cut from the study, or have not finished",
        ),
        (
            {"value": {"lpips": 0.3}, "tolerance": {"lpips": 0.1}},
            "lpips was not computed: no trunk weights",
        ),
        (
            {"value": {"protected_psnr": 30.0}, "tolerance": {"protected_psnr": 1.0}},
            "no stage of this version measures protected_psnr",
        ),
        (
            {"value": {}, "points": [
                {"at": {"defense": name}, "value": {"psnr": 20.0}} for name in ("agp", "sign")
            ]},
            "the study has no defense agp, no defense sign",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_was_not_run_says_why(changes: dict[str, Any], why: str) -> None:
    data = tables(rows(), absent={"lpips": "no trunk weights"})
    found = only(evaluate([claim(**changes)], data))
    assert (found.shown_verdict, found.why) == ("not run", why)
    assert (found.dataset, found.parts, found.stand_in) == ("", (), False)


def test_nothing_but_failures_is_not_run() -> None:
    cell = rows().assign(status="failed", psnr=float("nan"))
    found = only(evaluate([claim()], tables(cell)))
    assert (found.shown_verdict, found.why) == ("not run", "every attempt failed")


def test_controls_are_no_attack() -> None:
    found = only(evaluate([claim()], tables(rows().assign(kind="control"))))
    assert found.shown_verdict == "not run"


def test_a_study_without_results_runs_nothing() -> None:
    found = only(evaluate([claim()], tables(study=STUDY)))
    assert found.shown_verdict == "not run"


def test_the_same_tables_give_the_same_intervals_under_every_claim() -> None:
    data = tables(rows(), rows(1, 16.0, defense="tip"))
    first, second = evaluate([lowers(4.0), lowers(9.0, id="two")], data)
    assert first.parts[0].interval == second.parts[0].interval

"""Claims against planted tables: which cells are compared, what is a stand-in, and why something was not run."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gradsiege.analysis.claims import Claim
from gradsiege.analysis.comparisons import Tables
from gradsiege.analysis.evaluation import Outcome, evaluate

STUDY: dict[str, Any] = {
    "study": "planted",
    "datasets": [{"id": "cifar", "name": "cifar10", "size": 32}],
    "models": [{"id": "resnet18", "name": "resnet18"}],
    "defenses": [
        {"id": "none", "name": "none"},
        {"id": "tip", "name": "tip", "arm": "faithful", "parameters": {"epsilon": 5.0}},
    ],
    "training_stages": ["untrained", "late"],
    "protocols": [{"id": "fedsgd", "name": "fedsgd", "images": 1}],
    "threat_models": [{"id": "told", "labels": "given", "disclosure": False}],
    "attacks": [{"id": "ig", "name": "inverting_gradients", "iterations": 100}],
    "federation": {"clients": 10, "rounds": 3},
}
CELL = {
    "dataset": "cifar",
    "model": "resnet18",
    "defense": "none",
    "training_stage": "late",
    "protocol": "fedsgd",
    "threat_model": "told",
    "attack": "ig",
}
VICTIMS = 24


def rows(seed: int = 0, psnr: float = 20.0, hits: float = 1.0, **ids: Any) -> pd.DataFrame:
    """One planted cell: the same victims everywhere, `psnr` their mean up to noise of 0.3 dB."""
    own = np.linspace(-3, 3, VICTIMS)  # what one victim has in every cell
    noise = np.random.default_rng(seed).normal(0, 0.3, VICTIMS)
    return pd.DataFrame(
        {
            **{name: [value] * VICTIMS for name, value in {**CELL, **ids}.items()},
            "seed": 0,
            "kind": "attack",
            "victim": range(VICTIMS),
            "image": 0,
            "status": "complete",
            "psnr": psnr + own + noise - noise.mean(),
            "lpips": float("nan"),
            "identified": np.arange(VICTIMS) < hits * VICTIMS,
        }
    )


def utility(accuracy: float, seeds: int = 3, **ids: Any) -> pd.DataFrame:
    places = [{"seed": seed, "round": turn} for seed in range(seeds) for turn in range(4)]
    table = pd.DataFrame(
        [{**{k: CELL[k] for k in ("dataset", "model", "defense")}, **ids, **p} for p in places]
    )
    spread = 0.001 * table["seed"] * (1 if ids else 2)
    return table.assign(status="complete", accuracy=accuracy - 0.1 * (3 - table["round"]) + spread)


def tables(*scores: pd.DataFrame, study: dict[str, Any] | None = None, **other: Any) -> Tables:
    nothing: dict[str, Any] = {"utility": pd.DataFrame(), "explained": pd.DataFrame()}
    table = pd.concat(scores, ignore_index=True) if scores else pd.DataFrame()
    return Tables(study or STUDY, table, **{**nothing, **other})


def claim(**changes: Any) -> Claim:
    plain: dict[str, Any] = {
        "id": "one",
        "paper": "P",
        "source": "s",
        "place": "p",
        "statement": "Something holds.",
        "rule": "value_within",
        "value": {"psnr": 20.0},
        "tolerance": {"psnr": 2.0},
        "cells": {"defense": "none"},
        "needs": {"dataset": "cifar10"},
    }
    return Claim.model_validate({**plain, **changes})


def lowers(size: float, **changes: Any) -> Claim:
    """TIP lowers PSNR by `size` dB."""
    return claim(
        rule="difference_sign",
        direction="lower",
        value={"psnr": size},
        tolerance={"psnr": 1.0},
        cells={"defense": "tip"},
        against=[{"defense": "none"}],
        **changes,
    )


def only(found: list[Outcome]) -> Outcome:
    assert len(found) == 1
    return found[0]


def changed(**sections: Any) -> dict[str, Any]:
    return {**copy.deepcopy(STUDY), **sections}


STAND_IN = changed(datasets=[{"id": "cifar", "name": "photos", "size": 32}])


def test_a_planted_value_is_reproduced_on_its_own_data() -> None:
    found = only(evaluate([claim()], tables(rows())))
    assert (found.verdict, found.said, found.stand_in) == ("reproduced", "reproduced", False)
    part = found.parts[0]
    assert part.interval.estimate == pytest.approx(20.0)
    assert part.interval.units == VICTIMS
    assert (found.dataset, found.model, found.arm) == ("cifar", "resnet18", "")


@pytest.mark.parametrize(
    ("psnr", "verdict"), [(20.0, "reproduced"), (21.9, "undecided"), (26.0, "not reproduced")]
)
def test_a_value_further_off_loses_its_verdict(psnr: float, verdict: str) -> None:
    assert only(evaluate([claim()], tables(rows(psnr=psnr)))).verdict == verdict


@pytest.mark.parametrize(
    ("tip", "verdict"),
    [(16.0, "reproduced"), (18.5, "weaker"), (20.0, "not reproduced"), (22.0, "not reproduced")],
)
def test_differences_are_paired_by_victim(tip: float, verdict: str) -> None:
    """Victims differ by six decibels; only pairing sees differences of two."""
    found = only(evaluate([lowers(4.0)], tables(rows(), rows(1, tip, defense="tip"))))
    assert found.verdict == verdict
    part = found.parts[0]
    assert part.interval.high - part.interval.low < 0.5
    assert part.interval.estimate == pytest.approx(tip - 20.0)
    assert dict(part.reference) == {"defense": "none"}


def test_data_that_stand_in_are_marked_and_never_read_reproduced_alone() -> None:
    found = only(
        evaluate(
            [lowers(4.0, transfers=True)],
            tables(rows(), rows(1, 16.0, defense="tip"), study=STAND_IN),
        )
    )
    assert found.verdict == "reproduced"
    assert found.stand_in
    assert found.said == "reproduced (stand-in data)"
    assert found.deviations == ("data set photos instead of cifar10",)


def test_a_claim_that_does_not_transfer_is_not_tested_elsewhere() -> None:
    found = only(
        evaluate([lowers(4.0)], tables(rows(), rows(1, 16.0, defense="tip"), study=STAND_IN))
    )
    assert found.said == "not run"
    assert found.why.endswith("setting of its source: data set photos instead of cifar10")
    assert found.parts == ()


def test_own_data_are_preferred_to_stand_ins() -> None:
    study = changed(
        datasets=[{"id": "photos", "name": "photos"}, {"id": "cifar", "name": "cifar10"}]
    )
    data = tables(rows(psnr=30, dataset="photos"), rows(), study=study)
    found = only(evaluate([claim(transfers=True)], data))
    assert (found.dataset, found.stand_in, found.verdict) == ("cifar", False, "reproduced")


def test_each_stand_in_has_its_own_verdict() -> None:
    study = changed(datasets=[{"id": name, "name": name} for name in ("photos", "faces")])
    data = tables(rows(psnr=30, dataset="photos"), rows(dataset="faces"), study=study)
    found = evaluate([claim(transfers=True)], data)
    said = {outcome.dataset: outcome.said for outcome in found}
    assert said == {
        "photos": "not reproduced (stand-in data)",
        "faces": "reproduced (stand-in data)",
    }


def test_the_method_as_described_and_as_released_are_judged_apart() -> None:
    released = {"id": "released", "name": "tip", "arm": "as_released"}
    study = changed(defenses=[*STUDY["defenses"], released])
    data = tables(
        rows(), rows(1, 16.0, defense="tip"), rows(2, 20.0, defense="released"), study=study
    )
    found = {outcome.arm: outcome.verdict for outcome in evaluate([lowers(4.0)], data)}
    assert found == {"faithful": "reproduced", "as_released": "not reproduced"}


def test_settings_that_depart_from_the_source_are_listed() -> None:
    needs = {
        "dataset": "cifar10",
        "model": "vgg11",
        "defense": {"parameters": {"epsilon": 1.0}},
        "attack": {"iterations": 4000},
        "threat_model": {"labels": "inferred"},
        "federation": {"clients": 100, "rounds": 3},
        "prior": "biggan",
    }
    data = tables(rows(), rows(1, 16.0, defense="tip"))
    found = only(evaluate([lowers(4.0, needs=needs, transfers=True)], data))
    assert set(found.deviations) == {
        "model resnet18 instead of vgg11",
        "defense with epsilon 5 instead of 1",
        "attack with iterations 100 instead of 4000",
        "threat model with labels given instead of inferred",
        "federation with clients 10 instead of 100",
        "prior none instead of biggan",
    }
    assert not found.stand_in, "the data are the claim's own"


def test_every_cell_that_is_met_must_agree() -> None:
    both = changed(attacks=[*STUDY["attacks"], {"id": "gias", "name": "gias"}])
    data = tables(
        *(rows(1, 16.0, defense="tip", attack=attack) for attack in ("ig", "gias")),
        rows(),
        rows(attack="gias", psnr=16.0),
        study=both,
    )
    found = only(evaluate([lowers(4.0)], data))
    assert [part.verdict for part in found.parts] == ["reproduced", "not reproduced"]
    assert found.verdict == "not reproduced"


def test_the_run_with_the_largest_budget_speaks_for_an_attack() -> None:
    """One iteration, for its labels alone, must not save a defense, nor make a rival look weak."""
    brief = {"id": "labels_only", "name": "inverting_gradients", "iterations": 1, "restarts": 9}
    study = changed(attacks=[*STUDY["attacks"], brief])
    data = tables(
        rows(),
        rows(1, 16.0, defense="tip"),
        rows(psnr=9.0, attack="labels_only"),
        rows(1, 9.0, defense="tip", attack="labels_only"),
        study=study,
    )
    found = only(evaluate([lowers(4.0)], data))
    assert [part.ids["attack"] for part in found.parts] == ["ig"]
    assert found.verdict == "reproduced"


@pytest.mark.parametrize(
    "knows", [{"counter": "tip.drop_flagged_channels"}, {"name": "learned_inversion"}]
)
def test_an_attack_that_knows_the_defense_tests_only_claims_about_attackers_who_know(
    knows: dict[str, str],
) -> None:
    """It brings back what TIP hides."""
    knowing = {"id": "knows", "labels": "given", "disclosure": True}
    counter = {**STUDY["attacks"][0], "id": "drops", **knows}
    counter["iterations"] = 10  # less than without, and still an attack of its own
    study = changed(
        threat_models=[*STUDY["threat_models"], knowing], attacks=[*STUDY["attacks"], counter]
    )
    both = {"threat_model": "knows", "attack": "drops"}
    data = tables(
        rows(1, hits=0.0, defense="tip"),
        rows(1, hits=0.0, defense="tip", threat_model="knows"),
        rows(1, hits=1.0, defense="tip", **both),
        study=study,
    )
    hidden: dict[str, Any] = {
        "rule": "at_most",
        "value": {"identified": 0.25},
        "tolerance": {"identified": 0.0},
    }
    blind = claim(**hidden, cells={"defense": "tip"})
    informed = claim(**hidden, cells={"defense": "tip", "threat_model": {"disclosure": True}})
    assert only(evaluate([blind], data)).verdict == "reproduced"
    assert only(evaluate([informed], data)).verdict == "not reproduced"


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
    assert found.said == "not run"
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
    assert (found.said, found.why) == ("not run", why)
    assert (found.dataset, found.parts, found.stand_in) == ("", (), False)


def test_nothing_but_failures_is_not_run() -> None:
    cell = rows().assign(status="failed", psnr=float("nan"))
    found = only(evaluate([claim()], tables(cell)))
    assert (found.said, found.why) == ("not run", "every attempt failed")


def test_controls_are_no_attack() -> None:
    found = only(evaluate([claim()], tables(rows().assign(kind="control"))))
    assert found.said == "not run"


def test_a_study_without_results_runs_nothing() -> None:
    found = only(evaluate([claim()], tables(study=STUDY)))
    assert found.said == "not run"


def test_the_same_tables_give_the_same_intervals_under_every_claim() -> None:
    data = tables(rows(), rows(1, 16.0, defense="tip"))
    first, second = evaluate([lowers(4.0), lowers(9.0, id="two")], data)
    assert first.parts[0].interval == second.parts[0].interval

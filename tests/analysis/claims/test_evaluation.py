"""Claims against planted tables: which cells are compared, what is a stand-in, and whose run speaks."""

from __future__ import annotations

from typing import Any

import pytest
from planted_claims import (
    STAND_IN,
    STUDY,
    VICTIMS,
    changed,
    claim,
    lowers,
    only,
    rows,
    tables,
)

from gradsiege.analysis.claims.evaluation import evaluate


def test_a_planted_value_is_reproduced_on_its_own_data() -> None:
    found = only(evaluate([claim()], tables(rows())))
    assert (found.verdict, found.shown_verdict, found.stand_in) == (
        "reproduced",
        "reproduced",
        False,
    )
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
    assert found.shown_verdict == "reproduced (stand-in data)"
    assert found.departures == ("data set photos instead of cifar10",)


@pytest.mark.parametrize("transfers", [True, False])
def test_copies_of_the_data_are_judged_as_the_data_and_marked(transfers: bool) -> None:
    copies = {"id": "cifar", "name": "image_manifest", "parameters": {"copies_of": "cifar10"}}
    data = tables(rows(), rows(1, 16.0, defense="tip"), study=changed(datasets=[copies]))
    found = only(evaluate([lowers(4.0, transfers=transfers)], data))
    assert (found.stand_in, found.copies) == (False, True)
    assert found.shown_verdict == "reproduced (copies of its data)"
    assert found.departures == ("copies of cifar10 in other bytes",)
    others = {**copies, "parameters": {"copies_of": "svhn"}}
    data = tables(rows(), rows(1, 16.0, defense="tip"), study=changed(datasets=[others]))
    assert not only(evaluate([lowers(4.0, transfers=transfers)], data)).copies


def test_a_claim_that_does_not_transfer_is_not_tested_elsewhere() -> None:
    found = only(
        evaluate([lowers(4.0)], tables(rows(), rows(1, 16.0, defense="tip"), study=STAND_IN))
    )
    assert found.shown_verdict == "not run"
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
    said = {outcome.dataset: outcome.shown_verdict for outcome in found}
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
    assert set(found.departures) == {
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


HIDDEN: dict[str, Any] = {
    "rule": "at_most",
    "value": {"identified": 0.25},
    "tolerance": {"identified": 0.0},
}


def test_a_lookup_tests_only_claims_that_name_it() -> None:
    """It needs no update, so that it brings back as much under TIP; a claim on attacks at large is not about it."""
    lookup = {**STUDY["attacks"][0], "id": "guess", "name": "label_lookup"}
    study = changed(attacks=[*STUDY["attacks"], lookup])
    data = tables(
        rows(1, hits=0.0, defense="tip"),
        rows(1, hits=1.0, defense="tip", attack="guess"),
        study=study,
    )
    at_large = claim(**HIDDEN, cells={"defense": "tip"})
    named = claim(**HIDDEN, cells={"defense": "tip", "attack": "label_lookup"})
    assert only(evaluate([at_large], data)).verdict == "reproduced"
    assert only(evaluate([named], data)).verdict == "not reproduced"


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
    blind = claim(**HIDDEN, cells={"defense": "tip"})
    informed = claim(**HIDDEN, cells={"defense": "tip", "threat_model": {"disclosure": True}})
    assert only(evaluate([blind], data)).verdict == "reproduced"
    assert only(evaluate([informed], data)).verdict == "not reproduced"

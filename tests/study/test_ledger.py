"""The ledger of claims: what is in it, and that every slip is an error that names it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
from planted_claims import PLAIN

from gradsiege.analysis.claims.claim import Claim, Metric, Rule, Scored, Selector, Utility
from gradsiege.analysis.claims.comparisons import comparisons_of
from gradsiege.analysis.claims.selection import choose
from gradsiege.errors import StudyError
from gradsiege.study import parse as parse_study
from gradsiege.study.ledger import FILE, load, parse

PATH = Path(__file__).parents[2] / FILE
# What no stage measures so far; a claim that needs it is "not run".
UNMEASURED = {
    "psnr_sensitive_area",
    "protected_psnr",
    "protected_rms",
    "protected_peak",
}


def claim(**changes: Any) -> dict[str, Any]:
    plain = PLAIN | {
        "value": {"psnr": 16.12},
        "tolerance": {"psnr": 1.0},
        "cells": {"attack": "gi_pip"},
    }
    return {**plain, **changes}


def ledger(**changes: Any) -> list[Claim]:
    return parse({"claims": [claim(**changes)]})


@pytest.fixture(scope="module")
def claims() -> dict[str, Claim]:
    return {claim.id: claim for claim in load(PATH)}


def test_every_paper_and_every_rule_is_in_the_ledger(claims: dict[str, Claim]) -> None:
    papers = {claim.paper for claim in claims.values()}
    assert papers == {"TIP", "Shadow", "GI-PIP", "GIFD", "GIFD and its rivals", "Critics"}
    assert {claim.rule for claim in claims.values()} == set(get_args(Rule))
    assert all(re.search(r"arXiv \d{4}\.\d{5}", claim.source) for claim in claims.values())
    assert all(claim.statement.endswith(".") for claim in claims.values())


def test_the_curve_of_tip_is_there_round_by_round(claims: dict[str, Claim]) -> None:
    ends = {"none": 0.793, "tip": 0.731, "agp": 0.588, "dp": 0.442}
    for arm, last in ends.items():
        curve = claims[f"tip.accuracy.{arm}"]
        rounds = [cells.round for cells, _, _ in curve.published()]
        values = [value or 0.0 for _, _, value in curve.published()]
        assert rounds == [*range(0, 1001, 100)]
        assert values == sorted(values)
        assert values[-1] == last
        assert "±0.002" in curve.place
        assert curve.origin == "digitised"


def test_the_third_party_table_is_there_cell_by_cell(claims: dict[str, Claim]) -> None:
    rerun = [claim for claim in claims.values() if claim.id.endswith((".pixels", ".structure"))]
    values = [value for claim in rerun for _, _, value in claim.published()]
    assert len(rerun) == 36
    assert len(values) == 3 * 6 * 5 * 4  # data sets, defenses, attacks, metrics
    assert all(claim.origin == "third_party" for claim in rerun)
    row = claims["rerun.cifar10.none.pixels"].published()
    psnr = {cells.attack["name"]: value for cells, metric, value in row if metric == "psnr"}
    assert psnr["inverting_gradients"] - psnr["gifd"] == pytest.approx(9.356)


def test_values_read_off_figures_have_a_tolerance_above_the_reading_error(
    claims: dict[str, Claim],
) -> None:
    for claim in claims.values():
        error = re.search(r"±(0\.\d+)", claim.place)
        if claim.origin == "digitised" and error:
            assert min(claim.tolerance.values()) >= 2 * float(error[1]), claim.id


def test_differences_of_the_charts_are_differences_of_their_bars(claims: dict[str, Claim]) -> None:
    def bars(name: str) -> dict[str, float]:
        return {
            str(cells.defense.get("parameters", cells.protocol)): value or 0.0
            for cells, _, value in claims[f"gi_pip.{name}"].published()
        }

    for axis in ("batch", "noise", "sparsity"):
        scored, plain = bars(f"{axis}.with"), bars(f"{axis}.without")
        for place, gain in bars(f"gain.{axis}").items():
            assert gain == pytest.approx(scored[place] - plain[place]), (axis, place)
    table = {
        name: claims[f"rerun.cifar10.{name}.pixels"].published() for name in ("none", "censor")
    }
    psnr = {
        (defense, cells.attack["name"]): value or 0.0
        for defense, row in table.items()
        for cells, metric, value in row
        if metric == "psnr"
    }
    for cells, _, drop in claims["rerun.censor_lowers.cifar10"].published():
        attack = cells.attack["name"]
        expected = psnr["none", attack] - psnr["censor", attack]
        assert drop == pytest.approx(expected, abs=0.06)


def test_batches_that_repeat_labels_test_no_chart_of_batches(claims: dict[str, Claim]) -> None:
    """The published batches hold distinct labels: a protocol with duplicates is another question."""
    study = parse_study(
        {
            "study": "batches",
            "datasets": [
                {
                    "name": "photos",
                    "counts": {
                        "train": 16,
                        "test": 8,
                        "aux": 8,
                        "public": 8,
                        "tune": 1,
                        "victims": 64,
                    },
                }
            ],
            "models": ["convnet"],
            "defenses": ["none"],
            "protocols": [
                {"id": "distinct", "name": "fedsgd", "images": 8, "batch_size": 8},
                {
                    "id": "repeated",
                    "name": "fedsgd",
                    "images": 8,
                    "batch_size": 8,
                    "duplicates": True,
                },
            ],
            "priors": ["autoencoder"],
            "attacks": [
                {"name": "gi_pip", "prior": "autoencoder", "parameters": {"anomaly_score": score}}
                | {"id": f"score{score}", "iterations": 9}
                for score in (None, 0.0)
            ],
            "threat_models": [{"id": "given", "labels": "given"}],
            "victims": 1,
        }
    ).model_dump(mode="json")
    charts = [
        claim
        for claim in claims.values()
        if any("images" in point.at.protocol for point in claim.points)
        or claim.id == "gi_pip.score_helps"
    ]
    assert {claim.id for claim in charts} == {
        "gi_pip.batch.with", "gi_pip.batch.without", "gi_pip.gain.batch", "gi_pip.score_helps",
    }  # fmt: skip
    for claim in charts:
        eights = [
            comparison.cells
            for comparison in comparisons_of(claim)
            if comparison.cells.protocol.get("images") in (8, None)
        ]
        assert eights
        for cells in eights:
            chosen = choose(study, "scores", cells, Selector())["protocol"]
            assert chosen == ["distinct"], claim.id


def test_every_claim_asks_for_at_least_one_comparison(claims: dict[str, Claim]) -> None:
    assert all(comparisons_of(claim) for claim in claims.values())


def test_a_metric_of_a_claim_is_a_column_that_a_stage_writes() -> None:
    from gradsiege.federated.progress import MEASURES
    from gradsiege.metrics import on_normalised
    from gradsiege.metrics.registry import METRICS

    written = {*METRICS, *on_normalised.COLUMNS, "identified", "label_accuracy"}
    assert set(get_args(Scored)) == written | UNMEASURED
    assert set(get_args(Utility)) <= set(MEASURES)
    assert len(set(get_args(Metric))) == len(get_args(Metric))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tolerence": {}}, "unknown key 'claims.one.tolerence'; did you mean 'tolerance'"),
        (
            {"cells": {"atack": "gifd"}},
            "'claims.one.cells.atack'; did you mean 'attack'",
        ),
        (
            {"value": {}, "points": [{"at": {}, "valu": {"psnr": 1.0}}]},
            "claims.one.points.0.valu'; did you mean 'value'",
        ),
        ({"cells": {"attack": "gi_pipp"}}, "one: cells.attack: unknown name 'gi_pipp'; did you"),
        ({"needs": {"dataset": "cifar"}}, "needs.dataset: unknown name 'cifar'; did you mean"),
        ({"cells": {"attack": {"nam": "gifd"}}}, "unknown key 'nam'; did you mean 'name'"),
        ({"cells": {"attack": {"id": "mine"}}}, "unknown key 'id'"),
        (
            {"cells": {"attack": {"name": "gifd", "parameters": {"bal": True}}}},
            "gifd has no parameter 'bal'; did you mean 'ball'",
        ),
        (
            {"cells": {"defense": {"name": "tip", "parameters": {"epsilon": "1e-4"}}}},
            "write epsilon as 0.0001",
        ),
        ({"cells": {"defense": {"name": "none", "arm": "as_released"}}}, "none has no arm"),
        ({"cells": {"training_stage": "latest"}}, "unknown name 'latest'; did you mean 'late'"),
        ({"cells": {"attack": {"only": []}}}, "unknown key 'only'; known"),
        ({"cells": {"threat_model": {"only": []}}}, "unknown key 'only'"),
        ({"cells": {"federation": {"round": 3}}}, "unknown key 'round'; did you mean 'rounds'"),
        ({"cells": {"threat_model": {"label": "given"}}}, "did you mean 'labels'"),
        ({"rule": "about"}, "claims.one.rule"),
        ({"value": {"psnrr": 1.0}}, "claims.one.value.psnrr"),
        ({"value": {}}, "value_within needs a `value`"),
        ({"tolerance": {"ssim": 0.1}}, "`tolerance` needs the metrics of the values"),
        ({"tolerance": {"psnr": 0.0}}, "must be positive"),
        ({"points": [{"at": {}, "value": {"psnr": 1.0}}]}, "not both"),
        ({"direction": "lower"}, "difference_sign, and it alone"),
        ({"arms": [{"defense": "none"}, {"defense": "tip"}]}, "ordering, and it alone"),
        ({"against": [{"dataset": "photos"}]}, "each has its own verdict"),
        ({"against": [{"protocol": "fedavg"}]}, "nothing can be paired over protocols"),
        ({"needs": {}}, "must name the data of the source"),
        ({"rule": "equivalent", "value": {}}, "equivalent needs `against`"),
        (
            {"rule": "equivalent", "against": [{"defense": "none"}]},
            "equivalent takes no value",
        ),
        (
            {
                "rule": "difference_sign",
                "direction": "lower",
                "against": [{"defense": "none"}],
                "value": {"psnr": 0.5},
            },
            "must exceed its tolerance",
        ),
        (
            {
                "rule": "ordering",
                "value": {},
                "arms": [{"defense": "none"}, {"attack": "gifd"}],
            },
            "must name the same fields",
        ),
        (
            {"value": {"accuracy": 0.5}, "tolerance": {"accuracy": 0.1}},
            "cells.attack selects nothing for accuracy",
        ),
        (
            {"value": {"accuracy": 0.5, "psnr": 1.0}, "tolerance": {"accuracy": 0.1, "psnr": 1.0}},
            "different tables",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_slip_is_an_error_that_names_it(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=re.escape(message)):
        ledger(**changes)


def test_an_override_is_checked_against_the_method_it_changes() -> None:
    changed = {"attack": {"parameters": {"anomaly": 0.0}}}
    with pytest.raises(StudyError, match=r"against\.0\.attack: gi_pip has no parameter 'anomaly'"):
        ledger(rule="equivalent", value={}, against=[changed])


def test_an_id_stands_once() -> None:
    with pytest.raises(StudyError, match="'one' stands twice"):
        parse({"claims": [claim(), claim()]})


@pytest.mark.parametrize("raw", [None, [], {"claim": []}, {"claims": ["text"]}, {"claims": 3}])
def test_what_is_no_ledger_is_refused(raw: object) -> None:
    with pytest.raises(StudyError, match=r"^claims: "):
        parse(raw)


def test_a_file_that_is_absent_or_no_yaml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="does not exist"):
        load(tmp_path / "claims.yaml")
    (tmp_path / "claims.yaml").write_text("claims: [")
    with pytest.raises(StudyError, match="not valid YAML"):
        load(tmp_path / "claims.yaml")


def test_a_selector_that_is_changed_keeps_what_is_not_named() -> None:
    base = Selector.model_validate({"attack": {"name": "gi_pip", "arm": "faithful"}, "round": 3})
    other = Selector.model_validate({"attack": "gifd", "protocol": {"images": 4}})
    changed = base.changed(other)
    assert changed.attack == {"name": "gifd"}, "another method replaces the whole"
    assert changed.protocol == {"images": 4}
    assert changed.round == 3
    assert base.attack == {"name": "gi_pip", "arm": "faithful"}
    assert Selector.model_validate({"attack": ["a", "b"]}).attack == {"name": ["a", "b"]}

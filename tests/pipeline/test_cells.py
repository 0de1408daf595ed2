"""Cells: every one once, found by its key, with a digest that changes exactly when its content may."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gradsiege import catalogue
from gradsiege.errors import StudyError
from gradsiege.pipeline import cells
from gradsiege.pipeline.cells import Cell, digest, parse_key, upstream
from gradsiege.pipeline.stage import STAGES
from gradsiege.study import Study, parse

Raw = dict[str, Any]
KEY = "digits/lenet/none/untrained/fedsgd/seed0"


def every(study: Study) -> list[Cell]:
    return [cell for of_stage in cells.cells(study).values() for cell in of_stage]


def digests(study: Study) -> dict[tuple[str, str], str]:
    return {(cell.stage, cell.key): digest(cell, study) for cell in every(study)}


def test_counts_are_those_of_the_product(tiny: Study) -> None:
    found = {stage: len(of_stage) for stage, of_stage in cells.cells(tiny).items()}
    assert found == {
        "fetch": 1,
        "prior": 1,
        "shadow": 0,
        "federate": 2,
        "observe": 4,
        "attack": 8,
        "score": 4,
    }


def test_no_cell_folder_or_digest_stands_twice(tiny_raw: Raw) -> None:
    tiny_raw["seeds"] = [0, 1]
    tiny_raw["threat_models"].append({"id": "labels_given", "labels": "given"})
    study = parse(tiny_raw)
    found = every(study)
    assert len(set(found)) == len(found)
    assert len({cell.folder(study) for cell in found}) == len(found)
    assert len({digest(cell, study) for cell in found}) == len(found)


def test_keys_read_back(tiny: Study) -> None:
    for cell in every(tiny):
        assert parse_key(cell.stage, cell.key, tiny) == cell
        assert parse_key(cell.stage, f"/{cell.key}/", tiny) == cell


def test_folders_spell_the_key(tiny: Study) -> None:
    cell = parse_key("score", KEY, tiny)
    assert cell.folder(tiny, Path("root")) == Path("root/results/tiny/score") / KEY
    assert [path.name for path in cell.files(tiny)] == [*STAGES["score"].outputs, "manifest.json"]


@pytest.mark.parametrize(
    ("stage", "key", "message"),
    [
        ("atack", "x", "unknown stage 'atack'; did you mean 'attack'"),
        ("fetch", "digit", "no id 'digit' in datasets; did you mean 'digits'"),
        ("fetch", "digits/x", "fetch cells look like dataset, not 'digits/x'"),
        (
            "federate",
            "digits/lenet/none/0",
            "'0' is not a seed of the study; did you mean|known: seed0",
        ),
        ("federate", "digits/lenet/none/seed7", "'seed7' is not a seed of the study"),
        ("federate", "digits/lenet/none/seed²", "is not a seed of the study"),
        ("observe", KEY.replace("untrained", "untraned"), "did you mean 'untrained'"),
        (
            "observe",
            KEY.replace("untrained", "early"),
            "'early' is not a training stage of the study",
        ),
        ("observe", "../../etc", "observe cells look like"),
        ("prior", "../autoencoder/seed0", "no id '..' in datasets"),
    ],
)
def test_a_wrong_key_is_refused(tiny: Study, stage: str, key: str, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        parse_key(stage, key, tiny)


def test_upstream_is_closed_and_never_turns_back(tiny: Study) -> None:
    found, order = set(every(tiny)), list(STAGES)
    for cell in found:
        for other in upstream(cell, tiny):
            assert other in found, f"{cell} reads {other}, which nobody makes"
            assert order.index(other.stage) < order.index(cell.stage)


def test_what_each_stage_reads(tiny: Study) -> None:
    def stages(stage: str, key: str) -> list[str]:
        return [other.stage for other in upstream(parse_key(stage, key, tiny), tiny)]

    assert stages("fetch", "digits") == []
    assert stages("federate", "digits/lenet/none/seed0") == ["fetch"]
    assert stages("observe", KEY) == ["fetch", "federate"]
    # An attack reads an observation and its prior: no path leads to data or truth of its own.
    assert stages("attack", f"{KEY}/labels_inferred/inverting_gradients") == ["observe"]
    assert stages("attack", f"{KEY}/labels_inferred/gi_pip") == ["observe", "prior"]
    assert stages("score", KEY) == ["fetch", "observe", "attack", "attack"]


def test_an_attack_may_read_several_priors(tiny_raw: Raw) -> None:
    tiny_raw["priors"].append({"name": "autoencoder", "id": "second"})
    tiny_raw["attacks"][1]["prior"] = ["second", "autoencoder"]
    study = parse(tiny_raw)
    attack = parse_key("attack", f"{KEY}/labels_inferred/gi_pip", study)
    assert [other.prior for other in upstream(attack, study)] == ["", "second", "autoencoder"]
    assert {cell.prior for cell in cells.cells(study)["prior"]} == {"second", "autoencoder"}
    tiny_raw["attacks"][1]["prior"] = ["autoencoder"]
    assert {cell.prior for cell in cells.cells(parse(tiny_raw))["prior"]} == {"autoencoder"}


def test_a_prior_is_trained_for_the_data_sets_whose_attacks_read_it(tiny_raw: Raw) -> None:
    tiny_raw["datasets"].append({**tiny_raw["datasets"][0], "name": "phantom"})
    tiny_raw["attacks"][1]["only"] = {"dataset": "digits"}
    found = cells.cells(parse(tiny_raw))
    assert {cell.dataset for cell in found["attack"]} == {"digits", "phantom"}
    assert [cell.dataset for cell in found["prior"]] == ["digits"]


def test_a_prior_may_come_from_another_data_set(tiny_raw: Raw) -> None:
    tiny_raw["datasets"].append({**tiny_raw["datasets"][0], "name": "phantom"})
    tiny_raw["priors"][0]["dataset"] = "phantom"
    # The other data set is there for its prior alone.
    tiny_raw["datasets"][1]["only"] = {"stage": "prior"}
    study = parse(tiny_raw)
    (prior,) = cells.cells(study)["prior"]
    assert prior.dataset == "phantom"
    assert {cell.dataset for cell in cells.cells(study)["attack"]} == {"digits"}
    attack = parse_key("attack", f"{KEY}/labels_inferred/gi_pip", study)
    assert upstream(attack, study)[1] == prior
    assert upstream(prior, study) == [Cell("fetch", dataset="phantom")]
    found = set(every(study))
    assert all(other in found for cell in found for other in upstream(cell, study))


ALL = set(STAGES) - {"shadow"}
AFTER_FEDERATE = {"federate", "observe", "attack", "score"}
CHANGES: dict[str, tuple[Callable[[Raw], object], set[str]]] = {
    "description": (lambda raw: raw.update(description="other"), set()),
    "name of the study": (lambda raw: raw.update(study="other"), set()),
    "figures": (lambda raw: raw.update(figures=[]), set()),
    "one more figure": (lambda raw: raw["figures"].append("utility_curve"), set()),
    "a default spelled out": (
        lambda raw: raw["attacks"][0].update(parameters={"total_variation": 1e-6}),
        set(),
    ),
    "study seed": (lambda raw: raw.update(seed=1), ALL),
    "image size": (lambda raw: raw["datasets"][0].update(size=24), ALL),
    "a role's count": (lambda raw: raw["datasets"][0]["counts"].update(train=50), ALL),
    "prior epochs": (
        lambda raw: raw["priors"][0].update(parameters={"epochs": 3}),
        {"prior", "attack", "score"},
    ),
    "model width": (
        lambda raw: raw["models"][0].update(parameters={"channels": 5}),
        AFTER_FEDERATE,
    ),
    "federation": (lambda raw: raw["federation"].update(rounds=4), AFTER_FEDERATE),
    "defense parameter": (
        lambda raw: raw["defenses"][1]["parameters"].update(sigma=0.02),
        AFTER_FEDERATE,
    ),
    "victims": (lambda raw: raw.update(victims=3), {"observe", "attack", "score"}),
    "explained": (lambda raw: raw.update(explained=1), {"observe", "attack", "score"}),
    "protocol": (
        lambda raw: raw.update(protocols=[{"name": "fedsgd", "learning_rate": 0.5}]),
        {"observe", "attack", "score"},
    ),
    "threat model": (
        lambda raw: raw["threat_models"][0].update(labels="given"),
        {"attack", "score"},
    ),
    "attack iterations": (lambda raw: raw["attacks"][0].update(iterations=6), {"attack", "score"}),
    "attack restarts": (lambda raw: raw["attacks"][0].update(restarts=2), {"attack", "score"}),
    "attack parameter": (
        lambda raw: raw["attacks"][0].update(parameters={"learning_rate": 0.2}),
        {"attack", "score"},
    ),
    "one attack fewer": (lambda raw: raw["attacks"].pop(), {"score"}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_digest_changes_exactly_when_it_should(change: str, tiny_raw: Raw) -> None:
    before = digests(parse(tiny_raw))
    apply, expected = CHANGES[change]
    apply(tiny_raw)
    after = digests(parse(tiny_raw))
    changed = {place for place in before if place in after and before[place] != after[place]}
    assert {stage for stage, _ in changed} == expected


def test_a_change_reaches_only_its_own_cells(tiny_raw: Raw) -> None:
    before = digests(parse(tiny_raw))
    tiny_raw["attacks"][0]["iterations"] = 6
    tiny_raw["defenses"][1]["parameters"]["sigma"] = 0.02
    after = digests(parse(tiny_raw))
    for (stage, key), value in before.items():
        touched = (
            "gaussian" in key
            or stage == "score"
            or (stage, key.split("/")[-1]) == ("attack", "inverting_gradients")
        )
        assert (after[stage, key] != value) == touched, (stage, key)


@pytest.mark.parametrize(
    ("kind", "name", "stages"),
    [
        ("defenses", "gaussian", AFTER_FEDERATE),
        ("attacks", "inverting_gradients", {"attack", "score"}),
        ("datasets", "digits", ALL),
        ("priors", "autoencoder", {"prior", "attack", "score"}),
        ("figures", "gallery", set()),
    ],
)
def test_a_new_version_of_a_method_reruns_its_cells(
    kind: str, name: str, stages: set[str], tiny_raw: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dataclasses

    before = digests(parse(tiny_raw))
    known = dict(catalogue.entries(kind))
    known[name] = dataclasses.replace(known[name], version=99)
    read = catalogue.entries
    monkeypatch.setattr(catalogue, "entries", lambda of: known if of == kind else read(of))
    cells._digest.cache_clear()
    try:
        after = digests(parse(tiny_raw))
    finally:
        cells._digest.cache_clear()
    assert {stage for stage, key in before if before[stage, key] != after[stage, key]} == stages


def test_digests_follow_a_study_that_is_changed_in_place(tiny: Study) -> None:
    # A study is frozen, its lists are not: a cache by identity would give the old answer.
    cell = parse_key("attack", f"{KEY}/labels_inferred/inverting_gradients", tiny)
    before = digest(cell, tiny)
    tiny.attacks[0].parameters["learning_rate"] = 9.0
    assert digest(cell, tiny) != before


def test_digests_do_not_depend_on_the_process(tiny: Study) -> None:
    cell = parse_key("fetch", "digits", tiny)
    assert digest(cell, tiny) == digest(cell, Study.model_validate_json(tiny.model_dump_json()))
    assert len(digest(cell, tiny)) == 16


def test_only_cuts_cells_and_all_that_they_alone_need(tiny_raw: Raw) -> None:
    tiny_raw["attacks"][1]["only"] = {"defense": "none"}
    tiny_raw["defenses"][0] = {"name": "none", "only": {"training_stage": "untrained"}}
    study = parse(tiny_raw)
    keys = {cell.key for cell in cells.cells(study)["attack"]}
    assert len(keys) == 4
    assert not any("gaussian" in key and "gi_pip" in key for key in keys)
    assert not any("none/late" in key for key in keys)
    assert len(cells.cells(study)["observe"]) == 3
    assert len(cells.cells(study)["federate"]) == 2


def test_a_counter_meets_its_own_defense_alone_and_where_it_is_disclosed(tiny_raw: Raw) -> None:
    tiny_raw["defenses"].append({"name": "gaussian", "id": "more", "parameters": {"sigma": 1}})
    tiny_raw["threat_models"].append({"id": "informed", "disclosure": True})
    tiny_raw["attacks"][0]["counter"] = "gaussian.likelihood"
    study = parse(tiny_raw)
    found = cells.cells(study)
    met = {(cell.defense, cell.threat_model, cell.attack) for cell in found["attack"]}
    informed = "inverting_gradients-gaussian.likelihood"
    assert met == {("gaussian", "informed", informed), ("more", "informed", informed)} | {
        (defense, "labels_inferred", "gi_pip") for defense in ("none", "gaussian", "more")
    }
    # A defense without a counter is still observed, attacked by others, and scored.
    assert len(found["score"]) == 6


def test_a_new_version_of_a_counter_reruns_its_attacks(
    tiny_raw: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dataclasses

    tiny_raw["threat_models"].append({"id": "informed", "disclosure": True})
    tiny_raw["attacks"][0]["counter"] = "gaussian.likelihood"
    before = digests(parse(tiny_raw))
    known = dict(catalogue.entries("counters"))
    newer = dataclasses.replace(known["gaussian.likelihood"], version=99)
    known["gaussian.likelihood"] = newer
    read = catalogue.entries
    monkeypatch.setattr(catalogue, "entries", lambda of: known if of == "counters" else read(of))
    cells._digest.cache_clear()
    try:
        after = digests(parse(tiny_raw))
    finally:
        cells._digest.cache_clear()
    changed = {key for key in before if before[key] != after[key]}
    assert {stage for stage, _ in changed} == {"attack", "score"}
    assert all("gaussian" in key for _, key in changed)
    assert not any("gi_pip" in key for _, key in changed)


def test_a_defense_is_trained_only_where_it_applies(tiny_raw: Raw) -> None:
    tiny_raw["seeds"] = [0, 1]
    tiny_raw["defenses"][1]["only"] = {"seed": 1, "threat_model": "labels_inferred"}
    trained = [(cell.defense, cell.seed) for cell in cells.cells(parse(tiny_raw))["federate"]]
    assert trained == [("none", 0), ("none", 1), ("gaussian", 1)]


def test_a_defense_can_be_trained_and_not_attacked(tiny_raw: Raw) -> None:
    tiny_raw["seeds"] = [0, 1]
    tiny_raw["defenses"][1]["only"] = [{"stage": "federate"}, {"seed": 1}]
    found = cells.cells(parse(tiny_raw))
    defended = {
        stage: {cell.seed for cell in found[stage] if cell.defense == "gaussian"}
        for stage in ("federate", "observe", "attack", "score")
    }
    assert defended == {"federate": {0, 1}, "observe": {1}, "attack": {1}, "score": {1}}


def test_one_of_several_alternatives_must_hold(tiny_raw: Raw) -> None:
    tiny_raw["threat_models"][0]["only"] = [
        {"training_stage": "late", "defense": "none"},
        {"attack": "gi_pip", "defense": "none"},
    ]
    found = cells.cells(parse(tiny_raw))
    assert {(cell.training_stage, cell.attack, cell.defense) for cell in found["attack"]} == {
        ("late", "inverting_gradients", "none"),
        ("late", "gi_pip", "none"),
        ("untrained", "gi_pip", "none"),
    }
    # A threat model says nothing about training.
    assert [cell.defense for cell in found["federate"]] == ["none", "gaussian"]


def test_a_shadow_generator_is_trained_where_a_defense_reads_it(tiny_raw: Raw) -> None:
    tiny_raw["seeds"] = [0, 1]
    tiny_raw["defenses"].append({"name": "shadow", "only": {"seed": 1}})
    assert [cell.seed for cell in cells.cells(parse(tiny_raw))["shadow"]] == [1]


def test_attacks_on_follows_the_cuts(tiny_raw: Raw) -> None:
    tiny_raw["attacks"][1]["only"] = {"training_stage": "late"}
    study = parse(tiny_raw)
    cell = parse_key("score", KEY, study)
    assert [one.attack for one in cells.attacks_on(cell, study)] == ["inverting_gradients"]


def test_fifteen_thousand_cells_take_seconds(tiny_raw: Raw) -> None:
    tiny_raw["seeds"] = list(range(5))
    tiny_raw["defenses"] = [
        {"name": "gaussian", "sweep": {"sigma": [i / 1e3 for i in range(1, 51)]}}
    ]
    tiny_raw["training_stages"] = ["untrained", "early", "late"]
    tiny_raw["threat_models"] = [{"id": "a"}, {"id": "b"}]
    tiny_raw["attacks"] = [
        {"id": f"a{i}", "name": "inverting_gradients", "iterations": i + 1} for i in range(8)
    ]
    start = time.process_time()
    assert len(digests(parse(tiny_raw))) > 13_000
    assert time.process_time() - start < 10

"""Study files: what they say is read, completed and expanded."""

from __future__ import annotations

from pathlib import Path

import pytest
from raw_studies import Raw

from gradsiege import catalogue
from gradsiege.errors import StudyError
from gradsiege.study import Study, load, parse
from gradsiege.study.expansion import expand

QUICK = Path(__file__).parents[2] / "config" / "quick.yaml"


def test_quick_is_the_study_that_the_documents_describe() -> None:
    study = load(QUICK)
    assert study.study == "quick"
    # It may grow; what the README and the report promise stays in it.
    assert "photos" in {dataset.id for dataset in study.datasets}
    assert "convnet" in {model.id for model in study.models}
    assert {defense.name for defense in study.defenses} >= {"none", "gaussian", "tip"}
    assert {attack.name for attack in study.attacks} >= {"inverting_gradients", "gi_pip"}
    assert "untrained" in study.training_stages


def test_the_adaptive_study_meets_every_defense_with_someone_who_knows_it() -> None:
    from gradsiege.pipeline.cells import cells

    study = load(QUICK.with_name("adaptive.yaml"))
    counters: dict[str, set[str]] = {}
    for cell in cells(study)["attack"]:
        counter = study.one("attacks", cell.attack).counter or "none"
        counters.setdefault(cell.defense, set()).add(counter)
    for defense in study.defenses:
        assert {"none", "generic.learned_reliability"} <= counters[defense.id]
        written = {name for name in counters[defense.id] if name.startswith(f"{defense.name}.")}
        # A clipped gradient keeps its direction: what knows of it is the generic counter alone.
        assert bool(written) == (defense.name not in {"none", "clipping"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"restarts": 2}, "'restarts' would change nothing"),
        ({"counter": "gaussian.likelihood"}, "'counter' would change nothing"),
        ({"update_model": "gradient"}, "'update_model' would change nothing"),
    ],
)
def test_an_attack_that_matches_nothing_takes_nothing_about_matching(
    change: Raw, message: str, tiny_raw: Raw
) -> None:
    tiny_raw["threat_models"].append({"id": "informed", "disclosure": True})
    tiny_raw["priors"].append("auxiliary_images")
    learned = {"name": "learned_inversion", "iterations": 5, "prior": "auxiliary_images"}
    tiny_raw["attacks"].append(learned)
    parse(tiny_raw)
    learned |= change
    with pytest.raises(StudyError, match=message):
        parse(tiny_raw)


def test_a_learned_attack_needs_someone_who_knows_the_defense(tiny_raw: Raw) -> None:
    tiny_raw["priors"].append("auxiliary_images")
    tiny_raw["attacks"].append(
        {"name": "learned_inversion", "iterations": 5, "prior": "auxiliary_images"}
    )
    with pytest.raises(
        StudyError, match=r"learned_inversion needs a threat model with 'disclosure"
    ):
        parse(tiny_raw)


def test_every_default_is_filled_in(tiny: Study) -> None:
    assert tiny.one("attacks", "inverting_gradients").parameters["total_variation"] == 1e-6
    assert tiny.one("defenses", "none").arm == "faithful"
    assert tiny.protocols[0].images == tiny.protocols[0].batch_size == 1


def test_a_resolved_study_reads_back_the_same(tiny: Study) -> None:
    assert Study.model_validate_json(tiny.model_dump_json()) == tiny
    assert parse(tiny.model_dump(mode="json")) == tiny


def test_a_sweep_makes_one_defense_per_combination(tiny_raw: Raw) -> None:
    tiny_raw["defenses"] = [
        {"name": "gaussian", "sweep": {"sigma": [0.01, 1]}},
        {
            "name": "tip",
            "id": "mine",
            "parameters": {"clip": 3},
            "sweep": {"ratio": [0.1, 0.2], "rho": [0.5]},
        },
    ]
    study = parse(tiny_raw)
    assert [defense.id for defense in study.defenses] == [
        "gaussian-sigma0.01",
        "gaussian-sigma1",
        "mine-ratio0.1-rho0.5",
        "mine-ratio0.2-rho0.5",
    ]
    assert study.one("defenses", "gaussian-sigma1").parameters == {"sigma": 1.0}
    last = study.one("defenses", "mine-ratio0.2-rho0.5")
    assert (last.parameters["ratio"], last.parameters["clip"], last.sweep) == (0.2, 3.0, {})


def test_a_sweep_does_not_change_what_was_given(tiny_raw: Raw) -> None:
    tiny_raw["defenses"] = [{"name": "gaussian", "sweep": {"sigma": [1, 2]}}]
    assert parse(tiny_raw) == parse(tiny_raw)


def test_numbers_that_yaml_reads_as_text(tmp_path: Path, tiny_raw: Raw) -> None:
    # YAML 1.1 takes 1e-3 for text; a study means the number.
    tiny_raw["defenses"] = [{"name": "gaussian", "parameters": {"sigma": "1e-3"}}]
    assert parse(tiny_raw).defenses[0].parameters == {"sigma": 0.001}


def test_an_arm_gives_its_own_id(tiny_raw: Raw) -> None:
    released = {"name": "gi_pip", "arm": "as_released", "iterations": 5, "prior": "autoencoder"}
    tiny_raw["attacks"] += [released, {**released, "id": "mine"}]
    ids = [attack.id for attack in parse(tiny_raw).attacks]
    assert ids == ["inverting_gradients", "gi_pip", "gi_pip-as_released", "mine"]


def test_a_counter_gives_its_own_id(tiny_raw: Raw) -> None:
    tiny_raw["threat_models"].append({"id": "informed", "disclosure": True})
    counter = {"counter": "gaussian.likelihood", "iterations": 5}
    tiny_raw["attacks"] = [
        {"name": "inverting_gradients", **counter},
        {"name": "gi_pip", "arm": "as_released", "prior": "autoencoder", **counter},
        {"name": "inverting_gradients", "id": "mine", **counter},
    ]
    assert [attack.id for attack in parse(tiny_raw).attacks] == [
        "inverting_gradients-gaussian.likelihood",
        "gi_pip-as_released-gaussian.likelihood",
        "mine",
    ]


def test_a_counter_adds_to_what_its_attack_requires(tiny_raw: Raw) -> None:
    tiny_raw["threat_models"].append({"id": "informed", "disclosure": True})
    tiny_raw["attacks"][1]["counter"] = "gaussian.likelihood"
    plain, informed = parse(tiny_raw).attacks
    assert plain.requires == ("protocol",)
    required = catalogue.entries("attacks")["gi_pip"].requires
    assert required[0] == "protocol"
    assert informed.requires == (*required, "disclosure")


def test_a_study_never_changes(tiny: Study) -> None:
    with pytest.raises(ValueError, match="frozen"):
        tiny.victims = 3


def test_budgets_are_swept_as_parameters_are() -> None:
    """Planted: two budgets and two step sizes make four attacks, none of which remembers the sweep."""
    given = {
        "name": "idlg",
        "counter": None,
        "sweep": {"iterations": [3, 5], "learning_rate": [0.5, 1.0]},
    }
    attacks = expand({"attacks": [given]})[0]["attacks"]
    assert [(attack["id"], attack["iterations"], attack["parameters"]) for attack in attacks] == [
        ("idlg-iterations3-learning_rate0.5", 3, {"learning_rate": 0.5}),
        ("idlg-iterations3-learning_rate1.0", 3, {"learning_rate": 1.0}),
        ("idlg-iterations5-learning_rate0.5", 5, {"learning_rate": 0.5}),
        ("idlg-iterations5-learning_rate1.0", 5, {"learning_rate": 1.0}),
    ]
    assert not any("sweep" in attack for attack in attacks)

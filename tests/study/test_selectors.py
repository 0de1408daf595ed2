"""Where an item applies: `only` names ids or methods, and is not part of what the item does."""

from __future__ import annotations

from typing import Any

import pytest
from raw_studies import Raw, attack, swept

from gradsiege.errors import StudyError
from gradsiege.pipeline.cells import attack_cells, cells, settings
from gradsiege.study import Study, parse


def met(study: Study, name: str) -> list[str]:
    """Defenses that an attack meets, in the order of the study."""
    return list(dict.fromkeys(cell.defense for cell in attack_cells(study) if cell.attack == name))


@pytest.mark.parametrize(
    ("selector", "ids"),
    [
        ("none", ["none"]),
        ("tip", ["tip-ratio0.1", "tip-ratio0.6", "curve-epsilon0.5", "curve-epsilon5.0"]),
        ("tip-ratio0.6", ["tip-ratio0.6"]),
        ("curve", ["curve-epsilon0.5", "curve-epsilon5.0"]),
        # An id wins over a name that several items share.
        ("censor", ["censor"]),
        ("censor-as_released", ["censor-as_released"]),
        ("gaussian", ["loud"]),
        (["loud", "none", "loud"], ["none", "loud"]),
    ],
)
def test_a_selector_is_an_id_else_an_item_as_written_else_a_method(
    selector: Any, ids: list[str], tiny_raw: Raw
) -> None:
    raw = swept(tiny_raw)
    raw["attacks"][0]["only"] = {"defense": selector}
    assert met(parse(raw), "inverting_gradients") == ids


def test_a_swept_attack_is_selected_by_its_name_and_by_its_id(tiny_raw: Raw) -> None:
    sweep = {"name": "inverting_gradients", "sweep": {"iterations": [2, 3]}}
    tiny_raw["attacks"] = [sweep, {**sweep, "id": "mine"}]
    tiny_raw["threat_models"] = [
        {"id": "all", "only": {"attack": "inverting_gradients"}},
        {"id": "few", "only": {"attack": "mine"}},
    ]
    meetings = {(cell.threat_model, cell.attack) for cell in attack_cells(parse(tiny_raw))}
    mine = {"mine-iterations2", "mine-iterations3"}
    every = mine | {"inverting_gradients-iterations2", "inverting_gradients-iterations3"}
    assert meetings == {("all", identifier) for identifier in every} | {
        ("few", identifier) for identifier in mine
    }


def test_a_protocol_is_selected_by_its_kind(tiny_raw: Raw) -> None:
    steps = {"name": "fedavg", "images": 2, "epochs": 1}
    tiny_raw["protocols"] += [{**steps, "id": "two"}, {**steps, "id": "four", "epochs": 2}]
    attack(tiny_raw, only={"protocol": "fedavg"})
    assert {cell.protocol for cell in attack_cells(parse(tiny_raw))} == {"two", "four"}


def test_a_selector_of_two_meanings_is_refused(tiny_raw: Raw) -> None:
    tiny_raw["defenses"] = [
        {"name": "gaussian", "id": "laplace", "sweep": {"sigma": [0.1, 1.0]}},
        {"name": "laplace", "sweep": {"scale": [0.1, 1.0]}},
    ]
    tiny_raw["attacks"][0]["only"] = {"defense": "laplace"}
    with pytest.raises(StudyError) as caught:
        parse(tiny_raw, "my.yaml")
    assert str(caught.value) == (
        "my.yaml: attacks.inverting_gradients.only.defense: 'laplace' is the id of one item and the method of another, "
        "'laplace-scale0.1'; give the first another id, or name the expanded ids"
    )


def test_places_are_no_settings(tiny_raw: Raw) -> None:
    tiny_raw["threat_models"].append({"id": "informed", "disclosure": True})
    attack(tiny_raw, counters=["none", "gaussian.likelihood"])
    for section in ("datasets", "defenses", "threat_models", "attacks"):
        tiny_raw[section][-1]["only"] = {"seed": 0}
    tiny_raw["models"][0]["only"] = {"seed": 0}
    tiny_raw["protocols"] = [{"name": "fedsgd", "only": {"seed": 0}}]
    study = parse(tiny_raw)
    for of_stage in cells(study).values():
        for cell in of_stage:
            chosen = settings(cell, study)
            assert not [
                key
                for key in chosen.values()
                if isinstance(key, dict) and {"only", "counters"} & set(key)
            ]
    assert "only" not in study.protocols[0].training
    assert "only" not in study.threat_models[0].grants
    assert Study.model_validate_json(study.model_dump_json()) == study
    assert parse(study.model_dump(mode="json")) == study

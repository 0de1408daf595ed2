"""Studies that contradict themselves are refused, with the place and the remedy."""

from __future__ import annotations

import pytest
from raw_studies import Raw, message

from gradsiege.errors import StudyError
from gradsiege.study import parse

SHADOWED: Raw = {
    "defenses": ["none", "shadow"],
    "threat_models": [{"id": "informed", "disclosure": True}],
    "priors": ["shadow_generator"],
}
REFUSED: dict[str, tuple[Raw, str]] = {
    "exclude": (
        {"exclude": []},
        "exclude: a study has no such key any more; say at an item where it applies, as in",
    ),
    "include": ({"include": [{"model": "lenet"}]}, "include: a study has no such key any more"),
    "unknown field": (
        {"only": {"modle": "lenet"}},
        "unknown key 'attacks.inverting_gradients.only.modle'; did you mean 'model'?",
    ),
    "unknown id": (
        {"only": {"defense": ["none", "gausian"]}},
        "attacks.inverting_gradients.only: defense 'gausian' is not in the study; did you mean 'gaussian'?",
    ),
    "unknown method": (
        {"only": {"defense": "curv"}, "defenses": ["none", {"name": "tip", "id": "curve-one"}]},
        "attacks.inverting_gradients.only: defense 'curv' is not in the study; did you mean 'curve-one'?",
    ),
    "unknown seed": ({"only": {"seed": 7}}, "only: seed 7 is not in the study; known: 0"),
    "a seed as text": (
        {"only": {"seed": "0"}},
        "only: seed '0' is not in the study; write it as a number",
    ),
    "an alternative": (
        {"only": [{"defense": "none"}, {"seed": 7}]},
        "only: seed 7 is not in the study",
    ),
    "nothing named": (
        {"only": {}},
        "attacks.inverting_gradients.only must be a mapping from fields of a cell to ids",
    ),
    "no value": (
        {"only": {"defense": None}},
        "attacks.inverting_gradients.only.defense must be a list",
    ),
    "empty list": ({"only": {"defense": []}}, "only.defense must have at least one item"),
    "a word": ({"only": "none"}, "attacks.inverting_gradients.only must be a mapping"),
    "its own list": (
        {"only": {"attack": "inverting_gradients"}},
        "attacks.inverting_gradients.only: 'attack' is the list that 'inverting_gradients' itself stands in",
    ),
    "stage": (
        {"only": {"stage": "fetch"}},
        "only: stage 'fetch' can not be asked for here; known: federate",
    ),
    "a prior's": (
        {"priors": [{"name": "autoencoder", "only": {"dataset": "digits"}}]},
        "unknown key 'priors.autoencoder.only'; a prior is trained where an attack reads it, so say it at the attack",
    ),
    "nowhere": (
        {
            "only": {"training_stage": "late"},
            "threat_models": [{"id": "early_on", "only": {"training_stage": "untrained"}}],
        },
        "attacks.inverting_gradients: its 'only' leaves no cell of it",
    ),
    "two that contradict each other": (
        {
            "only": {"defense": "none"},
            "defenses": ["gaussian", {"name": "none", "only": {"attack": "gi_pip"}}],
        },
        "attacks.inverting_gradients: its 'only' leaves no cell of it (defenses.none is not for it); "
        "widen it, or leave the item out",
    ),
    "a counter and another defense": (
        {
            "only": {"defense": "none"},
            "counter": "gaussian.likelihood",
            "threat_models": [{"id": "blind"}, {"id": "informed", "disclosure": True}],
        },
        "attacks.inverting_gradients-gaussian.likelihood: its 'only' leaves no cell of it (gaussian.likelihood answers "
        "gaussian alone",
    ),
    "a counter and someone blind": (
        {
            "only": {"threat_model": "blind"},
            "counter": "gaussian.likelihood",
            "threat_models": [{"id": "blind"}, {"id": "informed", "disclosure": True}],
        },
        "needs the disclosure that blind does not grant",
    ),
    "a disclosure that nobody uses": (
        {"threat_models": [{"id": "blind"}, {"id": "informed", "disclosure": True}]},
        "threat_models.informed: no cell of the study has it (inverting_gradients uses no disclosure and meets informed "
        "only if its 'only' names it",
    ),
    "a model that every defense leaves out": (
        {
            "models": ["lenet", "convnet"],
            "defenses": [{"name": "none", "only": {"model": "lenet"}}],
        },
        "models.convnet: no cell of the study has it (defenses.none is not for it)",
    ),
    "a data set for priors without one": (
        {"datasets_only": {"stage": "prior"}},
        "datasets.digits: it is there for priors alone, and none is trained on it",
    ),
    "a number instead of keys": (
        {"federation": 5, "tuning": 5},
        "federation must be a mapping of keys, not 5; tuning must be a mapping of keys, not 5",
    ),
    "counter beside counters": (
        {"counter": "gaussian.likelihood", "counters": ["none"]},
        "attacks.inverting_gradients-gaussian.likelihood: 'counter' stands beside 'counters'; put all of them into 'counters'",
    ),
    "counters of no defense": (
        {"counters": ["none", "gausian"]},
        "attacks.inverting_gradients: counters: 'gausian' is not a defense with counters; did you mean 'gaussian'?",
    ),
    "unknown counter": (
        {"counters": ["gaussian.likelyhood"]},
        "unknown name 'gaussian.likelyhood' in counters; did you mean 'gaussian.likelihood'?",
    ),
    "counters of a defense that the study lacks": (
        {"counters": ["none", "tip"]},
        "tip.drop_flagged_channels answers the defense 'tip', which the study does not have (none, gaussian); "
        "add it to defenses, or leave the counter out",
    ),
    "counters of a defense": (
        {"defenses": ["none", {"name": "gaussian", "counters": ["none"]}]},
        "unknown key 'defenses.gaussian.counters'",
    ),
    "a counter twice": (
        {"counters": ["none", "none"]},
        "attacks: 'inverting_gradients' stands twice",
    ),
    "counters that are not texts": (
        {"counters": [1]},
        "attacks.inverting_gradients: counters must be 'none', a counter, a defense, or a list of these, not [1]",
    ),
    "counters of nothing": (
        {"counters": None},
        "attacks.inverting_gradients: counters must be 'none', a counter, a defense, or a list of these, not None",
    ),
    "a counter whose attack lacks the term that it needs": (
        {
            **SHADOWED,
            "attacks": [
                {
                    "name": "dlg",
                    "iterations": 3,
                    "counter": "shadow.denoise",
                    "prior": "shadow_generator",
                }
            ],
        },
        "attacks.dlg-shadow.denoise: shadow.denoise needs the total variation of its attack; give dlg that parameter with a weight, or "
        "choose an attack that has it",
    ),
    "a counter whose attack gives the term no weight": (
        {
            **SHADOWED,
            "attacks": [
                {
                    "name": "inverting_gradients",
                    "iterations": 3,
                    "counter": "shadow.denoise",
                    "prior": "shadow_generator",
                    "parameters": {"total_variation": 0.0},
                }
            ],
        },
        "shadow.denoise needs the total variation of its attack",
    ),
    "a parameter and its sweep": (
        {
            "defenses": [
                {"name": "gaussian", "parameters": {"sigma": 1.0}, "sweep": {"sigma": [0.1]}}
            ]
        },
        "defenses.gaussian: 'sigma' is set in its sweep and beside it; leave one out",
    ),
    "a budget and its sweep": (
        {"attacks": [{"name": "dlg", "iterations": 3, "sweep": {"iterations": [1, 2]}}]},
        "attacks.dlg: 'iterations' is set in its sweep and beside it; leave one out",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_contradicts_itself_is_refused(case: str, tiny_raw: Raw) -> None:
    changes, message = REFUSED[case]
    changes = dict(changes)
    if "datasets_only" in changes:
        tiny_raw["datasets"][0]["only"] = changes.pop("datasets_only")
    for key in ("only", "counter", "counters"):
        if key in changes:
            tiny_raw["attacks"][0][key] = changes.pop(key)
    with pytest.raises(StudyError) as caught:
        parse(tiny_raw | changes, "my.yaml")
    assert str(caught.value).startswith("my.yaml: ")
    assert message in str(caught.value)


@pytest.mark.parametrize("section", ["datasets", "attacks"])
def test_a_mistyped_bare_name_is_said_and_not_what_follows_from_it(
    section: str, tiny_raw: Raw
) -> None:
    told = message({**tiny_raw, section: ["gifdd"]})
    assert f"unknown name 'gifdd' in {section}" in told
    assert "is missing" not in told


def test_a_key_that_is_missing_is_named(tiny_raw: Raw) -> None:
    assert message({"study": "a", "models": tiny_raw["models"]}).startswith(
        "study: datasets is missing; write it"
    )


def test_an_error_of_an_attack_with_counters_is_said_once(tiny_raw: Raw) -> None:
    attack = {"name": "dlg", "iterations": 0, "counters": ["none", "gaussian", "tip"]}
    told = message({**tiny_raw, "attacks": [attack]})
    assert told.count("iterations must be a whole number") == 1
    assert told.startswith("study: attacks.dlg.iterations")

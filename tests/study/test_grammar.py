"""The grammar of a study file: where an item applies (`only`), one attack per counter (`counters`), and what is refused."""

from __future__ import annotations

import copy
import itertools
import random
from pathlib import Path
from typing import Any

import pytest

from gradsiege import catalogue
from gradsiege.errors import StudyError
from gradsiege.pipeline.cells import attack_cells, cells, settings
from gradsiege.study import Study, parse

Raw = dict[str, Any]
TRAINED = ("dataset", "model", "defense", "seed")
ORDER = (
    "dataset",
    "model",
    "defense",
    "training_stage",
    "protocol",
    "seed",
    "threat_model",
    "attack",
)


def attack(raw: Raw, **keys: Any) -> Raw:
    """The study with Inverting Gradients alone, with these keys."""
    raw["attacks"] = [{"name": "inverting_gradients", "iterations": 5, **keys}]
    return raw


def swept(raw: Raw) -> Raw:
    """The study with defenses of every spelling, and someone who knows them."""
    raw["defenses"] = [
        "none",
        {"name": "tip", "sweep": {"ratio": [0.1, 0.6]}},
        {"name": "tip", "id": "curve", "sweep": {"epsilon": [0.5, 5.0]}},
        "censor",
        {"name": "censor", "arm": "as_released"},
        {"name": "gaussian", "id": "loud", "parameters": {"sigma": 1.0}},
    ]
    raw["threat_models"].append({"id": "informed", "disclosure": True})
    # Everything is met by someone, whatever the attacks of a test meet.
    raw["attacks"].append(
        {"name": "idlg", "iterations": 5, "only": {"threat_model": ["labels_inferred", "informed"]}}
    )
    return raw


def met(study: Study, name: str) -> list[str]:
    """Defenses that an attack meets, in the order of the study."""
    return list(dict.fromkeys(cell.defense for cell in attack_cells(study) if cell.attack == name))


# ---- selectors ----


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
    found = {(cell.threat_model, cell.attack) for cell in attack_cells(parse(tiny_raw))}
    mine = {"mine-iterations2", "mine-iterations3"}
    every = mine | {"inverting_gradients-iterations2", "inverting_gradients-iterations3"}
    assert found == {("all", one) for one in every} | {("few", one) for one in mine}


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


# ---- counters ----


def test_counters_make_one_attack_each(tiny_raw: Raw) -> None:
    raw = swept(tiny_raw)
    attack(raw, counters=["none", "tip", "censor.norms_and_orthogonality"])
    tip = [name for name in catalogue.entries("counters") if name.startswith("tip.")]
    found = parse(raw).attacks
    assert [one.counter for one in found] == [None, *tip, "censor.norms_and_orthogonality"]
    assert [one.id for one in found] == [
        "inverting_gradients",
        *(f"inverting_gradients-{name}" for name in tip),
        "inverting_gradients-censor.norms_and_orthogonality",
    ]


@pytest.mark.parametrize(
    ("keys", "ids"),
    [
        ({"id": "mine", "counters": ["none", "sign"]}, ["mine", "mine-sign.sign_consistent"]),
        ({"counters": "sign"}, ["inverting_gradients-sign.sign_consistent"]),
        (
            {"counters": ["none", "sign"], "sweep": {"restarts": [1, 2]}},
            [
                "inverting_gradients-restarts1",
                "inverting_gradients-restarts2",
                "inverting_gradients-sign.sign_consistent-restarts1",
                "inverting_gradients-sign.sign_consistent-restarts2",
            ],
        ),
    ],
)
def test_ids_of_counters(keys: Raw, ids: list[str], tiny_raw: Raw) -> None:
    tiny_raw["defenses"] = ["none", "sign"]
    tiny_raw["threat_models"].append({"id": "informed", "disclosure": True})
    assert [one.id for one in parse(attack(tiny_raw, **keys)).attacks] == ids


def test_counters_are_short_for_attacks_with_one_counter_each(tiny_raw: Raw) -> None:
    tiny_raw["defenses"] = ["none", "sign"]
    tiny_raw["threat_models"].append({"id": "informed", "disclosure": True})
    short = parse(attack(tiny_raw, counters=["none", "sign"]))
    plain = {"name": "inverting_gradients", "iterations": 5}
    tiny_raw["attacks"] = [plain, {**plain, "counter": "sign.sign_consistent"}]
    assert parse(tiny_raw) == short


# ---- the default about disclosures ----


def threats(raw: Raw, **keys: Any) -> set[str]:
    """Threat models that one attack meets, of a blind one and one that discloses."""
    raw["priors"].append("staged_gan")
    raw["priors"].append("auxiliary_images")
    raw["threat_models"].append({"id": "informed", "disclosure": True})
    own = {"name": "inverting_gradients", "iterations": 5, **keys, "id": "own"}
    raw["attacks"] = [
        own,
        {
            "name": "idlg",
            "iterations": 5,
            "only": {"threat_model": ["labels_inferred", "informed"]},
        },
    ]
    return {cell.threat_model for cell in attack_cells(parse(raw)) if cell.attack == "own"}


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, {"labels_inferred"}),
        ({"only": {"threat_model": "informed"}}, {"informed"}),
        (
            {"only": {"threat_model": ["labels_inferred", "informed"]}},
            {"labels_inferred", "informed"},
        ),
        (
            {"only": [{"defense": "none"}, {"threat_model": "informed"}]},
            {"labels_inferred", "informed"},
        ),
        ({"only": {"defense": "none"}}, {"labels_inferred"}),
        ({"counter": "gaussian.likelihood"}, {"informed"}),
        # It takes the kind of the defense from a disclosure, and does without.
        ({"name": "gifd", "prior": "staged_gan"}, {"labels_inferred", "informed"}),
        ({"name": "learned_inversion", "prior": "auxiliary_images"}, {"informed"}),
    ],
)
def test_what_uses_no_disclosure_meets_none_unless_its_only_names_it(
    keys: Raw, expected: set[str], tiny_raw: Raw
) -> None:
    assert threats(tiny_raw, **keys) == expected


def test_what_looks_at_the_disclosure_says_so() -> None:
    """A recipe that reads the disclosure requires it or uses it, and no other does."""
    for name, entry in catalogue.entries("attacks").items():
        module = Path(catalogue.__file__).parent / "attacks" / "recipes" / f"{name}.py"
        reads = ".disclosure" in module.read_text() or "simulate" in module.read_text()
        assert reads == ("disclosure" in (*entry.requires, *entry.uses)), name


# ---- `only` is not part of what an item does ----


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


# ---- what is refused, with place and remedy ----

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
    "empty list": ({"only": {"defense": []}}, "only.defense must have at least 1 item"),
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


# ---- random studies against the product, written out ----


def random_study(seed: int, raw: Raw) -> Raw:
    """A study of small lists whose items carry random `only`, some of them alternatives."""
    draw = random.Random(seed)
    raw |= {
        "seeds": [0, 1],
        "training_stages": ["untrained", "late"],
        "models": [{"name": "lenet"}, {"name": "convnet"}],
        "defenses": [
            {"name": "none"},
            {"name": "gaussian", "sweep": {"sigma": [0.1, 1.0]}},
            {"name": "sign"},
        ],
        "protocols": [{"name": "fedsgd"}, {"name": "fedavg"}],
        "threat_models": [{"id": "blind"}, {"id": "informed", "disclosure": True}],
        "attacks": [
            {"name": "dlg", "iterations": 1},
            {"name": "idlg", "iterations": 1, "counters": ["none", "gaussian", "sign"]},
            {"name": "inverting_gradients", "iterations": 1, "sweep": {"restarts": [1, 2]}},
        ],
    }
    words = {
        "model": ["lenet", "convnet"],
        "defense": ["none", "gaussian", "gaussian-sigma0.1", "sign"],
        "training_stage": ["untrained", "late"],
        "protocol": ["fedsgd", "fedavg"],
        "seed": [0, 1],
        "threat_model": ["blind", "informed"],
        "attack": ["dlg", "idlg", "idlg-sign.sign_consistent", "inverting_gradients"],
    }
    for section, field in (
        ("models", "model"),
        ("defenses", "defense"),
        ("protocols", "protocol"),
        ("threat_models", "threat_model"),
        ("attacks", "attack"),
    ):
        for item in raw[section]:
            if draw.random() < 0.4:
                item["only"] = [
                    rule(draw, {key: of for key, of in words.items() if key != field})
                    for _ in range(draw.choice([1, 1, 2]))
                ]
    return raw


def rule(draw: random.Random, words: dict[str, list[Any]]) -> Raw:
    """A mapping of one or two fields to one selector or several."""
    fields = draw.sample(sorted(words), draw.choice([1, 2]))
    return {
        field: draw.sample(words[field], draw.randint(1, len(words[field])))
        if draw.random() < 0.7
        else draw.choice(words[field])
        for field in fields
    }


Value = tuple[Any, set[Any], Any]


def listed(raw: Raw) -> dict[str, list[Value]]:
    """Every value of every list with its id, the words that select it, and its `only`."""
    none, gaussian, sign = (one.get("only") for one in raw["defenses"])
    dlg, idlg, inverting = (one.get("only") for one in raw["attacks"])
    answers = ["gaussian.likelihood", "gaussian.estimated_likelihood", "sign.sign_consistent"]
    return {
        "dataset": [("digits", {"digits"}, None)],
        "model": [(one["name"], {one["name"]}, one.get("only")) for one in raw["models"]],
        "defense": [
            ("none", {"none"}, none),
            *(
                (f"gaussian-sigma{s}", {"gaussian", f"gaussian-sigma{s}"}, gaussian)
                for s in (0.1, 1.0)
            ),
            ("sign", {"sign"}, sign),
        ],
        "training_stage": [(one, {one}, None) for one in raw["training_stages"]],
        "protocol": [(one["name"], {one["name"]}, one.get("only")) for one in raw["protocols"]],
        "seed": [(one, {one}, None) for one in raw["seeds"]],
        "threat_model": [(one["id"], {one["id"]}, one.get("only")) for one in raw["threat_models"]],
        "attack": [
            ("dlg", {"dlg"}, dlg),
            # The plain attack bears the name as its id, which wins over the method.
            ("idlg", {"idlg"}, idlg),
            *((f"idlg-{answer}", {f"idlg-{answer}"}, idlg) for answer in answers),
            *(
                (f"inverting_gradients-restarts{n}", {"inverting_gradients"}, inverting)
                for n in (1, 2)
            ),
        ],
    }


def reference(raw: Raw, fields: tuple[str, ...]) -> set[tuple[Any, ...]]:
    """Cells with these fields by the words of config/README.md, from plain data: the whole product, then the cuts."""
    items, found = listed(raw), set()
    for chosen in itertools.product(*(items[field] for field in fields)):
        cell = dict(zip(fields, chosen, strict=True))
        if all(holds(only, cell) for _, _, only in chosen) and (
            "attack" not in cell or reasonable(cell)
        ):
            found.add(tuple(identifier for identifier, _, _ in chosen))
    return found


def lost(raw: Raw) -> bool:
    """Whether an item that must be somewhere is nowhere."""
    cells = {fields: reference(raw, fields) for fields in (ORDER, TRAINED)}
    for field, values in listed(raw).items():
        for fields in cells if field in TRAINED else [ORDER]:
            seen = {cell[fields.index(field)] for cell in cells[fields]}
            for identifier, _, only in values:
                asked = only is not None or identifier == "informed"
                expected = field == "attack" or (asked and field in ("protocol", "threat_model"))
                if identifier not in seen and (fields == TRAINED or expected):
                    return True
    return False


def holds(only: Any, cell: dict[str, Value]) -> bool:
    """Whether one of the alternatives holds in a cell, in the fields that it has."""
    return only is None or any(
        all(
            any(word in cell[field][1] for word in (words if isinstance(words, list) else [words]))
            for field, words in one.items()
            if field in cell
        )
        for one in only
    )


def reasonable(cell: dict[str, Value]) -> bool:
    """A counter meets its own defense where it is disclosed; what has none meets no disclosure that its `only` does not name."""
    attack, _, only = cell["attack"]
    informed = cell["threat_model"][0] == "informed"
    _, _, counter = attack.partition("-")
    if "." in counter:
        return informed and counter.partition(".")[0] in cell["defense"][1]
    named = any("informed" in one.get("threat_model", []) for one in only or [])
    return not informed or named


@pytest.mark.parametrize("block", range(4))
def test_random_studies_hold_the_product_that_their_words_say(block: int, tiny_raw: Raw) -> None:
    kept = refused = 0
    for seed in range(20 * block, 20 * (block + 1)):
        raw = random_study(seed, copy.deepcopy(tiny_raw))
        if lost(raw):
            with pytest.raises(StudyError, match="no cell of"):
                parse(raw)
            refused += 1
            continue
        study = parse(raw)
        attacked = [tuple(getattr(cell, field) for field in ORDER) for cell in attack_cells(study)]
        assert len(attacked) == len(set(attacked))
        assert set(attacked) == reference(raw, ORDER), seed
        trained = {
            tuple(getattr(cell, field) for field in TRAINED) for cell in cells(study)["federate"]
        }
        assert trained == reference(raw, TRAINED), seed
        kept += 1
    assert kept
    assert refused


def message(raw: Raw) -> str:
    with pytest.raises(StudyError) as caught:
        parse(raw)
    return str(caught.value)


@pytest.mark.parametrize("section", ["datasets", "attacks"])
def test_a_mistyped_bare_name_is_said_and_not_what_follows_from_it(
    section: str, tiny_raw: Raw
) -> None:
    told = message({**tiny_raw, section: ["gifdd"]})
    assert f"unknown name 'gifdd' in {section}" in told
    assert "Field required" not in told


def test_an_error_of_an_attack_with_counters_is_said_once(tiny_raw: Raw) -> None:
    attack = {"name": "dlg", "iterations": 0, "counters": ["none", "gaussian", "tip"]}
    told = message({**tiny_raw, "attacks": [attack]})
    assert told.count("iterations must be a whole number") == 1
    assert told.startswith("study: attacks.dlg.iterations")

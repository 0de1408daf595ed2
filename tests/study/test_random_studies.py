"""Random studies against the whole product of their lists, cut by an independent reading of the grammar."""

from __future__ import annotations

import copy
import itertools
import random
from typing import Any

import pytest
from raw_studies import Raw

from gradsiege.errors import StudyError
from gradsiege.pipeline.cells import attack_cells, cells
from gradsiege.study import parse

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
    none, gaussian, sign = (item.get("only") for item in raw["defenses"])
    dlg, idlg, inverting = (item.get("only") for item in raw["attacks"])
    answers = ["gaussian.likelihood", "gaussian.estimated_likelihood", "sign.sign_consistent"]
    return {
        "dataset": [("digits", {"digits"}, None)],
        "model": [(item["name"], {item["name"]}, item.get("only")) for item in raw["models"]],
        "defense": [
            ("none", {"none"}, none),
            *(
                (f"gaussian-sigma{s}", {"gaussian", f"gaussian-sigma{s}"}, gaussian)
                for s in (0.1, 1.0)
            ),
            ("sign", {"sign"}, sign),
        ],
        "training_stage": [(item, {item}, None) for item in raw["training_stages"]],
        "protocol": [(item["name"], {item["name"]}, item.get("only")) for item in raw["protocols"]],
        "seed": [(item, {item}, None) for item in raw["seeds"]],
        "threat_model": [
            (item["id"], {item["id"]}, item.get("only")) for item in raw["threat_models"]
        ],
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
    items, remaining = listed(raw), set()
    for chosen in itertools.product(*(items[field] for field in fields)):
        cell = dict(zip(fields, chosen, strict=True))
        if all(holds(only, cell) for _, _, only in chosen) and (
            "attack" not in cell or reasonable(cell)
        ):
            remaining.add(tuple(identifier for identifier, _, _ in chosen))
    return remaining


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
            for field, words in alternative.items()
            if field in cell
        )
        for alternative in only
    )


def reasonable(cell: dict[str, Value]) -> bool:
    """A counter meets its own defense where it is disclosed; what has none meets no disclosure that its `only` does not name."""
    attack, _, only = cell["attack"]
    informed = cell["threat_model"][0] == "informed"
    _, _, counter = attack.partition("-")
    if "." in counter:
        return informed and counter.partition(".")[0] in cell["defense"][1]
    named = any("informed" in alternative.get("threat_model", []) for alternative in only or [])
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

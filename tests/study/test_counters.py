"""One attack per counter (`counters`), and which attacks meet a threat model that discloses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from raw_studies import Raw, attack, swept

from gradsiege import catalogue
from gradsiege.pipeline.cells import attack_cells
from gradsiege.study import parse


def test_counters_make_one_attack_each(tiny_raw: Raw) -> None:
    raw = swept(tiny_raw)
    attack(raw, counters=["none", "tip", "censor.norms_and_orthogonality"])
    tip = [name for name in catalogue.entries("counters") if name.startswith("tip.")]
    attacks = parse(raw).attacks
    assert [item.counter for item in attacks] == [None, *tip, "censor.norms_and_orthogonality"]
    assert [item.id for item in attacks] == [
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
    assert [item.id for item in parse(attack(tiny_raw, **keys)).attacks] == ids


def test_counters_are_short_for_attacks_with_one_counter_each(tiny_raw: Raw) -> None:
    tiny_raw["defenses"] = ["none", "sign"]
    tiny_raw["threat_models"].append({"id": "informed", "disclosure": True})
    short = parse(attack(tiny_raw, counters=["none", "sign"]))
    plain = {"name": "inverting_gradients", "iterations": 5}
    tiny_raw["attacks"] = [plain, {**plain, "counter": "sign.sign_consistent"}]
    assert parse(tiny_raw) == short


def threats(raw: Raw, **keys: Any) -> set[str]:
    """Threat models that one attack meets, of a blind one and one that discloses."""
    raw["priors"].append("staged_gan")
    raw["priors"].append("auxiliary_images")
    raw["threat_models"].append({"id": "informed", "disclosure": True})
    tested = {"name": "inverting_gradients", "iterations": 5, **keys, "id": "own"}
    raw["attacks"] = [
        tested,
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
        text = module.read_text()
        # Attacks that choose among images hand `simulate` on to their counter, which says what it needs.
        learns = "simulate(" in text
        reads = ".disclosure" in text or learns
        assert reads == ("disclosure" in (*entry.requires, *entry.uses)), name

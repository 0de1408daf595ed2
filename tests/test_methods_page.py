"""The list of methods in docs/METHODS.md is the catalogue: a method that is not named there, or is gone, is found here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gradsiege import catalogue
from gradsiege.attacks.engine.engines import ENGINES

DOCS = Path(__file__).parents[1] / "docs"
ROWS = re.findall(
    r"^\| ([\w ]+).*? \| (.*) \|$", (DOCS / "METHODS.md").read_text(), flags=re.MULTILINE
)
DATASETS = ("data sets in the box", "fetched by ", "supplied by you ")


def named(*kinds: str) -> list[str]:
    """Names in the rows of these kinds."""
    return [name for kind, names in ROWS if kind in kinds for name in re.findall(r"`(\w+)`", names)]


@pytest.mark.parametrize("kind", ["models", "defenses", "priors", "attacks"])
def test_every_method_is_named_once(kind: str) -> None:
    assert sorted(named(kind)) == sorted(catalogue.entries(kind))


def test_every_data_set_is_named_once() -> None:
    assert sorted(named(*DATASETS)) == sorted(catalogue.entries("datasets"))


@pytest.mark.parametrize("kind", ["defenses", "attacks"])
def test_released_arms_are_said(kind: str) -> None:
    (row,) = (names for row_kind, names in ROWS if row_kind == kind)
    released = re.findall(r"`(\w+)`", row.partition("as released:")[2])
    entries = catalogue.entries(kind)
    assert set(released) == {name for name in entries if "as_released" in entries[name].arms}


def test_every_counter_answers_a_defense_or_any() -> None:
    answered = {name.partition(".")[0] for name in catalogue.entries("counters")}
    assert answered <= set(catalogue.entries("defenses")) - {"none"} | {"generic"}


def test_every_engine_is_named() -> None:
    text = (DOCS / "SPEED.md").read_text()
    sentence = text.partition("Six engines compute the same numbers: ")[2].partition("). ")[0]
    assert set(ENGINES) == set(re.findall(r"`(\w+)`", sentence))
    assert len(ENGINES) == 6

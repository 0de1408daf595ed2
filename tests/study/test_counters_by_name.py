"""Counters that a study names in full: the bare name of a defense goes on meaning what it meant before they came."""

from __future__ import annotations

from typing import Any

import pytest

from gradsiege import catalogue
from gradsiege.study import parse

Raw = dict[str, Any]
BY_NAME = [name for name, entry in catalogue.entries("counters").items() if entry.by_name]


def counters(raw: Raw, defense: str, words: list[str]) -> list[str | None]:
    """The counters that a study of one defense plans."""
    raw["defenses"] = ["none", defense]
    raw["threat_models"].append({"id": "informed", "disclosure": True})
    raw["attacks"] = [{"name": "inverting_gradients", "iterations": 5, "counters": words}]
    return [attack.counter for attack in parse(raw).attacks]


def test_they_are_known() -> None:
    assert "precode.exact" in BY_NAME
    assert "precode.drop_module" not in BY_NAME


@pytest.mark.parametrize("name", BY_NAME)
def test_only_the_full_name_means_them(name: str, tiny_raw: Raw) -> None:
    defense = name.partition(".")[0]
    others = [
        counter
        for counter in catalogue.entries("counters")
        if counter.startswith(f"{defense}.") and counter not in BY_NAME
    ]
    assert others
    assert counters(tiny_raw, defense, ["none", defense, name]) == [None, *others, name]

"""The names that a claim may use: those of the catalogue, and those of methods and data that this version lacks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gradsiege import catalogue
from gradsiege.analysis.claims.claim import KEYS, Claim, Selector, table_of
from gradsiege.documents import Section
from gradsiege.errors import StudyError, nearest
from gradsiege.study import (
    PLACES,
    PROTOCOLS,
    STAGES,
    Attack,
    Dataset,
    Defense,
    Federation,
    Model,
    Prior,
    Protocol,
    Threat,
)


def _settings(section: type[Section]) -> tuple[str, ...]:
    """Return the keys of a section that are settings of a cell, without the keys of the short notation."""
    return tuple(key for key in section.model_fields if key not in ("sweep", *PLACES))


SECTIONS: dict[str, tuple[str, type[Section]]] = {
    "dataset": ("datasets", Dataset),
    "model": ("models", Model),
    "defense": ("defenses", Defense),
    "attack": ("attacks", Attack),
    "prior": ("priors", Prior),
}
PLAIN: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "training_stage": (("name",), STAGES),
    "protocol": (_settings(Protocol), PROTOCOLS),
    "threat_model": (_settings(Threat), ()),
    "federation": (_settings(Federation), ()),
}


def names(section: str) -> list[str]:
    """Return every canonical name of a section.

    >>> names("priors")[:2]
    ['autoencoder', 'auxiliary_images']
    """
    return sorted(catalogue.entries(section))


def check_names(claim: Claim, place: str) -> None:
    """Refuse a selector that no study could match, naming claim, field and the nearest known name."""
    where = f"{place}: {claim.id}"
    for part, selector in _selectors(claim):
        whole = claim.cells.changed(selector)
        for field in selector.given():
            _check_item(field, getattr(whole, field), f"{where}: {part}.{field}")
    tables = {table_of(metric) for metric in claim.tolerance}
    if len(tables) > 1:
        raise StudyError(
            f"{where}: its metrics stand in different tables: {', '.join(claim.tolerance)}"
        )
    allowed = {*KEYS[tables.pop()], "prior", "federation"}
    for part, selector in _selectors(claim):
        idle = {*selector.given()} - allowed if part != "needs" else set()
        if idle:
            raise StudyError(
                f"{where}: {part}.{idle.pop()} selects nothing for {next(iter(claim.tolerance))}"
            )


def _selectors(claim: Claim) -> Iterator[tuple[str, Selector]]:
    yield "cells", claim.cells
    yield "needs", claim.needs
    for part in ("against", "arms"):
        for number, selector in enumerate(getattr(claim, part)):
            yield f"{part}.{number}", selector
    for number, point in enumerate(claim.points):
        yield f"points.{number}.at", point.at


def _check_item(field: str, item: dict[str, Any], place: str) -> None:
    if field in SECTIONS:
        section, model = SECTIONS[field]
        keys, known = list(_settings(model)), names(section)
    else:
        section, (given, values) = "", PLAIN[field]
        keys, known = list(given), list(values)
    for key in item:
        if key not in keys or key == "id":
            raise StudyError(f"{place}: unknown key {key!r}; {nearest(key, keys)}")
    called = item.get("name", [])
    called = called if isinstance(called, list) else [called]
    for name in called:
        if name not in known:
            raise StudyError(f"{place}: unknown name {name!r}; {nearest(str(name), known)}")
        entry = catalogue.entries(section).get(name) if section else None
        if entry is not None:
            _check_method(entry, item, place)


def _check_method(entry: catalogue.Entry, item: dict[str, Any], place: str) -> None:
    if item.get("arm", "faithful") not in entry.arms:
        raise StudyError(f"{place}: {entry.name} has no arm {item['arm']!r}")
    for key, wanted in item.get("parameters", {}).items():
        for value in wanted if isinstance(wanted, list) else [wanted]:
            taken = entry.validate({key: value}, place)[key]
            if taken != value:
                raise StudyError(
                    f"{place}: write {key} as {taken!r}, which is how a study stores it"
                )

"""The names in `only`: an id of the study, else the id of an item before its expansion, else a method with all its items."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gradsiege.errors import StudyError
from gradsiege.ranges import shown

# The list of a study that holds the values of a cell's field; the fields in the order of an attack's folder.
LISTS = {
    "dataset": "datasets",
    "model": "models",
    "defense": "defenses",
    "training_stage": "training_stages",
    "protocol": "protocols",
    "seed": "seeds",
    "threat_model": "threat_models",
    "attack": "attacks",
}
GONE = ("include", "exclude")


@dataclass(frozen=True)
class Spelled:
    """One value of a list: its id, the id that was written before sweeps and counters added to it, and its method."""

    id: Any
    written: Any
    name: Any


def refuse_old_keys(raw: dict[str, Any]) -> None:
    """Refuse the keys of older study files with the notation that replaces them."""
    for key in GONE:
        if key in raw:
            raise StudyError(
                f"{key}: a study has no such key any more; say at an item where it applies, as in "
                "'{name: gifd, ..., only: {model: convnet, defense: [none, tip]}}' (config/README.md, Where an item applies)"
            )


def spelled(items: Any) -> list[Spelled]:
    """Return the names of every value of a list that needs no expansion; malformed values are skipped.

    >>> spelled(["lenet", {"name": "convnet", "id": "wide"}, 7])[1:]
    [Spelled(id='wide', written='wide', name='convnet'), Spelled(id=7, written=7, name=7)]
    """
    values = []
    for item in items if isinstance(items, list) else []:
        if isinstance(item, dict):
            name = item.get("name", item.get("id"))
            values.append(Spelled(item.get("id") or name, item.get("id") or name, name))
        else:
            values.append(Spelled(item, item, item))
    return values


def select(selector: Any, known: Iterable[Spelled], place: str) -> list[Any]:
    """Return the ids that a selector means; an unknown selector is returned as it is, and the checks refuse it.

    >>> sweep = [Spelled("tip-ratio0.1", "tip", "tip"), Spelled("tip-ratio0.6", "tip", "tip")]
    >>> select("tip", sweep, ""), select("tip-ratio0.6", sweep, ""), select("tpi", sweep, "")
    (['tip-ratio0.1', 'tip-ratio0.6'], ['tip-ratio0.6'], ['tpi'])
    """
    known = list(known)
    if any(_same(item.id, selector) for item in known):
        return [selector]
    written = [item.id for item in known if item.written == selector != item.name]
    methods = [item.id for item in known if item.name == selector]
    if written and methods:
        raise StudyError(
            f"{place}: {selector!r} is the id of one item and the method of another, {methods[0]!r}; "
            "give the first another id, or name the expanded ids"
        )
    return written or methods or [selector]


def _same(value: Any, other: Any) -> bool:
    """Return whether two values are equal and of one type: `true` is not the seed 1."""
    return type(value) is type(other) and bool(value == other)


def with_ids(items: Any, section: str, known: dict[str, list[Spelled]]) -> Any:
    """Return the items of a list with every `only` written as a list of mappings from fields to lists of ids."""
    if not isinstance(items, list):
        return items
    return [
        {
            **item,
            "only": _only(item["only"], f"{section}.{item.get('id') or item.get('name')}", known),
        }
        if isinstance(item, dict) and "only" in item
        else item
        for item in items
    ]


def _only(only: Any, place: str, known: dict[str, list[Spelled]]) -> Any:
    alternatives = [only] if isinstance(only, dict) else only
    if only == {} or not isinstance(alternatives, list):
        raise StudyError(
            f"{place}.only must be a mapping from fields of a cell to ids, such as {{model: convnet}}, or a list of such "
            f"mappings, not {shown(only)}; without 'only' the item applies everywhere"
        )
    return [
        {
            field: _ids(value, known.get(str(field), []), f"{place}.only.{field}")
            for field, value in alternative.items()
        }
        if isinstance(alternative, dict)
        else alternative
        for alternative in alternatives
    ]


def _ids(value: Any, known: list[Spelled], place: str) -> Any:
    if value is None or isinstance(value, dict):
        return value
    selectors = value if isinstance(value, list) else [value]
    return list(
        dict.fromkeys(
            identifier for selector in selectors for identifier in _selected(selector, known, place)
        )
    )


def _selected(selector: Any, known: list[Spelled], place: str) -> list[Any]:
    return select(selector, known, place) if isinstance(selector, str | int) else [selector]

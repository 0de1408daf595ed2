"""Expansion of the short notation: one method per swept value and per counter, an id for each, ids in every `only`."""

from __future__ import annotations

import itertools
from typing import Any

from gradsiege import catalogue
from gradsiege.errors import StudyError, nearest
from gradsiege.ranges import shown
from gradsiege.study.selection import LISTS, Spelled, refuse_old_keys, spelled, with_ids

# Keys of an attack, beside its parameters, that may stand in its sweep.
BUDGET = ("iterations", "restarts")


def expand(raw: dict[str, Any]) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Return a study's plain data with every defense and attack written out, and their ids as the file has them, by section.

    Most errors are left to the validation.
    """
    refuse_old_keys(raw)
    out, written_ids = dict(raw), dict[str, list[str]]()
    known = {field: spelled(raw.get(section)) for field, section in LISTS.items()}
    for field in ("defense", "attack"):
        section = LISTS[field]
        items = raw.get(section)
        if not isinstance(items, list):
            continue
        dicts = [dict(item) if isinstance(item, dict) else {"name": item} for item in items]
        if not all("name" in item for item in dicts):
            continue
        groups = [(_written(item), _expanded(item, section)) for item in dicts]
        out[section] = [single for _, group in groups for single in group]
        written_ids[section] = [str(written) for written, group in groups for _ in group]
        known[field] = [
            Spelled(single.get("id") or single["name"], written, single["name"])
            for written, group in groups
            for single in group
        ]
    for section in LISTS.values():
        if section in out:
            out[section] = with_ids(out[section], section, known)
    return out, written_ids


def _written(item: dict[str, Any]) -> Any:
    """Return the id of an item before the values of its sweep and its counters are added."""
    return _with_id(item).get("id") or item["name"]


def _expanded(item: dict[str, Any], section: str) -> list[dict[str, Any]]:
    """One method per counter and per combination of swept values."""
    answers = _expand_counters(item) if section == "attacks" else [item]
    place = f"{section}.{_written(item)}"
    return [single for answer in answers for single in _expand_sweep(_with_id(answer), place)]


def _refuse_two_values(method: dict[str, Any], place: str) -> None:
    """Refuse a key that a sweep sets and that is set beside it as well: the one beside it would change nothing."""
    for key in method["sweep"]:
        if key in (method if key in BUDGET else method.get("parameters", {})):
            raise StudyError(f"{place}: {key!r} is set in its sweep and beside it; leave one out")


def _expand_counters(attack: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one attack per counter: `none` is the attack without any, a defense's name means all counters to that defense."""
    wanted = attack.get("counters", [])
    wanted = [wanted] if isinstance(wanted, str) else wanted
    if not isinstance(wanted, list) or not all(isinstance(word, str) for word in wanted):
        raise StudyError(
            f"attacks.{_written(attack)}: counters must be 'none', a counter, a defense, or a list of these, "
            f"not {shown(attack['counters'])}"
        )
    if not wanted:
        return [attack]
    if "counter" in attack:
        raise StudyError(
            f"attacks.{_written(attack)}: 'counter' stands beside 'counters'; put all of them into 'counters'"
        )
    rest = {key: value for key, value in attack.items() if key != "counters"}
    chosen = [name for word in wanted for name in _counters_of(word, f"attacks.{_written(attack)}")]
    return [
        {**rest, "counter": name, **({"id": f"{rest['id']}-{name}"} if rest.get("id") else {})}
        if name
        else rest
        for name in chosen
    ]


def _counters_of(name: str, place: str) -> list[str | None]:
    """Return the counters that an entry of `counters` means; None is the attack without any."""
    if name == "none":
        return [None]
    if "." in name:
        return [name]
    known = catalogue.entries("counters")
    counters: list[str | None] = [
        counter
        for counter, entry in known.items()
        if counter.partition(".")[0] == name and not entry.by_name
    ]
    if not counters:
        answered = dict.fromkeys(counter.partition(".")[0] for counter in known)
        hint = nearest(name, ["none", *answered])
        raise StudyError(f"{place}: counters: {name!r} is not a defense with counters; {hint}")
    return counters


def _expand_sweep(method: dict[str, Any], place: str) -> list[dict[str, Any]]:
    """Return one method per combination of swept values, with the values in its id; an attack's budget may be swept too."""
    sweep, fixed = method.get("sweep"), method.get("parameters", {})
    lists = isinstance(sweep, dict) and all(isinstance(v, list) and v for v in sweep.values())
    if not sweep or not lists or not isinstance(fixed, dict):
        # No sweep, or a malformed one, which the validation refuses.
        return [method]
    _refuse_two_values(method, place)
    method = {key: value for key, value in method.items() if key != "sweep"}
    base = method.get("id") or method["name"]
    expanded = []
    for values in itertools.product(*sweep.values()):
        chosen = dict(zip(sweep, values, strict=True))
        suffix = "-".join(f"{key}{value}" for key, value in chosen.items())
        budget = {key: chosen.pop(key) for key in BUDGET if key in chosen}
        parameters = {**fixed, **chosen}
        named = {**method, **budget, "id": f"{base}-{suffix}", "parameters": parameters}
        expanded.append(named)
    return expanded


def _with_id(item: dict[str, Any]) -> dict[str, Any]:
    """Give a method without an id one from its name, its arm (unless faithful), its counter and its rounds."""
    released = ["as_released"] if item.get("arm", "faithful") == "as_released" else []
    counter = [str(item["counter"])] if item.get("counter") else []
    several = item.get("rounds", "first")
    rounds = [f"{several}_rounds"] if several != "first" else []
    if item.get("id") or not (released or counter or rounds):
        return item
    return {**item, "id": "-".join([str(item["name"]), *released, *counter, *rounds])}

"""What a person writes in short, written out: a sweep is one method per value, and a method without an id is given one."""

from __future__ import annotations

import itertools
from typing import Any

# Keys of an attack, beside its parameters, that may stand in its sweep.
BUDGET = ("iterations", "restarts")


def expand(raw: dict[str, Any]) -> dict[str, Any]:
    """Return a study's plain data with every defense and every attack written out; what is wrong is left to the validation."""
    out = dict(raw)
    for section in ("defenses", "attacks"):
        items = raw.get(section)
        if not isinstance(items, list):
            continue
        dicts = [dict(item) if isinstance(item, dict) else {"name": item} for item in items]
        if not all("name" in item for item in dicts):
            continue
        dicts = [_with_id(item) for item in dicts]
        out[section] = [single for item in dicts for single in _expand_sweep(item)]
    return out


def _expand_sweep(method: dict[str, Any]) -> list[dict[str, Any]]:
    """One method per combination of swept values, its id made of the values; an attack's budget may be swept too."""
    sweep, own = method.get("sweep"), method.get("parameters", {})
    lists = isinstance(sweep, dict) and all(isinstance(v, list) and v for v in sweep.values())
    if not sweep or not lists or not isinstance(own, dict):
        # Not swept, or so wrong that the validation must see it.
        return [method]
    method = {key: value for key, value in method.items() if key != "sweep"}
    base = method.get("id") or method["name"]
    expanded = []
    for values in itertools.product(*sweep.values()):
        chosen = dict(zip(sweep, values, strict=True))
        suffix = "-".join(f"{key}{value}" for key, value in chosen.items())
        budget = {key: chosen.pop(key) for key in BUDGET if key in chosen}
        parameters = {**own, **chosen}
        named = {**method, **budget, "id": f"{base}-{suffix}", "parameters": parameters}
        expanded.append(named)
    return expanded


def _with_id(item: dict[str, Any]) -> dict[str, Any]:
    """Give a method without an id one that names its arm, unless that is the faithful one, its counter and its rounds."""
    released = ["as_released"] if item.get("arm", "faithful") == "as_released" else []
    counter = [str(item["counter"])] if item.get("counter") else []
    several = item.get("rounds", "first")
    rounds = [f"{several}_rounds"] if several != "first" else []
    if item.get("id") or not (released or counter or rounds):
        return item
    return {**item, "id": "-".join([str(item["name"]), *released, *counter, *rounds])}

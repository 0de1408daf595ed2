"""The selection of the cells that test a claim, and their departures from the setting of its source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from gradsiege import catalogue
from gradsiege.analysis.attackers import FLOORS
from gradsiege.analysis.claims.claim import KEYS, Selector
from gradsiege.catalogue import SECTIONS

T = TypeVar("T")
Ids = dict[str, list[str]]
LACK = "the study has no "
WORDS = {"dataset": "data set", "threat_model": "threat model", "training_stage": "training stage"}


class NotRunError(Exception):
    """The study does not hold what a claim needs; the message says what."""


def agrees(value: Any, wanted: Any) -> bool:
    """Return whether a value of the study file is the wanted one, or one of a list of wanted ones.

    >>> agrees({"name": "tip", "arm": "faithful"}, {"name": ["tip", "agp"]})
    True
    """
    if isinstance(wanted, Mapping):
        return isinstance(value, Mapping) and all(
            agrees(value.get(k), v) for k, v in wanted.items()
        )
    return value == wanted or (isinstance(wanted, list) and value in wanted)


def items(study: Mapping[str, Any], field: str) -> dict[str, Mapping[str, Any]]:
    """The items of a resolved study file by id, in its order; a data set of copies has the name of the one that it copies."""
    if field == "training_stage":
        return {str(stage): {"name": stage} for stage in study.get("training_stages", ())}
    listed = {str(item["id"]): item for item in study.get(SECTIONS[field], ())}
    if field == "dataset":
        return {
            name: {**item, "name": _copied(item) or item.get("name")}
            for name, item in listed.items()
        }
    return listed


def copied(study: Mapping[str, Any], dataset: str) -> str:
    """Return the published data set of which a data set of the study holds copies in other bytes, or ""."""
    found = [item for item in study.get(SECTIONS["dataset"], ()) if item["id"] == dataset]
    return _copied(found[0]) if found else ""


def _copied(item: Mapping[str, Any]) -> str:
    return str((item.get("parameters") or {}).get("copies_of") or "")


def words(field: str, wanted: Mapping[str, Any]) -> str:
    """A selected field as a reader would say it.

    >>> words("dataset", {"name": "cifar10", "size": 32}), words("defense", {"name": ["tip", "agp"]})
    ('data set cifar10 with size 32', 'defense tip or agp')
    """
    names = wanted.get("name", [])
    named = " or ".join(names) if isinstance(names, list) else str(names)
    rest = [
        f"{_plain(key)} {_plain(value)}" for key, value in _flat(wanted).items() if key != "name"
    ]
    field = WORDS.get(field, field)
    return " ".join(filter(None, [field, named, f"with {', '.join(rest)}" if rest else ""]))


def _flat(item: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of an item, those of its parameters among them."""
    return {k: v for k, v in item.items() if k != "parameters"} | dict(item.get("parameters") or {})


def _plain(value: Any) -> str:
    if isinstance(value, list):
        entries = [_plain(entry) for entry in value]
        return " or ".join(entries if len(entries) < 5 else [*entries[:2], "others"])
    if value is None:
        return "unset"
    return f"{value:g}" if isinstance(value, float) else str(value).replace("_", " ").lower()


def choose(study: Mapping[str, Any], table: str, cells: Selector, needs: Selector) -> Ids:
    """Return the ids, by field, of the cells that a selector means; `needs` keeps the items with the source's setting.

    If no item has the source's setting in a field, all stay and their differences are departures.
    """
    given = cells.given()
    if "federation" in given and not agrees(study.get("federation", {}), given["federation"]):
        raise NotRunError(f"{LACK}{words('federation', given['federation'])}")
    chosen: Ids = {}
    for field in KEYS[table]:
        matching = [
            i for i, item in items(study, field).items() if agrees(item, given.get(field, {}))
        ]
        if field == "attack" and not given.get("threat_model", {}).get("disclosure"):
            # Counters, and attacks that learn from a disclosure, are ours; the papers' attackers had neither.
            matching = [i for i in matching if not _informed(items(study, field)[i])]
        if field == "attack" and field not in given:
            # A claim on gradient inversion at large means no guess that needs no update.
            matching = [i for i in matching if items(study, field)[i].get("name") not in FLOORS]
        if not matching:
            raise NotRunError(LACK + _absent(study, field, given.get(field, {})))
        close = [
            i for i in matching if agrees(items(study, field)[i], needs.given().get(field, {}))
        ]
        chosen[field] = close or matching
    if "attack" in chosen and "prior" in given:
        using = [i for i in chosen["attack"] if _priors(study, i, given["prior"])]
        if not using:
            raise NotRunError(f"no attack of the study uses the {words('prior', given['prior'])}")
        chosen["attack"] = using
    return chosen


def _informed(attack: Mapping[str, Any]) -> bool:
    """Whether an attack needs to know the defense."""
    entry = catalogue.entries("attacks").get(str(attack.get("name")))
    needs = entry.requires if entry else ()
    return bool(attack.get("counter")) or "disclosure" in needs


def _absent(study: Mapping[str, Any], field: str, wanted: Mapping[str, Any]) -> str:
    """Return the words for what is absent: the method itself, or only its settings."""
    name = {key: value for key, value in wanted.items() if key == "name"}
    known = any(agrees(item, name) for item in items(study, field).values())
    return words(field, wanted if known or not name else name)


def _priors(study: Mapping[str, Any], attack: str, wanted: Mapping[str, Any]) -> list[str]:
    """Ids of those priors of an attack that are as wanted."""
    used = items(study, "attack")[attack].get("prior") or []
    used = [used] if isinstance(used, str) else used
    return [prior for prior in used if agrees(items(study, "prior")[prior], wanted)]


def departures_of(
    study: Mapping[str, Any], ids: Mapping[str, str], needs: Selector
) -> dict[str, str]:
    """Return the departures of one cell from the setting of the source: a phrase per field."""
    departures = {}
    for field, wanted in needs.given().items():
        if field in ids and ids[field] not in items(study, field):
            continue
        if field in ids and not agrees(items(study, field)[ids[field]], wanted):
            departures[field] = _difference(field, items(study, field)[ids[field]], wanted)
        elif field == "federation" and not agrees(study.get("federation", {}), wanted):
            departures[field] = _difference(field, study.get("federation", {}), wanted)
        elif field == "prior" and "attack" in ids and not _priors(study, ids["attack"], wanted):
            used = items(study, "attack")[ids["attack"]].get("prior") or "none"
            departures[field] = (
                f"prior {used} instead of {words(field, wanted).removeprefix('prior ')}"
            )
    return departures


def _difference(field: str, item: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Return a phrase that compares an item's values with the source's."""
    have, want = _flat(item), _flat(wanted)
    if "name" in want and not agrees(have.get("name"), want["name"]):
        wanted_name = words(field, {"name": want["name"]}).partition(WORDS.get(field, field) + " ")[
            2
        ]
        return f"{WORDS.get(field, field)} {have.get('name')} instead of {wanted_name}"
    parts = [
        f"{_plain(key)} {_plain(have.get(key))} instead of {_plain(value)}"
        for key, value in want.items()
        if not agrees(have.get(key), value)
    ]
    return f"{WORDS.get(field, field)} with {', '.join(parts)}"


def is_stand_in(study: Mapping[str, Any], dataset: str, needs: Selector) -> bool:
    """Return whether the data set is not the claim's own."""
    published = needs.dataset.get("name")
    return published is not None and not agrees(
        items(study, "dataset")[dataset].get("name"), published
    )


def arm_of(study: Mapping[str, Any], ids: Mapping[str, str]) -> str:
    """Return the arm of the cell's defense, else of its attack; empty if the method has only one.

    A claim gets one verdict for the method as described and one for the method as released.
    """
    for name in ("defense", "attack"):
        item = items(study, name).get(ids.get(name, ""), {})
        entry = catalogue.entries(SECTIONS[name]).get(str(item.get("name")))
        if entry is not None and len(entry.arms) > 1:
            return str(item.get("arm", "faithful"))
    return ""


def differ_as_asked(
    study: Mapping[str, Any], one: str, other: str, *asked: Mapping[str, Any]
) -> bool:
    """Whether two attacks of a study, by id, differ in no parameter but those that a selection names; other methods may differ in all.

    >>> arm = {"name": "gi_pip", "parameters": {"score": 1, "variation": 2}}
    >>> bare = {"name": "gi_pip", "parameters": {"score": 0, "variation": 0}}
    >>> study = {"attacks": [{"id": "arm", **arm}, {"id": "bare", **bare}]}
    >>> differ_as_asked(study, "arm", "bare", {"parameters": {"score": 0}})
    False
    """
    attacks = items(study, "attack")
    first, second = attacks[one], attacks[other]
    if first.get("name") != second.get("name"):
        return True
    named = {key for selection in asked for key in selection.get("parameters") or ()}
    ours, theirs = (
        {key: value for key, value in (item.get("parameters") or {}).items() if key not in named}
        for item in (first, second)
    )
    return ours == theirs


def largest_budgets(study: Mapping[str, Any], groups: dict[Any, T]) -> dict[Any, T]:
    """Keep, of several settings of one attack in a cell, those with the most iterations over all restarts.

    A study may also run an attack for a few iterations, to see its labels, or with less than its rivals; the largest
    budget represents the attack. groups: values by the key of a score cell, whose last id is the attack.
    """
    attacks = items(study, "attack")
    budgets, kinds = {}, {}
    for key in groups:
        item = attacks[key[-1]]
        arm, counter = item.get("arm", "faithful"), item.get("counter")
        kinds[key] = (*key[:-1], item.get("name"), arm, counter)
        budgets[key] = int(item.get("iterations", 0)) * int(item.get("restarts", 1))
    most = {kind: max(budgets[k] for k in groups if kinds[k] == kind) for kind in kinds.values()}
    return {key: value for key, value in groups.items() if budgets[key] == most[kinds[key]]}

"""Where the items of a study meet: the product of its lists, cut by every item's `only` and by what attacks can do with."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from gradsiege.study.document import Study
from gradsiege.study.selection import LISTS

Chosen = dict[str, Any]
Rule = list[dict[str, frozenset[Any]]]
TRAINED = ("dataset", "seed", "model", "defense")


def id_of(item: Any) -> Any:
    """The id of an item of a list; a seed and a training stage are their own."""
    return getattr(item, "id", item)


def combinations(study: Study, stage: str) -> Iterator[Chosen]:
    """Yield the ids, by field, of every `federate` or `attack` cell, in the order of the study's lists.

    The mapping that is yielded is one object that changes: take from it what is to be kept.
    """
    fields = TRAINED if stage == "federate" else tuple(LISTS)
    candidates = {field: _candidates(field, study) for field in fields}
    met = _met(study) if stage == "attack" else {}
    return _extended({"stage": stage}, fields, candidates, met, [])


def admits(rule: Rule, chosen: Chosen) -> bool:
    """Whether one alternative of an `only` agrees with the ids that are chosen so far; fields that are not chosen are free.

    >>> rule = [{"model": frozenset({"lenet"})}, {"defense": frozenset({"tip"}), "seed": frozenset({0})}]
    >>> admits(rule, {"model": "lenet"}), admits(rule, {"model": "convnet", "defense": "tip"})
    (True, True)
    >>> admits(rule, {"model": "convnet", "seed": 1})
    False
    """
    return any(
        all(chosen[field] in ids for field, ids in alternative.items() if field in chosen)
        for alternative in rule
    )


def rule_of(item: Any) -> Rule:
    """The `only` of an item, its lists as sets; empty where the item applies everywhere."""
    only = getattr(item, "only", [])
    return [{field: frozenset(ids) for field, ids in alternative.items()} for alternative in only]


def unseen(protocol: Any, threat: Any) -> bool:
    """Whether a threat model grants more rounds of a client than the protocol has."""
    return bool(threat.rounds > protocol.rounds)


def _candidates(field: str, study: Study) -> list[tuple[Any, Rule]]:
    return [(id_of(item), rule_of(item)) for item in getattr(study, LISTS[field])]


def _met(study: Study) -> dict[tuple[str, str], Any]:
    """The threat models by protocol, and the attacks by defense and threat model, that can meet at all."""
    attacks = {attack.id: rule_of(attack) for attack in study.attacks}
    threats = {threat.id: rule_of(threat) for threat in study.threat_models}
    met: dict[tuple[str, str], Any] = {
        ("", protocol.id): [
            (threat.id, threats[threat.id])
            for threat in study.threat_models
            if not unseen(protocol, threat)
        ]
        for protocol in study.protocols
    }
    for defense, threat in itertools.product(study.defenses, study.threat_models):
        met[defense.id, threat.id] = [
            (attack.id, attacks[attack.id])
            for attack in study.attacks
            if attack.meets(defense, threat)
        ]
    return met


def _extended(
    chosen: Chosen,
    fields: tuple[str, ...],
    by_field: dict[str, list[tuple[Any, Rule]]],
    met: dict[tuple[str, str], Any],
    rules: list[Rule],
) -> Iterator[Chosen]:
    """Choose one field after the other, and leave a branch as soon as some chosen item's `only` is against it."""
    field, *rest = fields
    candidates = by_field[field]
    if field == "threat_model":
        candidates = met["", chosen["protocol"]]
    elif field == "attack":
        candidates = met[chosen["defense"], chosen["threat_model"]]
    for value, rule in candidates:
        chosen[field] = value
        active = [*rules, rule] if rule else rules
        if not all(admits(active_rule, chosen) for active_rule in active):
            continue
        if rest:
            yield from _extended(chosen, tuple(rest), by_field, met, active)
        else:
            yield chosen
    chosen.pop(field, None)

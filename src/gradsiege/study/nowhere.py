"""Refusals of an `only` that names places which the study lacks, or leaves an item without cells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gradsiege import catalogue
from gradsiege.errors import StudyError, nearest
from gradsiege.study.document import Study
from gradsiege.study.placement import TRAINED, Chosen, admits, combinations, id_of, rule_of, unseen
from gradsiege.study.sections import Attack
from gradsiege.study.selection import LISTS

# Values of `stage` in `only`: for a data set that only priors are trained on, and for items that are trained but not attacked.
STAGES_OF = {"datasets": ("prior", "federate")}
STAGES = ("federate",)


def check_places(study: Study) -> None:
    """Refuse an `only` that names items which the study lacks, and an item that no cell uses."""
    for section, item in _placed(study):
        _check_only(section, item, study)
    _check_nowhere(study)


def _placed(study: Study) -> Iterator[tuple[str, Any]]:
    for section in LISTS.values():
        for item in getattr(study, section):
            if getattr(item, "only", []):
                yield section, item


def _check_only(section: str, item: Any, study: Study) -> None:
    place = f"{section}.{item.id}.only"
    for field, ids in (
        (field, ids) for alternative in item.only for field, ids in alternative.items()
    ):
        if LISTS.get(field) == section:
            raise StudyError(
                f"{place}: {field!r} is the list that {item.id!r} itself stands in; name other fields, or leave it out"
            )
        for value in ids:
            _check_selector(place, section, field, value, study)


def _check_selector(place: str, section: str, field: str, value: Any, study: Study) -> None:
    if field == "stage":
        stages = STAGES_OF.get(section, STAGES)
        if value not in stages:
            raise StudyError(
                f"{place}: stage {value!r} can not be asked for here; {nearest(str(value), stages)}"
            )
        return
    items = getattr(study, LISTS[field])
    if any(type(value) is type(id_of(item)) and value == id_of(item) for item in items):
        return
    names = {str(id_of(item)) for item in items}
    names |= {str(item.name) for item in items if hasattr(item, "name")}
    hint = "write it as a number" if str(value) in names else nearest(str(value), sorted(names))
    raise StudyError(f"{place}: {field} {value!r} is not in the study; {hint}")


def _check_nowhere(study: Study) -> None:
    """Refuse the first item that is expected in a cell and stands in none."""
    left = {
        field: {
            id_of(item): item for item in getattr(study, section) if _expected(field, item, study)
        }
        for field, section in LISTS.items()
    }
    for dataset in study.datasets:
        if dataset.only and all(
            alternative.get("stage") == ["prior"] for alternative in dataset.only
        ):
            _check_prior(dataset.id, study)
            del left["dataset"][dataset.id]
    _strike(left, combinations(study, "federate"))
    _strike(left, combinations(study, "attack"))
    lost = [(field, item) for field, items in left.items() for item in items.values()]
    # An item that says where it applies is the likelier mistake.
    lost.sort(key=lambda pair: not getattr(pair[1], "only", []))
    if lost:
        raise StudyError(_nowhere(*lost[0], study))


def _expected(field: str, item: Any, study: Study) -> bool:
    """Whether an item must stand in a cell: what is trained and what attacks always, else if its `only` or its disclosure says so.

    A study without attacks has no cell with a protocol, a threat model or a checkpoint.
    """
    if field in (*TRAINED, "attack"):
        return True
    asked = bool(getattr(item, "only", [])) or (
        field == "threat_model" and (item.disclosure or item.candidates)
    )
    return asked and bool(study.attacks)


def _check_prior(dataset: str, study: Study) -> None:
    if all(prior.dataset != dataset for prior in study.priors):
        raise StudyError(
            f"datasets.{dataset}: it is there for priors alone, and none is trained on it; "
            "name it in 'dataset' of a prior, or leave it out"
        )


def _strike(left: dict[str, dict[Any, Any]], places: Iterator[Chosen]) -> None:
    """Take out of `left` what stands in a cell; stop when nothing is left that could be found."""
    for chosen in places:
        for field, items in left.items():
            if items:
                items.pop(chosen.get(field), None)
        if not any(left.values()):
            return


def _nowhere(field: str, item: Any, study: Study) -> str:
    place = f"{LISTS[field]}.{id_of(item)}"
    reasons = list(dict.fromkeys(_reasons(field, item, study)))
    why = f" ({'; '.join(reasons[:3])})" if reasons else ""
    if getattr(item, "only", []):
        return f"{place}: its 'only' leaves no cell of it{why}; widen it, or leave the item out"
    return f"{place}: no cell of the study has it{why}; name it in an 'only', or leave the item out"


def _reasons(field: str, item: Any, study: Study) -> Iterator[str]:
    """Say which other items, among those that the item asks for, can not meet it."""
    rule, value = rule_of(item), id_of(item)
    for other_field, section in LISTS.items():
        if other_field == field:
            continue
        for other in getattr(study, section):
            if rule and not admits(rule, {other_field: id_of(other)}):
                continue
            reason = _against(field, item, other_field, other)
            if reason:
                yield reason
            elif rule_of(other) and not admits(rule_of(other), {field: value}):
                yield f"{section}.{id_of(other)} is not for it"


def _against(field: str, item: Any, other_field: str, other: Any) -> str | None:
    """Why two items never meet, whatever their `only` says."""
    pair = {field: item, other_field: other}
    attack, threat = pair.get("attack"), pair.get("threat_model")
    if isinstance(attack, Attack) and threat is not None:
        if "disclosure" in attack.requires and not threat.disclosure:
            return f"{attack.id} needs the disclosure that {threat.id} does not grant"
        if (attack.rounds != "first") != (threat.rounds > 1):
            return (
                f"{attack.id} takes rounds: {attack.rounds}, and {threat.id} grants {threat.rounds}"
            )
        if ("candidates" in attack.requires) != threat.candidates:
            needs = "needs" if "candidates" in attack.requires else "has no use for"
            grants = "grants" if threat.candidates else "does not grant"
            return f"{attack.id} {needs} candidates, and {threat.id} {grants} them"
        named = any(threat.id in alternative.get("threat_model", []) for alternative in attack.only)
        if threat.disclosure and not (attack.uses_disclosure or named):
            return (
                f"{attack.id} uses no disclosure and meets {threat.id} only if its 'only' names it"
            )
    counter = attack.counter if isinstance(attack, Attack) else None
    if counter and "defense" in pair and not catalogue.answers(counter, pair["defense"].name):
        return f"{counter} answers {counter.partition('.')[0]} alone"
    if threat is not None and "protocol" in pair and unseen(pair["protocol"], threat):
        return f"{threat.id} grants more rounds than {pair['protocol'].id} has"
    return None

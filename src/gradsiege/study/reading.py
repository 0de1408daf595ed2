"""Reading a study from a file or plain data; every error becomes a sentence that names the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from gradsiege import catalogue
from gradsiege.documents import Section, read_yaml, refusal
from gradsiege.errors import StudyError, nearest
from gradsiege.ranges import number_of, shown
from gradsiege.study.checks import check, resolve
from gradsiege.study.document import Study
from gradsiege.study.expansion import expand
from gradsiege.study.idle import check_idle
from gradsiege.study.sections import (
    ROLES,
    Attack,
    Dataset,
    Defense,
    Federation,
    Gain,
    Model,
    Place,
    Prior,
    Protocol,
    Threat,
    Tuning,
)
from gradsiege.study.words import refuse_other_than_text

METHODS = ("datasets", "models", "priors", "defenses", "attacks")


def parse(raw: object, place: str = "study") -> Study:
    """Validate a study given as plain data; every default is filled in afterwards."""
    if raw is None:
        raise StudyError(f"{place} is empty; config/README.md says what a study file holds")
    if not isinstance(raw, dict):
        raise StudyError(f"{place}: a study file is a mapping of keys, not {shown(raw)}")
    _refuse_equal_values(raw, place)
    try:
        refuse_other_than_text(raw)
        expanded, written_ids = expand(raw)
    except StudyError as error:
        raise StudyError(f"{place}: {error}") from error
    try:
        study = Study.model_validate(expanded)
    except ValidationError as error:
        raise StudyError(explain(error, place, expanded, written_ids)) from error
    for dataset in study.datasets:
        if dataset.source:
            raise StudyError(
                f"{place}: unknown key 'datasets.{dataset.id}.source'; the program finds out what a source lists"
            )
    for attack in study.attacks:
        if attack.tuned:
            raise StudyError(
                f"{place}: unknown key 'attacks.{attack.id}.tuned'; parameters that the file leaves out are chosen where it has 'tuning'"
            )
    try:
        study = resolve(study)
        check(study)
    except StudyError as error:
        raise StudyError(f"{place}: {error}") from error
    return study


def _refuse_equal_values(raw: dict[str, Any], place: str) -> None:
    """Refuse a sweep that holds a value twice, as 1 and 1.0 are: it would make two methods of one."""
    for section in ("defenses", "attacks"):
        items = raw.get(section)
        for item in items if isinstance(items, list) else []:
            sweep = item.get("sweep") if isinstance(item, dict) else None
            for key, values in sweep.items() if isinstance(sweep, dict) else []:
                plain = [number_of(value) for value in values] if isinstance(values, list) else []
                twice = [value for at, value in enumerate(plain) if value in plain[:at]]
                if twice:
                    name = item.get("id") or item.get("name")
                    raise StudyError(
                        f"{place}: {section}.{name}.sweep.{key}: {twice[0]!r} stands twice; leave one out"
                    )


def load(path: Path | str) -> Study:
    """Read and validate a study file (YAML)."""
    path = Path(path)
    study = parse(read_yaml(path, "study file"), str(path))
    try:
        check_idle(study)
    except StudyError as error:
        raise StudyError(f"{path}: {error}") from error
    return study


def explain(
    error: ValidationError, place: str, expanded: Any, written_ids: dict[str, list[str]]
) -> str:
    """Turn a validation error into one sentence per problem, with the nearest known key."""
    lines = []
    for problem in error.errors():
        location = _written(problem["loc"])
        where = ".".join(_named(location, expanded, written_ids))
        unknown = _unknown_method(location, where, expanded)
        if unknown:
            lines.append(unknown)
        elif problem["type"] == "extra_forbidden":
            known = _keys_at(location[:-1])
            hint = nearest(str(location[-1]), known)
            if location[0] == "priors" and location[-1] == "only":
                hint = "a prior is trained where an attack reads it, so say it at the attack"
            lines.append(f"unknown key {where!r}; {hint}")
        elif location[-1:] == ("[key]",) and {"counts", "only"} & set(location):
            key = where.removesuffix(".[key]")
            known = list(ROLES if "counts" in location else get_args(Place))
            lines.append(f"unknown key {key!r}; {nearest(str(location[-2]), known)}")
        else:
            lines.append(f"{where or 'study'}{refusal(problem)}")
    # Each counter and each value of a sweep makes an item of its own, and all of them repeat the item's error.
    return f"{place}: " + "; ".join(dict.fromkeys(lines))


def _unknown_method(location: tuple[int | str, ...], where: str, expanded: Any) -> str:
    """Return the sentence on an item whose name is unknown, or an empty string: its other errors follow from the name."""
    section = str(location[0]) if location else ""
    if section not in METHODS or len(location) < 3:
        return ""
    item = expanded[section][location[1]]
    name = item.get("name") if isinstance(item, dict) else item
    if not isinstance(name, str) or "name" in location:
        return ""
    try:
        catalogue.lookup(section, name, ".".join(where.split(".")[:2]))
    except StudyError as error:
        return str(error)
    return ""


def _written(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Return a location as it is written in the file, where a single `only` needs no list."""
    if "only" not in location:
        return location
    place = location.index("only") + 1
    return (*location[:place], *(part for part in location[place:] if isinstance(part, str)))


def _named(
    location: tuple[int | str, ...], expanded: Any, written_ids: dict[str, list[str]]
) -> list[str]:
    """Return the parts of a location, with the id or name of a list's item instead of its index.

    Sweeps expand one defense to several, so indices would differ from those in the file.
    """
    parts = [str(part) for part in location]
    try:
        item = expanded[location[0]][location[1]]
        ids = written_ids.get(parts[0])
        parts[1] = ids[int(location[1])] if ids else str(item.get("id") or item["name"])
    except (AttributeError, IndexError, KeyError, TypeError):
        pass  # the location lies in no list of items, and keeps the words it has
    return parts


def _keys_at(location: tuple[int | str, ...]) -> list[str]:
    """Return the known keys of the section at a location such as ``("defenses", 0)``."""
    sections: dict[str, type[Section]] = {
        "datasets": Dataset,
        "models": Model,
        "defenses": Defense,
        "federation": Federation,
        "protocols": Protocol,
        "threat_models": Threat,
        "priors": Prior,
        "attacks": Attack,
        "gains": Gain,
        "tuning": Tuning,
    }
    model = sections.get(str(location[0]), Study) if location else Study
    return list(model.model_fields)

"""Reading the ledger of claims: an unknown key or name is an error that names the claim."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gradsiege.analysis.claims.claim import Claim, Ledger, Point, Selector
from gradsiege.documents import read_yaml, refusal
from gradsiege.errors import StudyError, nearest
from gradsiege.study.claim_names import check_names

FILE = Path("config/claims.yaml")


def parse(raw: object, place: str = "claims") -> list[Claim]:
    """Validate a ledger given as plain data."""
    try:
        ledger = Ledger.model_validate(raw)
    except ValidationError as error:
        raise StudyError(f"{place}: {_explain(error, raw)}") from error
    ids = [claim.id for claim in ledger.claims]
    for claim in ledger.claims:
        if ids.count(claim.id) > 1:
            raise StudyError(f"{place}: {claim.id!r} stands twice; give one of them another id")
        check_names(claim, place)
    return ledger.claims


def load(path: Path) -> list[Claim]:
    """Read and validate a ledger (YAML)."""
    return parse(read_yaml(path, "ledger of claims"), str(path))


def _explain(error: ValidationError, raw: Any) -> str:
    """Return one sentence per problem; it names a claim by its id, and the nearest known key for an unknown one."""
    lines = []
    for problem in error.errors():
        location = [str(part) for part in problem["loc"]]
        if location[:1] == ["claims"] and len(location) > 1:
            given = raw["claims"][int(location[1])]
            location[1] = (
                str(given.get("id", location[1])) if isinstance(given, dict) else location[1]
            )
        where = ".".join(location) or "the file"
        if problem["type"] == "extra_forbidden":
            lines.append(f"unknown key {where!r}; {nearest(location[-1], _known(location[:-1]))}")
        else:
            lines.append(f"{where}{refusal(problem)}")
    return "; ".join(lines)


def _known(location: list[str]) -> list[str]:
    """Known keys of the section at a location such as ``["claims", "tip.accuracy", "cells"]``."""
    parts = [part for part in location[2:] if not part.isdigit()]
    if not location:
        return list(Ledger.model_fields)
    if not parts:
        return list(Claim.model_fields)
    return list(Point.model_fields if parts == ["points"] else Selector.model_fields)

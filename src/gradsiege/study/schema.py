"""The JSON schemas of a study file and of the ledger of claims, for editors.

`python -m gradsiege.study.schema study > workflow/schemas/study.schema.json` writes one, and the same with `claims` the
other. They are generated from the models that load these files; a test keeps them up to date. An
editor that reads YAML schemas then completes keys and marks typos.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from gradsiege.analysis.claims.claim import Ledger
from gradsiege.study import Study

DRAFT = "https://json-schema.org/draft/2020-12/schema"
# Sections whose items may be written as a bare name, such as ``- none``.
BARE = ("models", "defenses", "priors", "protocols")
# Sections whose items may say where they apply.
PLACED = ("Dataset", "Model", "Defense", "Protocol", "Threat", "Attack")


def schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of a study as a person writes it."""
    document: dict[str, Any] = {"$schema": DRAFT, **Study.model_json_schema()}
    for section in BARE:
        items = document["properties"][section]["items"]
        document["properties"][section]["items"] = {"anyOf": [{"type": "string"}, items]}
    # The id of a protocol is its name unless another is given.
    document["$defs"]["Protocol"]["required"].remove("id")
    # The iterations of an attack may stand in its sweep.
    document["$defs"]["Attack"]["required"].remove("iterations")
    for section in PLACED:
        _shorten_only(document["$defs"][section]["properties"]["only"])
    counters = document["$defs"]["Attack"]["properties"]["counters"]
    counters["anyOf"] = [
        {"type": "string"},
        {"type": counters.pop("type"), "items": counters.pop("items")},
    ]
    return document


def _shorten_only(only: dict[str, Any]) -> None:
    """Allow one mapping instead of a list of them, and one selector instead of a list."""
    mapping = only.pop("items")
    selectors = mapping["additionalProperties"]
    mapping["additionalProperties"] = {"anyOf": [*selectors["items"]["anyOf"], selectors]}
    only["anyOf"] = [mapping, {"type": only.pop("type"), "items": mapping}]


def claims_schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of the ledger of claims."""
    return {"$schema": DRAFT, **Ledger.model_json_schema()}


def text(name: str) -> str:
    """Return the schema of `study` or `claims` as it stands in the repository."""
    made = {"study": schema, "claims": claims_schema}
    return json.dumps(made[name](), indent=2) + "\n"


if __name__ == "__main__":
    print(text(sys.argv[1]), end="")

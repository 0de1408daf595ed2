"""The JSON schema of a study file, for editors: `python -m gradsiege.schema > workflow/schemas/study.schema.json`.

It is made from the models that load a study, so it can say nothing else than they do; a test keeps the
file fresh. An editor that reads YAML schemas then completes keys and marks typos.
"""

from __future__ import annotations

import json
from typing import Any

from gradsiege.study import Study

# Sections whose items may be written as a bare name, such as ``- none``.
BARE = ("models", "defenses", "priors", "protocols")


def schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of a study as a person writes it."""
    found: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Study.model_json_schema(),
    }
    for section in BARE:
        items = found["properties"][section]["items"]
        found["properties"][section]["items"] = {"anyOf": [{"type": "string"}, items]}
    # The id of a protocol is its name unless another is given.
    found["$defs"]["Protocol"]["required"].remove("id")
    return found


def text() -> str:
    """Return the schema as it stands in the repository."""
    return json.dumps(schema(), indent=2) + "\n"


if __name__ == "__main__":
    print(text(), end="")

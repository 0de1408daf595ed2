"""The reference of the study file, from ``workflow/schemas/study.schema.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docs.pages.markdown import cell, table

SCHEMA = Path(__file__).parents[2] / "workflow/schemas/study.schema.json"


def page() -> str:
    """Return the page as Markdown: the keys of a study file, then those of every kind of item."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    head = (
        "# Keys of a study file\n\n"
        "[Study files](../../config/README.md) explains them with examples. An unknown key is an error that names the nearest known one."
    )
    parts = [head, "## A study", keys(schema)]
    for name, definition in schema["$defs"].items():
        parts += [f"## {name}", cell(definition.get("description", "")), keys(definition)]
    return "\n\n".join(part for part in parts if part) + "\n"


def keys(definition: dict[str, Any]) -> str:
    """Return the table of the keys of one mapping."""
    required = definition.get("required", [])
    rows = [
        [
            f"`{key}`",
            cell(takes(value)),
            "required"
            if key in required
            else f"`{cell(standard(value))}`"
            if "default" in value
            else "",
            cell(value.get("description", "")),
        ]
        for key, value in definition["properties"].items()
    ]
    return table(["key", "takes", "default", "meaning"], rows)


def standard(value: dict[str, Any]) -> str:
    """Return a default as JSON; one that spells out a whole mapping stands in that mapping's own table."""
    return (
        "as below"
        if isinstance(value["default"], dict) and value["default"]
        else json.dumps(value["default"])
    )


def takes(value: dict[str, Any]) -> str:
    """Return what a value may be, in words.

    >>> takes({"type": "integer", "minimum": 1, "maximum": 8})
    'whole number from 1 to 8'
    >>> takes({"type": "array", "items": {"enum": ["a", "b"]}})
    'list of "a", "b"'
    >>> takes({"anyOf": [{"type": "string"}, {"$ref": "#/$defs/Model"}, {"type": "null"}]})
    'text or Model'
    """
    if "$ref" in value:
        return str(value["$ref"]).rpartition("/")[2]
    if "enum" in value or "const" in value:
        return ", ".join(json.dumps(item) for item in value.get("enum", [value.get("const")]))
    if "anyOf" in value or "oneOf" in value:
        kinds = [takes(kind) for kind in value.get("anyOf", value.get("oneOf"))]
        return " or ".join(dict.fromkeys(kind for kind in kinds if kind != "nothing"))
    kind = value.get("type", "anything")
    if kind == "array":
        return f"list of {takes(value.get('items', {}))}"
    words = {
        "integer": "whole number",
        "number": "number",
        "string": "text",
        "boolean": "true or false",
    }
    words |= {"object": "mapping", "null": "nothing", "anything": "anything"}
    return words[kind] + limits(value)


def limits(value: dict[str, Any]) -> str:
    """Return the ends of a number's range in words; ends that only keep a number finite are left out.

    >>> limits({"exclusiveMinimum": 0, "maximum": 1})
    ' above 0 and up to 1'
    """
    low, above = value.get("minimum"), value.get("exclusiveMinimum")
    high, below = value.get("maximum"), value.get("exclusiveMaximum")
    if high is not None and abs(high) >= 10**9:
        high = None
    if low is not None and high is not None:
        return f" from {low} to {high}"
    first = f"from {low}" if low is not None else f"above {above}" if above is not None else ""
    last = f"up to {high}" if high is not None else f"below {below}" if below is not None else ""
    joined = " and ".join(part for part in (first, last) if part)
    return f" {joined}" if joined else ""

"""Write the newest rows of `labels.jsonl` into docs/LABELS.md, between its two markers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.markers import replaced

PAGE = Path(__file__).parents[1] / "docs" / "LABELS.md"
RULES = (
    *("automatic", "row_sum", "row_minimum", "bias_corrected", "projection"),
    *("automatic, no bias", "orthogonality"),
)
# An attacker who is told of CENSOR reads labels by it (every counter of CENSOR does); one who is not told must not.
INFORMED = "orthogonality"
WANTED = 0.95
MARK = " (!)"


def newest(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the last row of each (batches, model, defense, arm), in the order of their first appearance."""
    keys = ("batches", "model", "defense", "arm")
    latest = {tuple(row[key] for key in keys): row for row in rows}
    return list(latest.values())


def falls_short(accuracy: dict[str, float]) -> bool:
    """Whether some rule finds the wanted share of labels and the default of an attacker with the same knowledge does not.

    >>> falls_short({"automatic": 0.9, "row_sum": 1.0}), falls_short({"automatic": 0.9, "row_sum": 0.9})
    (True, False)
    """
    blind = [value for rule, value in accuracy.items() if rule != INFORMED]
    return max(blind) >= WANTED > accuracy.get("automatic", WANTED)


def table(rows: list[dict[str, Any]]) -> str:
    """Return one Markdown table of the rows of one kind of batch; defenses of a model with the same numbers share a line."""
    rules = [rule for rule in RULES if any(rule in row["accuracy"] for row in rows)]
    together: dict[tuple[str, tuple[float | None, ...]], list[str]] = {}
    for row in rows:
        found = tuple(row["accuracy"].get(rule) for rule in rules)
        name = row["defense"] if row["arm"] == "faithful" else f"{row['defense']} ({row['arm']})"
        name += MARK if falls_short(row["accuracy"]) else ""
        together.setdefault((row["model"], found), []).append(name)
    lines = [f"| model | defenses | {' | '.join(rules)} |", "|---" * (2 + len(rules)) + "|"]
    for (model, found), names in together.items():
        shown = " | ".join("" if value is None else f"{value:.2f}" for value in found)
        lines.append(f"| {model} | {', '.join(names)} | {shown} |".replace("_", " "))
    return "\n".join(lines) + "\n"


def page(text: str, rows: list[dict[str, Any]]) -> str:
    """Return the page with new tables, one per kind of batch."""
    rows = newest(rows)
    kinds = list(dict.fromkeys(row["batches"] for row in rows))
    parts = [
        f"### Batches: {kind}\n\n{table([row for row in rows if row['batches'] == kind])}"
        for kind in kinds
    ]
    return replaced(text, "\n".join(parts))


def write(rows: Path) -> None:
    """Rewrite the page."""
    read = [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()]
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), read), encoding="utf-8")

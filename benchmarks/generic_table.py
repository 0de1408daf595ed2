"""Write the newest rows of `generic.csv` into docs/GENERIC.md, between its two markers."""

from __future__ import annotations

import csv
from pathlib import Path

from benchmarks.markers import replaced

PAGE = Path(__file__).parents[1] / "docs" / "GENERIC.md"
FIELDS = ("model", "defense", "attack", "counter", "psnr", "images", "iterations", "side")
HEAD = ("model", "defense", "attack", "blind", "hand-written", "which", "generic", "difference")

Row = dict[str, str]


def line(attackers: dict[str, float]) -> tuple[str, ...]:
    """Return the cells blind, best hand-written, its name, generic, and the difference of the last from the best other one.

    >>> line({"": 10.0, "sign.likelihood": 12.0, "sign.sign_consistent": 11.0, "generic.learned_reliability": 12.5})
    ('10.0', '12.0', 'likelihood', '12.5', '+0.5')
    >>> line({"": 10.0, "generic.learned_reliability": 9.5})
    ('10.0', '', '', '9.5', '-0.5')
    """
    generic = next(value for name, value in attackers.items() if name.startswith("generic."))
    written = {
        name: value for name, value in attackers.items() if name and not name.startswith("generic.")
    }
    best = max(written, key=lambda name: written[name], default="")
    other = max(written[best], attackers[""]) if best else attackers[""]
    return (
        f"{attackers['']:.1f}",
        f"{written[best]:.1f}" if best else "",
        best.partition(".")[2],
        f"{generic:.1f}",
        # Zero has one sign.
        f"{round(generic - other, 1) + 0.0:+.1f}",
    )


def table(rows: list[Row]) -> str:
    """Return a Markdown table, one line per (model, defense, attack), with the newest row of each attacker."""
    budgets = {tuple(row[field] for field in ("images", "iterations", "side")) for row in rows}
    if len(budgets) > 1:
        raise ValueError(
            f"rows of {len(budgets)} budgets (images, iterations, side) do not compare; keep those of one"
        )
    groups: dict[tuple[str, ...], dict[str, float]] = {}
    for row in rows:
        key = (row["model"], row["defense"], row["attack"])
        groups.setdefault(key, {})[row["counter"]] = float(row["psnr"])
    lines = [f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
    for key, attackers in sorted(groups.items(), key=lambda group: (group[0][2], group[0][0])):
        named = (key[0], key[1].replace("/as_released", " (as released)"), key[2])
        shown = " | ".join((*named, *line(attackers)))
        lines.append(f"| {shown.replace('_', ' ')} |".replace("|  |", "| |"))
    return "\n".join(lines) + "\n"


def page(text: str, rows: list[Row]) -> str:
    """Return the page with a new table."""
    return replaced(text, table(rows))


def write(rows: Path) -> None:
    """Rewrite the page."""
    with rows.open(encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), read), encoding="utf-8")

"""Write the rows of `audits.csv` into docs/AUDIT.md, between its two markers."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from benchmarks.markers import replaced

ROWS = Path(__file__).with_name("audits.csv")
PAGE = Path(__file__).parents[1] / "docs" / "AUDIT.md"
FIELDS = ("defense", "study", "audit", "low", "high", "attacker", "seconds", "left out")
HEAD = (
    "defense",
    "study [dB]",
    "audit [dB]",
    "difference",
    "attacker of the audit",
    "seconds",
    "left out for want of time",
)
Row = dict[str, str]


def read() -> list[Row]:
    """Return the kept rows."""
    with ROWS.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def keep(new: Iterable[Row]) -> list[Row]:
    """Replace older rows of the same defenses, write all, and return them."""
    rows = {row["defense"]: row for row in [*(read() if ROWS.is_file() else []), *new]}
    with ROWS.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows.values())
    return [*rows.values()]


def line(row: Row) -> tuple[str, ...]:
    """Return the cells of a row.

    >>> row = dict(zip(FIELDS, ("sign", "20.04", "21.06", "19.5", "22.0", "mode+generic.x", "61.2", "3"), strict=True))
    >>> line(row)
    ('sign', '20.0', '21.1 [19.5, 22.0]', '+1.0', 'mode, generic: x', '61', '3 attackers')
    """
    method, _, counter = row["attacker"].partition("+")
    words = method + (f", {counter.replace('.', ': ')}" if counter else "")
    study, audit = float(row["study"]), float(row["audit"])
    count = int(row["left out"])
    return (
        row["defense"],
        f"{study:.1f}",
        f"{audit:.1f} [{float(row['low']):.1f}, {float(row['high']):.1f}]",
        f"{audit - study:+.1f}",
        words.replace("_", " "),
        f"{float(row['seconds']):.0f}",
        f"{count} attacker{'s' * (count != 1)}" if count else "",
    )


def table(rows: Iterable[Row]) -> str:
    """Return a Markdown table."""
    lines = [HEAD, ("---",) * len(HEAD), *map(line, rows)]
    return "".join(f"| {' | '.join(cells)} |\n".replace("|  |", "| |") for cells in lines)


def page(text: str, rows: Iterable[Row]) -> str:
    """Return the page with a new table."""
    return replaced(text, f"\n{table(rows)}\n")

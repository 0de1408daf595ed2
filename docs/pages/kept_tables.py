"""The tables of a kept study as HTML: one row per thing that was measured, each number with its interval and its n."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from html import escape
from pathlib import Path

KEPT = Path(__file__).parents[1] / "results"
# Paper holds this many columns; a wider table is named there by its file.
ON_PAPER = 8
MEASUREMENT = ("quantity", "value", "low", "high", "n", "unit", "text")
Row = dict[str, str]


def page(study: str) -> str:
    """Return the page of one study's tables as Markdown."""
    folder = KEPT / study
    parts = [
        f"# {study}: tables",
        f"The numbers behind [{study}](../../results/{study}/README.md), with 95 % intervals in brackets and the number n of units behind "
        "them. A column's name shows its meaning.",
    ]
    meanings = {row["name"]: row["meaning"] for row in read(KEPT / "columns.csv")}
    for file in sorted(folder.glob("*.csv")):
        rows = read(file)
        if rows:
            name = file.stem.removesuffix("_data").removeprefix("table_")
            source = f"[{file.name}](../../results/{study}/{file.name})"
            parts += [f"## {name.replace('_', ' ')}", source, html(rows, meanings, file.name)]
    return "\n\n".join(parts) + "\n"


def read(file: Path) -> list[Row]:
    """Return the rows of a table."""
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def html(rows: Sequence[Row], meanings: dict[str, str], file: str = "") -> str:
    """Return a table; long rows of one thing become one row, with a column per quantity. Values that all rows share go above it.

    rows: as kept, long (``quantity``, ``value``, ...) or as a reader sees them; meanings: by column; file: its name, which
    stands on paper for a table that is too wide for it.
    """
    units: dict[str, str] = {}
    if "quantity" in rows[0]:
        units = {row["quantity"]: row["unit"] for row in rows if row["unit"]}
        rows = wide(rows)
    names = [
        name
        for name in dict.fromkeys(name for row in rows for name in row)
        if any(row.get(name) for row in rows)
    ]
    shared = {
        name: rows[0].get(name, "")
        for name in names
        if len({row.get(name, "") for row in rows}) == 1 and len(rows) > 1
    }
    shown = [name for name in names if name not in shared]
    above = "; ".join(f"{heading(name, units)}: {value}" for name, value in shared.items())
    head = "".join(
        f'<th scope="col" title="{escape(meanings.get(name, ""))}">{escape(heading(name, units))}</th>'
        for name in shown
    )
    body = "\n".join(
        "<tr>" + "".join(f"<td>{escape(row.get(name, ''))}</td>" for name in shown) + "</tr>"
        for row in rows
    )
    too_wide = len(shown) > ON_PAPER
    paper = f'<p class="on-paper">The table has {len(shown)} columns, too many for paper: see {escape(file)}.</p>\n'
    return (
        f'<p class="shared">{escape(above)}</p>\n{paper if too_wide else ""}'
        f'<div class="kept{" wide" if too_wide else ""}" tabindex="0">\n<table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )


def heading(name: str, units: dict[str, str]) -> str:
    """Return the name of a column for a reader, with its unit.

    >>> heading("peak_memory", {"peak_memory": "MB"}), heading("attack", {})
    ('peak memory (MB)', 'attack')
    """
    return name.replace("_", " ") + (f" ({units[name]})" if name in units else "")


def wide(rows: Sequence[Row]) -> list[Row]:
    """Return one row per thing that was measured.

    >>> wide([{"attack": "dlg", "quantity": "psnr", "value": "12.34", "low": "11", "high": "13.5", "n": "8", "unit": "dB", "text": ""}])
    [{'attack': 'dlg', 'psnr': '12.34 [11, 13.5], n = 8'}]
    """
    things: dict[tuple[str, ...], Row] = {}
    ids = [name for name in rows[0] if name not in MEASUREMENT]
    for row in rows:
        thing = things.setdefault(
            tuple(row[name] for name in ids), {name: row[name] for name in ids}
        )
        thing[row["quantity"]] = measured(row)
    return list(things.values())


def measured(row: Row) -> str:
    """Return a value with its limits and n, or the text that stands instead of one."""
    if not row["value"]:
        return row["text"]
    ends = f" [{short(row['low'])}, {short(row['high'])}]" if row["low"] and row["high"] else ""
    count = f", n = {short(row['n'])}" if row["n"] else ""
    return short(row["value"]) + ends + count


def short(number: str) -> str:
    """Return a number with four significant digits, as a reader compares them.

    >>> short("0.123456"), short("27.0")
    ('0.1235', '27')
    """
    return f"{float(number):.4g}"

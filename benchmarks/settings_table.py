"""Write the tables of `settings` into config/README.md, each between markers of its own: ``python -m benchmarks.settings_table``.

A table is one file. Its numbers were written down from single runs when a study's settings were chosen, and no script makes them again.
"""

from __future__ import annotations

import csv
from pathlib import Path

from benchmarks.markers import replaced
from docs.pages.markdown import table

FOLDER = Path(__file__).with_name("settings")
PAGE = Path(__file__).parents[1] / "config/README.md"


def made(file: Path) -> str:
    """Return one file as a Markdown table."""
    with file.open(encoding="utf-8", newline="") as lines:
        head, *rows = csv.reader(lines)
    return f"\n{table(head, rows)}\n\n".replace("|  |", "| |").replace("|  |", "| |")


def page(text: str) -> str:
    """Return the page with its tables made anew."""
    for file in sorted(FOLDER.glob("*.csv")):
        text = replaced(text, made(file), f"settings of {file.stem}")
    return text


def main() -> None:
    """Rewrite the page."""
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()

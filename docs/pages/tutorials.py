"""The tutorials as pages: notebooks that are kept as Python files, in the percent format of jupytext."""

from __future__ import annotations

from pathlib import Path

import jupytext

FOLDER = Path(__file__).parents[1] / "tutorials"


def pages() -> dict[str, str]:
    """Return every tutorial as Markdown, by its name."""
    return {file.stem: page(file) for file in sorted(FOLDER.glob("*.py"))}


def page(file: Path) -> str:
    """Return the cells of one tutorial, and how to open it as a notebook."""
    notebook = jupytext.reads(file.read_text(encoding="utf-8"), fmt="py:percent")
    cells = [
        cell.source if cell.cell_type == "markdown" else f"```python\n{cell.source}\n```"
        for cell in notebook.cells
    ]
    how = (
        f"This page is a notebook that is kept as text, [{file.name}](../../tutorials/{file.name}): run it with `python`, or make it a notebook "
        f"with `jupytext --to ipynb docs/tutorials/{file.name}`."
    )
    return "\n\n".join([*cells, how]) + "\n"

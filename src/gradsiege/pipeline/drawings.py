"""Which files the figures and tables of a study are; paths are those inside ``results/<study>``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from gradsiege.study import Study

Kind = Literal["figures", "tables"]
FORMATS = ("pdf", "svg", "png")
# What the columns of all of them mean.
DICTIONARY = "tables/columns.csv"
REPORT_FILE = "report.html"


def kind_of(name: str) -> Kind:
    """Whether a name is that of a table, which begins with ``table_``, or of a figure: the folder of its files."""
    return "tables" if name.startswith("table_") else "figures"


def data_file(name: str) -> str:
    """The file with the measurements of a figure or table, one per row.

    >>> data_file("gallery"), data_file("table_costs")
    ('figures/gallery.csv', 'tables/table_costs_data.csv')
    """
    return f"tables/{name}_data.csv" if kind_of(name) == "tables" else f"figures/{name}.csv"


def files_of(name: str) -> tuple[str, ...]:
    """All files of a figure or table: first what is made to be looked at, last the measurements.

    >>> files_of("table_costs")
    ('tables/table_costs.csv', 'tables/table_costs_data.csv')
    >>> files_of("gallery")
    ('figures/gallery.pdf', 'figures/gallery.svg', 'figures/gallery.png', 'figures/gallery.csv')
    """
    if kind_of(name) == "tables":
        return f"tables/{name}.csv", data_file(name)
    return (*(f"figures/{name}.{kind}" for kind in FORMATS), data_file(name))


def undrawn(study: Study, root: Path) -> dict[Path, str]:
    """Return the drawings of a study, its report among them, that are not files with content, each with the reason."""
    files = [file for name in study.figures for file in files_of(name)]
    tables = any(kind_of(name) == "tables" for name in study.figures)
    reasons = {}
    for file in [*files, *[DICTIONARY] * tables, REPORT_FILE]:
        path = root / "results" / study.study / file
        if not os.path.lexists(path):
            reasons[path] = "does not exist"
        elif not path.is_file():
            reasons[path] = "is not a file"
        elif not path.stat().st_size:
            reasons[path] = "is empty"
    return reasons


def spoiled(study: Study, root: Path) -> dict[Path, str]:
    """Return those of `undrawn` that lie there, so that Snakemake takes them for drawings."""
    return {path: why for path, why in undrawn(study, root).items() if os.path.lexists(path)}

"""Which files the figures and tables of a study are; paths are those inside ``results/<study>``."""

from __future__ import annotations

from typing import Literal

Kind = Literal["figures", "tables"]
FORMATS = ("pdf", "svg", "png")
# What the columns of all of them mean.
DICTIONARY = "tables/columns.csv"


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

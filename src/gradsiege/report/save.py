"""Figures and tables on disk, with the numbers behind them: the same bytes every time."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from gradsiege.artifacts import atomic
from gradsiege.pipeline.drawings import FORMATS, files_of
from gradsiege.report.columns import HEADINGS, dictionary
from gradsiege.report.data import Drawn
from gradsiege.report.tidy import tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 150
# Nothing that changes from run to run may enter a file: no dates, no random ids.
_METADATA: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "ModDate": None},
    "svg": {"Date": None},
    "png": {},
}
_SETTINGS: Any = {"svg.hashsalt": "gradsiege", "svg.fonttype": "path", "pdf.fonttype": 42}


def encode(figure: Figure, kind: str) -> bytes:
    """Return the bytes of a figure as 'pdf', 'svg' or 'png' (150 dpi)."""
    import matplotlib as mpl

    buffer = io.BytesIO()
    with mpl.rc_context(_SETTINGS):
        if figure.get_layout_engine() is not None:
            # Laid out once, then fixed: each further layout would move things by a hair.
            figure.draw_without_rendering()
            figure.set_layout_engine("none")
        figure.savefig(
            buffer,
            format=kind,
            dpi=DPI,
            metadata=_METADATA[kind],
            bbox_inches="tight",
            pad_inches=0.06,
        )
    return buffer.getvalue()


def save(drawn: Drawn, folder: Path, name: str) -> list[Path]:
    """Write the files of a figure or table (`pipeline/drawings.py`) into the results folder of its study.

    A figure's .csv and a table's _data.csv hold the measurements, one per row (`report/tidy.py`); a table's .csv holds
    what a reader sees. Each file appears whole or not at all: it is written under a temporary name in the same folder
    and then renamed. Returns the paths, the measurements last.
    """
    data = csv(tidy(drawn.data)).encode()
    if drawn.figure is None:
        # Without rows, `shown` has no headings either, and a file without headings cannot be read.
        view = drawn.data if drawn.shown is None else drawn.shown
        shown = drawn.data if view.columns.empty else view
        # With a mark, without which spreadsheet programs take minus signs and dashes for something else.
        contents = [csv(shown).encode("utf-8-sig"), data]
    else:
        contents = [*(encode(drawn.figure, kind) for kind in FORMATS), data]
    paths = [folder / file for file in files_of(name)]
    for path, content in zip(paths, contents, strict=True):
        with atomic(path) as temporary:
            temporary.write_bytes(content)
    return paths


def columns_file() -> str:
    """Return the column dictionary as the text of ``columns.csv``."""
    return csv(pd.DataFrame(dictionary(), columns=HEADINGS))


def csv(table: pd.DataFrame) -> str:
    """Return a table as text, the same on every machine."""
    return table.to_csv(index=False, lineterminator="\n")

"""Figures on disk: PDF, SVG, PNG and the plotted numbers, the same bytes every time."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradsiege.artifacts import atomic
from gradsiege.report.data import Drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("pdf", "svg", "png")
DPI = 150
# A file must not contain anything that changes from run to run, such as dates or random ids.
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
            # Lay out once and then fix it, since each further layout would move elements slightly.
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
    """Write `name`.pdf, .svg, .png and .csv into the folder (a table: the .csv alone).

    Writes are atomic: each file is written under a temporary name in the same folder
    and then renamed. Returns the paths, the CSV last.
    """
    kinds = FORMATS if drawn.figure is not None else ()
    contents = {kind: encode(drawn.figure, kind) for kind in kinds if drawn.figure is not None}
    contents["csv"] = drawn.data.to_csv(index=False, lineterminator="\n").encode()
    paths = []
    for kind, content in contents.items():
        path = folder / f"{name}.{kind}"
        with atomic(path) as temporary:
            temporary.write_bytes(content)
        paths.append(path)
    return paths

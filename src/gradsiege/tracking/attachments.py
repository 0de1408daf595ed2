"""The files attached to a study's own run: figures, tables and the report, without those that its data forbid to share."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from gradsiege import catalogue
from gradsiege.pipeline.drawings import DICTIONARY, files_of, kind_of
from gradsiege.sharing.restrictions import SHAREABLE, restricted_data
from gradsiege.study import Study

REPORT = "report.html"


def published(study: Study, root: Path) -> dict[str, Path]:
    """Return the files to attach, by their name on the server.

    These are ``figures/*.png``, ``tables/*.csv`` and ``report.html`` as far as they are drawn. Only files named after
    a figure or table of the catalogue count, and the dictionary of their columns; others in these folders are ignored.
    A study with a restricted data set shows only its tables.
    """
    drawn = _drawn(study, root)
    if not restricted_data(study):
        return drawn
    return {name: path for name, path in drawn.items() if _may_be_shown(name)}


def withheld(study: Study, root: Path) -> str:
    """Return a phrase about files that are not attached because of a data set's terms, or an empty string."""
    restricted = restricted_data(study)
    kept = [name for name in _drawn(study, root) if not _may_be_shown(name)]
    if not restricted or not kept:
        return ""
    return f"{len(kept)} withheld because {', '.join(restricted)} must not be passed on"


def attached(name: str) -> list[str]:
    """Of the files of a figure or table those that are attached: the picture, or all of a table.

    >>> attached("gallery"), attached("table_costs")
    (['figures/gallery.png'], ['tables/table_costs.csv', 'tables/table_costs_data.csv'])
    """
    files = files_of(name)
    return [file for file in files if kind_of(name) == "tables" or file.endswith(".png")]


def _drawn(study: Study, root: Path) -> dict[str, Path]:
    folder = root / "results" / study.study
    names = [file for name in sorted(catalogue.entries("figures")) for file in attached(name)]
    names += [DICTIONARY, REPORT]
    return {name: folder / name for name in names if (folder / name).is_file()}


def _may_be_shown(name: str) -> bool:
    """Return whether a file contains no image, by the rule of the shared bundles."""
    return PurePosixPath(name).parts[0] in SHAREABLE

"""What `publish` is asked for: names of figures and tables, or paths of their files in the study's results."""

from __future__ import annotations

from pathlib import PurePath

from gradsiege import catalogue
from gradsiege.errors import UsageError
from gradsiege.pipeline.drawings import DICTIONARY, files_of

REPORT, COLUMNS = "report", "columns"


def name_in(given: str, study: str) -> str:
    """Return the name of a figure or table, ``report`` or ``columns``, given as it is or as the path of one of its files.

    Args:
        given: ``gallery``, ``gallery.pdf``, ``figures/gallery.pdf`` or ``results/<study>/figures/gallery.pdf``.
        study: the name of the study that is drawn.

    Raises:
        UsageError: the path lies in another study's results, or no drawing has a file of that name.

    >>> name_in("gallery", "quick"), name_in("results/quick/tables/table_costs_data.csv", "quick")
    ('gallery', 'table_costs')
    """
    path = PurePath(given)
    if path.name == given and not path.suffix:
        return given
    stem = path.stem
    name = stem if _is_known(stem) else stem.removesuffix("_data")
    if not _is_known(name):
        return stem  # refused with the nearest known name where it is drawn
    files = _files(name)
    file = next((file for file in files if PurePath(file).name == path.name), None)
    if file is None:
        raise UsageError(f"{given} is not a file of {name}, whose files are {', '.join(files)}")
    usual = PurePath("results", study, file).parts
    common = min(len(usual), len(path.parts))
    if path.parts[-common:] != usual[-common:]:
        raise UsageError(f"{given} {_elsewhere(path, study, file)}; or write {name} alone")
    return name


def _is_known(name: str) -> bool:
    return name in (REPORT, COLUMNS) or name in catalogue.entries("figures")


def _files(name: str) -> tuple[str, ...]:
    return {REPORT: (f"{REPORT}.html",), COLUMNS: (DICTIONARY,)}.get(name) or files_of(name)


def _elsewhere(path: PurePath, study: str, file: str) -> str:
    """Return what is wrong with a path that is not that of `file` in the study's results."""
    depth = len(PurePath(file).parts)
    other = path.parts[-depth - 1 : -depth]
    if path.parts[-depth - 2 : -depth - 1] == ("results",) and other != (study,):
        return f"is of the study {other[0]}, and the study file is that of {study}; name the study file of {other[0]} by --study"
    return f"is not in the results of the study {study}, where the file is results/{study}/{file}"

"""Tables (CSV) that describe the pictures of a data set, read strictly."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath

from gradsiege.datasets.formats.pictures import Row
from gradsiege.datasets.formats.remarks import Remarks


def read_table(
    path: Path, needed: Collection[str], known: Collection[str] | None = None
) -> list[tuple[int, dict[str, str]]]:
    """Return (line number, values by column) of every line of a table in UTF-8, with or without a byte order mark.

    Args:
        path: of the table.
        needed: columns that must be there.
        known: all columns that may be there; None for any.

    Raises:
        ValueError: names the table, and the line or the columns.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            columns = list(reader.fieldnames or ())
            _check_columns(path.name, columns, needed, known)
            lines = [(reader.line_num, line) for line in reader]
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path.name} is not text in UTF-8: {error.reason}; save it as UTF-8"
        ) from error
    except csv.Error as error:
        raise ValueError(f"{path.name} is not a table (CSV): {error}") from error
    for number, line in lines:
        if None in line or None in line.values():
            raise ValueError(f"{path.name}, line {number}: too many or too few values")
    if not lines:
        raise ValueError(f"{path.name} has no line below its headings")
    return lines


def _check_columns(
    name: str, columns: list[str], needed: Collection[str], known: Collection[str] | None
) -> None:
    twice = next((column for column in columns if columns.count(column) > 1), None)
    if twice is not None:
        raise ValueError(f"{name} has the column {twice!r} twice; leave one out")
    unknown = [column for column in columns if known is not None and column not in known]
    if unknown or not set(needed) <= set(columns):
        may = f", known are {', '.join(known)}" if known is not None else ""
        has = f"has the columns {', '.join(columns)}" if columns else "is empty"
        raise ValueError(f"{name} {has}; the columns {' and '.join(needed)} are needed{may}")


def unnamed(paths: Iterable[str], rows: Iterable[Row], table: str) -> list[str]:
    """Return a sentence that counts the pictures that are there but not in the table, if there are any."""
    left_out, told = Remarks(), {row.path for row in rows}
    for path in paths:
        if path not in told:
            left_out.add(f"pictures that {table} does not name are left out", path)
    return left_out.sentences()


def by_name(paths: Iterable[str], what: str, stems: bool = True) -> dict[str, str]:
    """Return paths by their file names, without the endings if `stems`.

    Raises:
        ValueError: when two files have one name, so that a table cannot tell them apart.

    >>> by_name(["1/a.png", "2/b.png"], "images")
    {'a': '1/a.png', 'b': '2/b.png'}
    """
    paths_by_name: dict[str, str] = {}
    for path in paths:
        parsed = PurePosixPath(path)
        name = parsed.stem if stems else parsed.name
        if name in paths_by_name:
            raise ValueError(
                f"{what}: {paths_by_name[name]} and {path} have one name, so the table cannot tell them apart; remove one"
            )
        paths_by_name[name] = path
    return paths_by_name

"""An audit that can be saved: for people a page, for spreadsheets tables, for programs JSON."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from gradsiege import artifacts
from gradsiege.auditing.document import document
from gradsiege.auditing.page.page import render
from gradsiege.auditing.private import delete_parts, held, lock_up, private_folder
from gradsiege.auditing.result import Result
from gradsiege.auditing.tables import write_tables

PAGE, DOCUMENT, TABLES = "index.html", "audit.json", "tables"


@dataclass(frozen=True, eq=False, repr=False)
class Audit(Result):
    """What an audit found, as `gradsiege.audit` returns it."""

    def save(self, folder: Path | str, pictures: bool = True) -> Path:
        """Write ``index.html``, ``audit.json`` and ``tables``, which the owner of the folder alone may read.

        Args:
            folder: a new one, or that of `resume`.
            pictures: whether the page shows private pictures and their reconstructions. Without them nothing in the folder shows
                any: their names give way to numbers, and the finished parts of an audit that could go on are deleted.

        Returns:
            The page.
        """
        place = private_folder(Path(folder))
        shown = self if pictures else replace(self, names=())
        with held(place):
            artifacts.write_text(place / PAGE, render(shown, pictures))
            artifacts.write_json(place / DOCUMENT, document(shown))
            write_tables(shown, place / TABLES)
            if not pictures:
                delete_parts(place)
            lock_up(place)
        return place / PAGE

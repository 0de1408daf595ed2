"""`gradsiege claims`: every published claim with its verdict, as a table of text."""

from __future__ import annotations

import os
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from gradsiege.study import Study

if TYPE_CHECKING:
    from gradsiege.analysis.claims.evaluation import Outcome

STYLES = {
    "reproduced": "green",
    "weaker": "yellow",
    "undecided": "default",
    "not reproduced": "red",
    "not run": "dim",
}
WIDEST, NARROWEST = 200, 120


def claims(study: Study, root: Path, ledger: Path) -> str:
    """Return the tally, then the claims that the study judged, then the names of the others; a verdict reached on stand-in data says so.

    A table on a wide terminal, and a paragraph per claim on a narrow one.
    """
    from rich.console import Console
    from rich.table import Table

    from gradsiege.report.claim_words import tally
    from gradsiege.report.load import load_study
    from gradsiege.study.ledger import load

    load(ledger)  # A ledger that is missing or wrong is an error here; a report may lack one.
    outcomes = load_study(study, root, ledger).outcomes
    if not any(outcome.parts for outcome in outcomes):
        return (
            f"The study {study.study} has measured nothing yet that a claim asks for, so that all {len(outcomes)} claims are not run. Run the "
            "study first, or print the verdicts of all kept studies by gradsiege claims --kept."
        )
    judged = [outcome for outcome in outcomes if outcome.parts]
    others = dict.fromkeys(outcome.claim.id for outcome in outcomes if not outcome.parts)
    console = Console(file=StringIO(), width=_width(), force_terminal=_coloured())
    console.print(tally(outcomes), "\n", highlight=False)
    if console.width < NARROWEST:
        for outcome in judged:
            console.print(_paragraph(outcome), style=STYLES[outcome.verdict], highlight=False)
    else:
        table = Table(title=f"Claims and the study {study.study}", title_justify="left")
        table.add_column("Claim", no_wrap=True)  # an id can be searched for
        for name in ("Verdict", "Statement", "Claimed", "Measured", "Where and why"):
            table.add_column(name, overflow="fold")
        for outcome in judged:
            table.add_row(*_cells(outcome), style=STYLES[outcome.verdict])
        console.print(table)
    if others:
        console.print(
            f"Not run, for reasons that the report gives: {', '.join(others)}", highlight=False
        )
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().rstrip()


def _paragraph(outcome: Outcome) -> str:
    """Return a claim as lines of text, with what it claims and what was measured indented below it."""
    claim, verdict, statement, claimed, measured, where = _cells(outcome)
    said = (f"{claim}: {verdict}", statement, *claimed.split("\n"), *measured.split("\n"), where)
    return "\n  ".join(filter(None, said)) + "\n"


def _cells(outcome: Outcome) -> list[str]:
    """Return the columns of one outcome, with one line per comparison."""
    from rich.markup import escape

    from gradsiege.report.tables.table_claims import lines

    comparisons = lines(outcome)
    first = comparisons[0]
    named = (
        ": ".join(filter(None, (line["Comparison"], line["Measured"]))) for line in comparisons
    )
    held = dict.fromkeys(line["Claimed"] for line in comparisons)
    where = ". ".join(filter(None, (first["Where"], first["Why"])))
    head = (first["Claim"], first["Verdict"], first["Statement"])
    return [escape(text) for text in (*head, "\n".join(held), "\n".join(named), where)]


def _width() -> int:
    import shutil

    return min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns)


def _coloured() -> bool:
    import sys

    return sys.stdout.isatty() and "NO_COLOR" not in os.environ

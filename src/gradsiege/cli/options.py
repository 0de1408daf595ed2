"""Options and arguments that several verbs share, and the study that a verb works on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gradsiege import output
from gradsiege.ranges import Range

if TYPE_CHECKING:
    from gradsiege.study import Study

QUICK = Path("config/quick.yaml")


def number(allowed: Range) -> Callable[[float | None], float | None]:
    """Return a check that refuses a number outside a range, and NaN, which typer's own bounds accept."""

    def check(value: float | None) -> float | None:
        if value is not None and value not in allowed:
            raise typer.BadParameter(f"must be a number {allowed}, not {value}")
        return value

    return check


def folder(path: Path) -> Path:
    """Refuse a root that is not there, which would look like a study that lost everything."""
    if not path.is_dir():
        raise typer.BadParameter(
            f"{path} is not a folder; name the one that holds results/, or make it"
        )
    return path


StudyOption = Annotated[Path, typer.Option("--study", "-s", help="Study file.")]
RootOption = Annotated[
    Path, typer.Option("--root", callback=folder, help="Folder that holds results/ and scratch/.")
]
BudgetOption = Annotated[
    float | None,
    typer.Option(
        callback=number(Range(0)),
        help="Seconds after which to save progress and leave with code 75.",
    ),
]
CellArgument = Annotated[
    list[str], typer.Argument(help="Key of a cell: its ids joined by slashes. Several run in turn.")
]
StagedOption = Annotated[
    bool,
    typer.Option(
        "--staged",
        help="Run a shard for Snakemake: leave finished cells as they are, put new ones in scratch/staged, note failures there.",
    ),
]


def refuse_inside(to: Path, root: Path, *, but: Path | None = None) -> None:
    """Refuse an output folder below results/ or scratch/, which hold the studies' own files.

    but: the one folder below them that is allowed.
    """
    if but is not None and to.resolve() == but.resolve():
        return
    for kept, what in (("results", "the studies' cells"), ("scratch", "unfinished work")):
        place = root / kept
        if to.resolve().is_relative_to(place.resolve()):
            raise typer.BadParameter(
                f"--to {to}: choose a folder outside {place}, which holds {what}"
            )


def say(text: str) -> None:
    """Print a line or a report; its remedies name the study that it is about."""
    typer.echo(output.addressed(text))


def load_study(file: Path, root: Path = Path(), hash_all: bool = False) -> Study:
    """Read a study file, and what its sources list now; no verb changes what it reads."""
    from gradsiege.pipeline.cells import remember
    from gradsiege.pipeline.identity import identified
    from gradsiege.pipeline.places import check_folders
    from gradsiege.study import load

    output.remember_study(file, root, QUICK)
    read = load(file)
    check_folders(read, root)
    return remember(identified(read, root, hash_all))

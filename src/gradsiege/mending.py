"""`gradsiege mend`: complete a study, whatever happened to it; finished and sound cells stay as they are."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gradsiege import artifacts
from gradsiege.errors import ArtifactError, without_remedy
from gradsiege.inspection.verification import MOST, examine, verify
from gradsiege.pipeline import identity, places
from gradsiege.pipeline.drawings import spoiled
from gradsiege.pipeline.status import BROKEN, DAMAGED, DONE, MISSING, STALE, Status, failure
from gradsiege.sharing.programs import run, show
from gradsiege.study import Study

NOTHING = "Nothing to be done"
SNAKEFILE = "Snakefile"


@dataclass(frozen=True)
class Findings:
    """The state of a study's cells.

    Attributes:
        swaps: places, relative to the study's results, whose swap was interrupted.
        broken: damaged cells, and cells whose folder has files but no manifest.
        stale, missing: cells that Snakemake computes.
        sound: number of cells that are finished and agree with their checksums.
        drawings: what lies in place of a figure, table or report and is none, each with the reason.
        failed: the first error of an earlier run.
    """

    swaps: list[Path]
    broken: list[Status]
    stale: list[Status]
    missing: list[Status]
    sound: int
    drawings: dict[Path, str]
    failed: str


def mend(
    study: Study,
    root: Path,
    file: Path,
    cores: int | None = None,
    dry_run: bool = False,
    say: Callable[[str], None] = print,
) -> bool:
    """Complete interrupted swaps, set damaged folders aside, adopt sound cells, compute the rest; return whether all is sound.

    Args:
        study: the resolved study.
        root: folder of the repository, with results and scratch.
        file: the study file, for Snakemake.
        cores: cores for Snakemake; None leaves it to the profile.
        dry_run: print the plan and change nothing.
        say: receives every line for the user.

    Raises:
        ArtifactError: a source cannot be read, Snakemake works in this folder, or was killed in it, or cannot take the sound cells.
        SharingError: Snakemake is not installed.
    """
    if not (root / SNAKEFILE).is_file():
        raise ArtifactError(
            f"{root.resolve() / SNAKEFILE} does not exist; run this in the repository's folder"
        )
    locks = root / ".snakemake" / "locks"
    if not dry_run and locks.is_dir() and any(locks.iterdir()):
        raise ArtifactError(
            f"{locks} is not empty: another Snakemake works here, or was killed. Wait for it, or `snakemake --unlock`"
        )
    unreadable = identity.unreadable(study.datasets)
    if unreadable:
        raise ArtifactError(
            f"{unreadable}. Nothing that reads it can be computed: put that right, then run the same command again"
        )
    findings = look(study, root)
    for line in words(findings, study, root):
        say(line)
    if dry_run:
        say("Nothing was changed (--dry-run).")
        unfinished = findings.swaps or findings.broken or findings.stale or findings.missing
        return not (unfinished or findings.drawings)
    for path in places.settle(study, root):
        say(f"completed {path}")
    broken = look(study, root).broken if findings.swaps else findings.broken
    for place in (*(state.cell.folder(study, root) for state in broken), *findings.drawings):
        say(f"set aside {set_aside(place, study, root)}")
    choice = f"study={os.path.relpath(file, root)}"
    _adopt(root, choice, say)
    limit = [] if cores is None else ["--cores", str(cores)]
    show(root, "snakemake", *limit, "--config", choice)
    report, sound = verify(study, root)
    say(report)
    return sound


def look(study: Study, root: Path) -> Findings:
    """Compare every cell with its checksums; nothing is changed."""
    states = examine(study, root)
    half = [
        cell_status
        for cell_status in states
        if cell_status.state not in (*DONE, DAMAGED) and _is_half(cell_status, study, root)
    ]
    return Findings(
        swaps=places.interrupted(study, root),
        broken=[cell_status for cell_status in states if cell_status.state == DAMAGED] + half,
        stale=[cell_status for cell_status in states if cell_status.state == STALE],
        missing=[cell_status for cell_status in states if cell_status.state in (MISSING, BROKEN)],
        sound=sum(cell_status.state in DONE for cell_status in states),
        drawings=spoiled(study, root),
        failed=failure(states, study, root),
    )


def _is_half(cell_status: Status, study: Study, root: Path) -> bool:
    """Return whether a cell's folder has files but no manifest."""
    folder = cell_status.cell.folder(study, root)
    return not (folder / artifacts.MANIFEST).is_file() and folder.is_dir() and any(folder.iterdir())


def words(findings: Findings, study: Study, root: Path) -> list[str]:
    """Return the findings and the planned actions, one per line."""
    lines = [f"study {study.study}: {findings.sound} cells are finished and sound; they stay."]
    lines += [f"to complete: {path}, whose swap was interrupted" for path in findings.swaps]
    lines += [f"failed before: {findings.failed}"] if findings.failed else []
    aside = [
        f"{cell_status.cell.stage} {cell_status.cell.key}: {_reason(cell_status)}"
        for cell_status in findings.broken
    ]
    aside += [f"{path}, which {why}" for path, why in findings.drawings.items()]
    texts = [f"to set aside: {text}" for text in aside[:MOST]]
    if len(aside) > MOST:
        texts.append(f"to set aside: ... and {len(aside) - MOST} more")
    damaged = [cell_status for cell_status in findings.broken if cell_status.state == DAMAGED]
    computed = len(findings.stale) + len(findings.missing) + len(damaged)
    if computed:
        texts.append(
            f"to compute: {computed} cells and what reads them ({len(findings.stale)} made under other settings or from "
            f"other inputs, {len(findings.missing)} missing, {len(damaged)} damaged)"
        )
    return [*lines, *texts]


def _reason(cell_status: Status) -> str:
    """Return why a folder is set aside, without the advice to run `mend`."""
    return (
        without_remedy(cell_status.reason) if cell_status.state == DAMAGED else "it has no manifest"
    )


def set_aside(place: Path, study: Study, root: Path) -> Path:
    """Move a cell's folder, or what lies in place of a drawing, to ``scratch/aside``, where nothing reads it; return where it lies."""
    name = place.relative_to(root / "results" / study.study)
    base = root / "scratch" / "aside" / study.study / name
    free = (base.with_name(f"{base.name}.{number}") for number in itertools.count(1))
    target = next(path for path in free if not os.path.lexists(path))
    places.move(place, target)
    return target


def _adopt(root: Path, choice: str, say: Callable[[str], None]) -> None:
    """Let Snakemake take the sound cells as up to date, if it would compute one of them again."""
    options = ("sound", "--config", choice)
    answer = run(root, "snakemake", "--dry-run", *options)
    if answer.succeeded and NOTHING in answer.text:
        return
    answer = run(root, "snakemake", "--touch", "--forceall", *options)
    if not answer.succeeded:
        raise ArtifactError(f"Snakemake could not take the sound cells:\n{answer.end}")
    say("Snakemake takes the sound cells as up to date.")

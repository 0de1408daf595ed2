"""`gradsiege mend`: bring a study to its end, whatever happened to it; what is finished and sound stays as it is."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gradsiege import artifacts
from gradsiege.errors import MEND, ArtifactError
from gradsiege.inspection.verification import MOST, examine, verify
from gradsiege.pipeline import places
from gradsiege.pipeline.status import DAMAGED, DONE, MISSING, STALE, Status
from gradsiege.sharing.programs import run, show
from gradsiege.study import Study

NOTHING = "Nothing to be done"
SNAKEFILE = "Snakefile"


@dataclass(frozen=True)
class Findings:
    """What is wrong with a study, and what is right.

    Attributes:
        swaps: places, relative to the study's results, whose swap was interrupted.
        broken: damaged cells, and those whose folder holds files that no manifest vouches for.
        stale, missing: cells that Snakemake computes.
        sound: how many cells are finished and agree with their checksums.
    """

    swaps: list[Path]
    broken: list[Status]
    stale: list[Status]
    missing: list[Status]
    sound: int


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
        cores: of Snakemake; None leaves it to the profile.
        dry_run: say what would be done, and change nothing.
        say: takes every line that the user shall read.

    Raises:
        ArtifactError: Snakemake works in this folder, or was killed in it, or cannot take the sound cells.
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
    found = look(study, root)
    for line in words(found, study, root):
        say(line)
    if dry_run:
        say("Nothing was changed (--dry-run).")
        return not (found.swaps or found.broken or found.stale or found.missing)
    for path in places.settle(study, root):
        say(f"completed {path}")
    for one in look(study, root).broken if found.swaps else found.broken:
        say(f"set aside {set_aside(one, study, root)}")
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
    half = [one for one in states if one.state not in DONE and _is_half(one, study, root)]
    return Findings(
        swaps=places.interrupted(study, root),
        broken=[one for one in states if one.state == DAMAGED] + half,
        stale=[one for one in states if one.state == STALE],
        missing=[one for one in states if one.state == MISSING],
        sound=sum(one.state in DONE for one in states),
    )


def _is_half(one: Status, study: Study, root: Path) -> bool:
    """Whether files lie in a cell's place without a manifest."""
    folder = one.cell.folder(study, root)
    return not (folder / artifacts.MANIFEST).is_file() and folder.is_dir() and any(folder.iterdir())


def words(found: Findings, study: Study, root: Path) -> list[str]:
    """Return what was found and what will be done, a line for each thing."""
    lines = [f"study {study.study}: {found.sound} cells are finished and sound; they stay."]
    lines += [f"to complete: {path}, whose swap was interrupted" for path in found.swaps]
    texts = [
        f"to set aside: {one.cell.stage} {one.cell.key}: {_reason(one)}"
        for one in found.broken[:MOST]
    ]
    if len(found.broken) > MOST:
        texts.append(f"to set aside: ... and {len(found.broken) - MOST} more")
    damaged = [one for one in found.broken if one.state == DAMAGED]
    computed = len(found.stale) + len(found.missing) + len(damaged)
    if computed:
        texts.append(
            f"to compute: {computed} cells and what reads them ({len(found.stale)} made under other settings or from "
            f"other inputs, {len(found.missing)} missing, {len(damaged)} damaged)"
        )
    return [*lines, *texts]


def _reason(one: Status) -> str:
    """Why a folder is set aside, without the advice to do what is being done."""
    return one.reason.replace(MEND, "").strip() if one.state == DAMAGED else "it has no manifest"


def set_aside(one: Status, study: Study, root: Path) -> Path:
    """Move a cell's folder to ``scratch/aside``, where nothing reads it, and return where it lies."""
    base = root / "scratch" / "aside" / study.study / one.cell.stage / one.cell.key
    free = (base.with_name(f"{base.name}.{number}") for number in itertools.count(1))
    target = next(path for path in free if not path.exists())
    places.move(one.cell.folder(study, root), target)
    return target


def _adopt(root: Path, choice: str, say: Callable[[str], None]) -> None:
    """Let Snakemake take the sound cells as up to date, if it would compute one of them again."""
    options = ("sound", "--config", choice)
    said = run(root, "snakemake", "--dry-run", *options)
    if said.succeeded and NOTHING in said.text:
        return
    said = run(root, "snakemake", "--touch", "--forceall", *options)
    if not said.succeeded:
        raise ArtifactError(f"Snakemake could not take the sound cells:\n{said.end}")
    say("Snakemake takes the sound cells as up to date.")

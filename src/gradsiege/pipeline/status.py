"""The state of every cell of a study, from its manifest alone."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gradsiege import artifacts
from gradsiege.errors import MEND_COMMAND, ArtifactError
from gradsiege.pipeline import absent_data, identity, places, runner
from gradsiege.pipeline.cells import Cell, cells, digest
from gradsiege.study import Study

FINISHED, FAILED, STALE, DAMAGED, MISSING = "finished", "failed", "stale", "damaged", "missing"
BROKEN, ABSENT = "broken", "absent"
STATES = (FINISHED, FAILED, BROKEN, STALE, DAMAGED, MISSING, ABSENT)
DONE = (FINISHED, FAILED)


@dataclass(frozen=True)
class Status:
    """One cell: its state, the reason in words unless it is finished, and its manifest if it has a readable one.

    States: `finished`; `failed`, that is run to its end, with a failure that is counted; `stale`, made under
    other settings than the study's or from inputs that hold other bytes now; `damaged`; `broken`, whose last job for Snakemake
    failed and left nothing; `missing`, not run yet or still running; `absent`, which cannot be run before its data set is supplied.
    """

    cell: Cell
    state: str
    reason: str = ""
    manifest: dict[str, Any] = field(default_factory=dict)


def status(cell: Cell, study: Study, root: Path, absent: Mapping[str, str] | None = None) -> Status:
    """Return the state of one cell without reading its files, which `verification` does.

    `absent` is the result of `absent_data.absent` for the study; pass it when asking about many cells.
    """
    folder = cell.folder(study, root)
    if not os.path.lexists(folder / artifacts.MANIFEST):
        lacking = absent_data.absent(study, root) if absent is None else absent
        reason = absent_data.waits_for(cell, study, lacking)
        return Status(cell, ABSENT, reason) if reason else _not_there(cell, study, root)
    try:
        manifest = artifacts.read_manifest(folder)
    except ArtifactError as error:
        return Status(cell, DAMAGED, str(error))
    recorded, wanted = manifest.get("digest"), digest(cell, study)
    if recorded != wanted:
        changed = identity.why_stale(manifest, study.one("datasets", cell.dataset))
        settings = f"made under other settings (digest {recorded}, the study's is {wanted})"
        reason = changed or settings
        return Status(cell, STALE, reason, manifest)
    changed = places.outdated(manifest, study, root)
    if changed:
        reason = f"made from another {changed} than lies there now"
        return Status(cell, STALE, reason, manifest)
    if manifest.get("status") == "failed":
        return Status(cell, FAILED, str(manifest.get("reason", "")), manifest)
    return Status(cell, FINISHED, "", manifest)


def _not_there(cell: Cell, study: Study, root: Path) -> Status:
    """Return the state of a cell that could be run and has no manifest, by the note of its last job (`runner.note_of`)."""
    note = runner.note_of(cell, study, root)
    if not note.is_file():
        return Status(cell, MISSING, "not run yet")
    log = runner.log_of(cell, study, root)
    if runner.deaths_of(note):
        return Status(cell, MISSING, f"it runs now, or its process died; read {log}")
    return Status(cell, BROKEN, f"its last job failed ({note.read_text().strip()}); read {log}")


def failure(states: Iterable[Status], study: Study, root: Path) -> str:
    """Return why the last job of the first failed cell of these failed, by its log, or an empty string; done cells are passed over."""
    for cell_status in states:
        cell = cell_status.cell
        note, log = runner.note_of(cell, study, root), runner.log_of(cell, study, root)
        if cell_status.state in DONE or not note.is_file() or runner.deaths_of(note):
            continue
        text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
        # An error is what a job says last; one of the program is the last line of its traceback.
        last = (text.strip() or note.read_text().strip()).splitlines()[-1]
        last = last.removeprefix("gradsiege: error: ").split(f" `{MEND_COMMAND}")[0].rstrip(" .")
        return f"{cell.stage} {cell.key}: {last} (its log is {log})"
    return ""


def obstacle(states: Iterable[Status], study: Study, root: Path) -> str:
    """Return what to put right before any job can help, as a sentence: a source, or the cause of the last failure; or ""."""
    reasons = identity.unreadable(study.datasets) or failure(states, study, root)
    return f"First put this right: {reasons}." if reasons else ""


def before_remedy(states: Iterable[Status], study: Study, root: Path) -> str:
    """Return the obstacle as the beginning of the sentence that names `gradsiege mend`, or an empty string."""
    first = obstacle(states, study, root)
    return f"{first} Then " if first else ""


def survey(study: Study, root: Path) -> dict[str, list[Status]]:
    """Return the state of every cell of the study, by stage."""
    absent = absent_data.absent(study, root)
    return {
        stage: [status(cell, study, root, absent) for cell in of_stage]
        for stage, of_stage in cells(study).items()
    }


def count(states: Iterable[Status]) -> Counter[str]:
    """Return the number of cells per state."""
    return Counter(status.state for status in states)


def aligned(rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Return rows as text columns, the first `left` ones aligned left and the others right.

    >>> print(aligned([["stage", "cells"], ["fetch", "1"]]))
    stage  cells
    fetch      1
    """
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = []
    for row in rows:
        parts = [
            text.ljust(width) if place < left else text.rjust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines)

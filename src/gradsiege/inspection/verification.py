"""`gradsiege verify`: compare the files on disk with their manifests and with the study."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from gradsiege import arithmetic, artifacts
from gradsiege.errors import MEND, ArtifactError
from gradsiege.pipeline.cells import Cell
from gradsiege.pipeline.drawings import spoiled
from gradsiege.pipeline.stage import STAGES
from gradsiege.pipeline.status import (
    ABSENT,
    BROKEN,
    DAMAGED,
    DONE,
    FAILED,
    FINISHED,
    MISSING,
    STALE,
    Status,
    before_remedy,
    count,
    status,
    survey,
)
from gradsiege.study import Study

FOREIGN = "foreign"
DEFECT = "defect"
MOST = 20  # lines of one sort; the rest is counted


def verify(
    study: Study, root: Path, partial: bool = False, stages: Sequence[str] = tuple(STAGES)
) -> tuple[str, bool]:
    """Return (report, whether the study is complete and sound).

    Missing, broken, stale and damaged cells make a study unsound. A failed cell does not, since a failure is a result that
    is counted; nor does a folder that no cell of the study owns, since no stage reads it; nor a cell whose data set was
    not supplied. Nor does an account of privacy that an attack refutes, since the files are as they were made; it is listed as
    a defect of the method. A folder or an empty file in place of a drawing or the report is damage. With `partial`, as after restoring one bundle, missing and broken cells are not a fault either. Only
    `stages` are looked at.
    """
    examined = examine(study, root, stages)
    counts = count(examined)
    foreign = foreign_paths(study, root, [cell_status.cell for cell_status in examined], stages)
    faults = (STALE, DAMAGED) if partial else (STALE, DAMAGED, BROKEN, MISSING)
    # They have no manifests: only a folder or an empty file in place of one is noticed.
    drawings = spoiled(study, root) if set(stages) == set(STAGES) else {}
    sound = not any(counts[state] for state in faults) and not drawings
    states: tuple[str, ...] = (FINISHED, FAILED, STALE, DAMAGED, MISSING)
    states += tuple(state for state in (BROKEN, ABSENT) if counts[state])
    lines = [
        f"study {study.study}: {len(examined)} cells: "
        + ", ".join(f"{counts[state]} {state}" for state in states)
        + f"; {len(foreign)} foreign"
    ]
    for state in (DAMAGED, STALE, BROKEN, MISSING, FAILED):
        texts = [
            f"{cell_status.cell.stage} {cell_status.cell.key}: {cell_status.reason}"
            for cell_status in examined
            if cell_status.state == state
        ]
        lines += _listed(state, texts)
    lines += _listed(DAMAGED, [f"{path} {why}" for path, why in drawings.items()])
    waiting = Counter(cell_status.reason for cell_status in examined if cell_status.state == ABSENT)
    lines += _listed(ABSENT, [f"{number} cells: {reason}" for reason, number in waiting.items()])
    lines += _listed(FOREIGN, [f"{path} belongs to no cell of the study" for path in foreign])
    lines += _instructions(examined)
    if sound and "score" in stages:
        lines += _listed(DEFECT, privacy_defects(study, root))
    if sound:
        every = (
            f"Every cell is there but {counts[ABSENT]} without data,"
            if waiting
            else "Every cell is there,"
        )
        what = "What is there was" if partial else every
        lines.append(f"{what} made under the study's settings, and intact.")
    else:
        lines.append(f"Not sound. {before_remedy(examined, study, root)}{MEND}")
    return "\n".join(lines), sound


def examine(study: Study, root: Path, stages: Sequence[str] = tuple(STAGES)) -> list[Status]:
    """Return the state of every cell of the stages, its files compared with their checksums."""
    surveyed = survey(study, root)
    return [
        _with_files(cell_status, study, root) for stage in stages for cell_status in surveyed[stage]
    ]


def verify_cell(cell: Cell, study: Study, root: Path) -> Status:
    """Return the state of one cell, its files compared with their checksums."""
    return _with_files(status(cell, study, root), study, root)


def _with_files(cell_status: Status, study: Study, root: Path) -> Status:
    """Look at the files of a cell that is done."""
    if cell_status.state not in DONE:
        return cell_status
    folder = cell_status.cell.folder(study, root)
    unlisted = [
        name
        for name in STAGES[cell_status.cell.stage].outputs
        if name not in cell_status.manifest["files"]
    ]
    problems = [f"{folder / artifacts.MANIFEST} does not list {name}" for name in unlisted]
    try:
        problems += artifacts.verify_folder(folder)
    except ArtifactError as error:
        problems.append(str(error))
    if not problems:
        return cell_status
    return Status(cell_status.cell, DAMAGED, "; ".join(problems), cell_status.manifest)


def foreign_paths(
    study: Study, root: Path, owned: list[Cell], stages: Sequence[str] = tuple(STAGES)
) -> list[Path]:
    """Return folders, and files in cells' folders, that no cell of the study owns; only `stages` are looked at."""
    base = root / "results" / study.study
    folders = {cell.folder(study, root): STAGES[cell.stage].outputs for cell in owned}
    ancestors = {parent for folder in folders for parent in folder.parents}
    # A study that was shared has an empty folder where it has no cells of a stage.
    ancestors |= {base / stage for stage in stages}
    paths: list[Path] = []
    # Figures, tables and the report lie beside the stages and are not cells.
    for stage in stages:
        for here, below, files in os.walk(base / stage):
            path = Path(here)
            expected = folders.get(path)
            if expected is not None:
                known = (*expected, artifacts.MANIFEST)
                paths += [
                    path / name for name in files if name not in known and not name.startswith(".")
                ]
                # A folder instead of one of its files is damage of the cell.
                below[:] = [name for name in below if name not in known]
            elif path not in ancestors:
                paths.append(path)
                below.clear()
    return sorted(paths)


def privacy_defects(study: Study, root: Path) -> list[str]:
    """Return a sentence on every defense whose accounted epsilon identification refutes; scores are read only if there may be one."""
    accounted = any(defense.name == "dp_sgd" for defense in study.defenses)
    if not accounted or not any(threat.candidates for threat in study.threat_models):
        return []
    from gradsiege.report.load import load_study
    from gradsiege.report.privacy_account import defects

    return defects(load_study(study, root))


def _instructions(examined: list[Status]) -> list[str]:
    """Return a line about finished cells that were computed with unlike instructions; none if all were computed alike."""
    used = Counter(
        arithmetic.summary(cell_status.manifest["environment"].get("arithmetic", {}))
        for cell_status in examined
        if cell_status.state == FINISHED
    )
    if len(used) < 2:
        return []
    counted = ", ".join(f"{number} with {name}" for name, number in sorted(used.items()))
    return [
        f"Cells were computed with different processor instructions: {counted}. Means of attacks can differ by decibels "
        "between them; compare attacks only within one kind."
    ]


def _listed(state: str, texts: list[str]) -> list[str]:
    lines = [f"  {state:<8}{text}" for text in texts[:MOST]]
    if len(texts) > MOST:
        lines.append(f"  {state:<8}... and {len(texts) - MOST} more")
    return lines

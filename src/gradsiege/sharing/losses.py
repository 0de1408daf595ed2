"""Finished cells that lie here and that a restored state does not have."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from gradsiege.errors import ArtifactError
from gradsiege.inspection.verification import verify_cell
from gradsiege.pipeline.cells import Cell, cells
from gradsiege.pipeline.stage import STAGES
from gradsiege.pipeline.status import DONE
from gradsiege.sharing import contents
from gradsiege.sharing.contents import LOCK, Content
from gradsiege.study import Study


def refuse_losses(recorded: Iterable[Content], cache: Path, study: Study, root: Path) -> None:
    """Refuse to put files in place that would remove or replace finished, sound cells of the study.

    Args:
        recorded: the outputs that `dvc.lock` names, whose listings lie in the cache.
        cache: DVC's cache.
        study: the study with the hashes of its sources.
        root: folder of `results`.

    Raises:
        ArtifactError: there is such a cell; names the first and what to do.
    """
    outputs = list(recorded)
    listed = {
        str(file.path): file.name for output in outputs for file in contents.files(output, cache)
    }
    lost = [
        cell
        for stage in STAGES
        for cell in cells(study)[stage]
        if _is_covered(cell.folder(study, root), root, outputs)
        and _differs(cell.folder(study, root), root, listed)
        and verify_cell(cell, study, root).state in DONE
    ]
    if lost:
        raise ArtifactError(
            f"{len(lost)} finished cells would be lost, such as {_named(lost[0])}: {LOCK}, as it stands, does not have them as they "
            f"are here. Take the {LOCK} that `gradsiege share` wrote for them (`git log {LOCK}`), or move their folders out of "
            "results first"
        )


def _named(cell: Cell) -> str:
    return f"{cell.stage} {cell.key}"


def _is_covered(folder: Path, root: Path, outputs: Iterable[Content]) -> bool:
    """Return whether a folder lies in what would be put in place."""
    return any(folder.is_relative_to(root / output.path) for output in outputs)


def _differs(folder: Path, root: Path, listed: dict[str, str]) -> bool:
    """Return whether a folder holds a file that is not listed with the same content."""
    return any(
        listed.get(path.relative_to(root).as_posix()) != contents.md5_of(path)
        for path in folder.rglob("*")
        if path.is_file()
    )

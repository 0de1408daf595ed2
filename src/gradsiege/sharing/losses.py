"""Finished cells that lie here and that a restored state does not have."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from gradsiege import artifacts
from gradsiege.errors import ArtifactError, in_words
from gradsiege.inspection.verification import verify_cell
from gradsiege.pipeline.cells import cells
from gradsiege.pipeline.places import is_whole
from gradsiege.pipeline.status import DAMAGED, DONE
from gradsiege.sharing import contents
from gradsiege.sharing.contents import LOCK, Content
from gradsiege.study import Study


def refuse_losses(recorded: Iterable[Content], cache: Path, study: Study, root: Path) -> None:
    """Refuse to put files in place that would remove or replace finished, sound cells.

    The study file may be as old as `dvc.lock`. So cells that the study does not have are kept as well, and cells of its own that were
    made under other settings, unless `dvc.lock` has later ones in their place.

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
        root / file.path: file for output in outputs for file in contents.files(output, cache)
    }
    owned = {
        cell.folder(study, root): cell for of_stage in cells(study).values() for cell in of_stage
    }
    lost = []
    for output in outputs:
        for manifest in sorted((root / output.path).rglob(artifacts.MANIFEST)):
            folder = manifest.parent
            if not _differs(folder, listed):
                continue
            state = verify_cell(owned[folder], study, root).state if folder in owned else ""
            if state in DONE or (
                state != DAMAGED and is_whole(folder) and not _is_later(manifest, listed, cache)
            ):
                key = folder.relative_to(root / output.path).as_posix()
                lost.append(f"{output.path.name} {key}")
    if lost:
        raise ArtifactError(
            f"{len(lost)} finished cells would be lost, such as {lost[0]}: {LOCK}, as it stands, does not have them as they "
            f"are here. Take the {LOCK} that `gradsiege share` wrote for them, and the study file of that commit (`git log {LOCK}`), "
            "or move their folders out of results first"
        )


def _differs(folder: Path, listed: Mapping[Path, Content]) -> bool:
    """Return whether a folder holds a file that is not listed with the same content."""
    return any(
        path not in listed or listed[path].name != contents.md5_of(path)
        for path in folder.rglob("*")
        if path.is_file()
    )


def _is_later(manifest: Path, listed: Mapping[Path, Content], cache: Path) -> bool:
    """Return whether the cell that is listed at the path of a whole one was begun after it."""
    if manifest not in listed:
        return False
    place = cache / listed[manifest].object
    try:
        begun = float(json.loads(place.read_text(encoding="utf-8"))["started"])
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"the shared {manifest} is damaged: {in_words(error)}") from error
    return begun > float(artifacts.read_manifest(manifest.parent)["started"])

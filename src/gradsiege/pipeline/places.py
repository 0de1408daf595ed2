"""The folders of a cell, and the swap that puts a finished cell in its place.

The place of a cell is ``results/<study>/<stage>/<key>``. Its files are written to a draft, ``scratch/staged/<study>/computed/<digest>``,
and sealed there by a manifest. The swap then moves what lay in the place to ``replaced/<stage>/<key>`` beside the drafts, moves
the draft to the place, and deletes what was replaced. A process that dies in between leaves the old cell and the new one whole, and
`settle` completes the swap. Snakemake's jobs take drafts by the same moves (`take` in ``workflow/rules/common.smk``).
"""

from __future__ import annotations

import contextlib
import errno
import functools
import itertools
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradsiege import artifacts
from gradsiege.errors import ArtifactError, StudyError, UsageError
from gradsiege.pipeline.cells import Cell, cells, digest, parse_key
from gradsiege.pipeline.stage import STAGES

if TYPE_CHECKING:
    from gradsiege.study import Study

READS = "reads"  # key of a manifest: what the cell read, with checksums


def staged_folder(study: Study, root: Path) -> Path:
    """Return the folder of the drafts of a study."""
    return root / "scratch" / "staged" / study.study


def check_folders(study: Study, root: Path) -> None:
    """Refuse anything but a folder where a folder of the study belongs: of its results, logs and drafts, and above its cells.

    Raises:
        UsageError: the message names the first that is none.
    """
    name, of_stages = study.study, cells(study)
    inner = {f"{cell.stage}/{cell.key}" for cells_of in of_stages.values() for cell in cells_of}
    inner = {path.rpartition("/")[0] for path in inner}
    inner |= {
        "figures",
        "tables",
        "drawings",
        "engines",
        *(f"shards/{stage}" for stage in of_stages),
    }
    results, staged = f"results/{name}", f"scratch/staged/{name}"
    bases = (results, f"{results}/logs", f"{results}/benchmarks", f"{staged}/replaced")
    leaves = {f"{base}/{path}" for base in (*bases, f"scratch/aside/{name}") for path in inner}
    seen: set[str] = set()
    # Strings, since a study of ten thousand cells has thousands of folders, and every verb begins with this.
    for leaf in sorted(leaves | {f"{staged}/computed", f"scratch/shards/{name}"}):
        for folder in itertools.accumulate(leaf.split("/"), "{}/{}".format):
            if folder in seen:
                continue
            seen.add(folder)
            if os.path.isdir(f"{root}/{folder}") or not os.path.lexists(f"{root}/{folder}"):  # noqa: PTH112
                continue
            place = root / folder
            kind = "a file" if place.is_file() else "not a folder"
            raise UsageError(
                f"{place} is {kind}, where the folder of that name belongs; move it away, or name another --root"
            )


def draft_of(cell: Cell, study: Study, root: Path) -> Path:
    """Return the folder in which a cell is written and waits to be taken to its place."""
    return staged_folder(study, root) / "computed" / digest(cell, study)


def replaced_of(cell: Cell, study: Study, root: Path) -> Path:
    """Return the folder of a cell's old files while the new ones are put in place."""
    return staged_folder(study, root) / "replaced" / cell.stage / cell.key


def is_whole(folder: Path) -> bool:
    """Return whether the folder has a manifest and every file agrees with it."""
    try:
        return not artifacts.verify_folder(folder)
    except ArtifactError:
        return False


def is_current(folder: Path, cell: Cell, study: Study, root: Path) -> bool:
    """Return whether a folder holds the whole cell, made under the study's settings from its present inputs."""
    if not (folder / artifacts.MANIFEST).is_file():
        return False
    try:
        manifest = artifacts.read_manifest(folder)
    except ArtifactError:
        return False
    current = manifest.get("digest") == digest(cell, study)
    return current and not outdated(manifest, study, root) and is_whole(folder)


def outdated(manifest: Mapping[str, Any], study: Study, root: Path) -> str:
    """Return the first file that has changed since a cell read it, relative to the study's results, or an empty string.

    Files of absent or damaged cells are ignored, and so are manifests of an earlier version, which do not record inputs.
    """
    results = root / "results" / study.study
    for name, checksum in manifest.get(READS, {}).items():
        path = results / name
        if checksum_of(path) not in ("", checksum):
            return str(name)
    return ""


def checksum_of(path: Path) -> str:
    """Return the SHA-256 that the manifest beside a file records for it, or an empty string if there is none."""
    try:
        entry = (path.parent / artifacts.MANIFEST).stat()
    except OSError:
        return ""
    return _checksums(path.parent, entry.st_mtime_ns, entry.st_size).get(path.name, "")


@functools.lru_cache(maxsize=20_000)
def _checksums(folder: Path, moment: int, size: int) -> dict[str, str]:
    """Return the checksums of a folder's files; a change of `moment` or `size` of its manifest makes the cache read it again."""
    try:
        files = artifacts.read_manifest(folder)["files"]
    except ArtifactError:
        return {}
    return {name: file["sha256"] for name, file in files.items()}


def swap(draft: Path, place: Path, replaced: Path) -> None:
    """Put a sealed draft in its place; what lay there is deleted when the draft has arrived.

    Files beside those of the old cell stay.

    Raises:
        ArtifactError: another process moved one of the folders; the place holds the old cell or a new one.
    """
    wanted = artifacts.read_manifest(draft)["digest"]
    try:
        if os.path.lexists(place):
            _discard(replaced)
            move(place, replaced)
        move(draft, place)
    except (FileNotFoundError, FileExistsError) as error:
        if not place.exists() and replaced.exists():
            move(replaced, place)
        if not is_whole(place) or artifacts.read_manifest(place)["digest"] != wanted:
            raise ArtifactError(f"{draft} {artifacts.REMOVED}") from error
    _clear(replaced, place)
    # Temporary files that another process wrote to the same draft.
    artifacts.sweep_up(place)
    _prune(draft.parent)


def complete(draft: Path, place: Path, replaced: Path) -> bool:
    """Complete a swap that was interrupted, and return whether there was one. A whole cell is never lost.

    A sealed draft whose place holds nothing whole is put there as well: its process died before the swap.
    """
    if replaced.is_dir():
        if not place.exists():
            move(draft if is_whole(draft) else replaced, place)
        _clear(replaced, place)
        return True
    if is_whole(draft) and not is_whole(place):
        swap(draft, place, replaced)
        return True
    return False


def interrupted(study: Study, root: Path) -> list[Path]:
    """Return the places, relative to the study's results, whose swap was begun and not completed."""
    base = staged_folder(study, root) / "replaced"
    return [
        path.relative_to(base)
        for stage in STAGES.values()
        for path in sorted(base.glob("/".join([stage.name, *["*"] * len(stage.fields)])))
        if path.is_dir()
    ]


def sweep(study: Study, root: Path) -> None:
    """Empty the staged folder as a run ends well, but for whole cells of the study that no job has taken.

    A run that was limited to some rules (``--until``) leaves those cells of its shards that it did not ask for; the next run takes them.
    """
    base = staged_folder(study, root)
    drafts = {path.name for path in (base / "computed").glob("*/") if is_whole(path)}
    waiting = drafts and drafts & {
        digest(cell, study) for of in cells(study).values() for cell in of
    }
    for path in [*(base / "computed").glob("*"), *base.glob("*")]:
        kept = path.name.partition(".")[0] in waiting or (path.name == "computed" and waiting)
        if not kept and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif not kept:
            path.unlink(missing_ok=True)
    _prune(base)


def settle(study: Study, root: Path) -> list[Path]:
    """Complete every interrupted swap of a study and return their places."""
    places = interrupted(study, root)
    for path in places:
        key = "/".join(path.parts[1:])
        try:
            draft = draft_of(parse_key(path.parts[0], key, study), study, root)
        except StudyError:
            # The study has no such cell any more: the old files go back.
            draft = staged_folder(study, root) / "computed" / "none"
        place = root / "results" / study.study / path
        complete(draft, place, staged_folder(study, root) / "replaced" / path)
    return [root / "results" / study.study / path for path in places]


def move(source: Path, target: Path) -> None:
    """Rename a folder or file; between two file systems, copy it under a hidden name first."""
    artifacts.make_folder(target.parent)
    try:
        source.rename(target)
    except OSError as error:
        if error.errno == errno.ENOTEMPTY:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from error
        if error.errno != errno.EXDEV:
            raise
        hidden = target.with_name(f".{target.name}{artifacts.PART}")
        shutil.rmtree(hidden, ignore_errors=True)
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, hidden)
        hidden.rename(target)
        _discard(source)


def _clear(replaced: Path, place: Path) -> None:
    """Delete the replaced files, and keep other files, which do not belong to the cell."""
    if replaced.is_symlink() or not replaced.is_dir():
        # Only the link is removed: the folder that it leads to belongs to somebody else.
        _discard(replaced)
        _prune(replaced.parent)
        return
    _remove_manifest(replaced)
    # Unless another process has cleared it.
    with contextlib.suppress(FileNotFoundError):
        for path in replaced.iterdir():
            if path.suffix != artifacts.PART and not (place / path.name).exists():
                path.rename(place / path.name)
    _discard(replaced)
    _prune(replaced.parent)


def _discard(folder: Path) -> None:
    """Delete a cell's folder, its manifest first: a folder that is half deleted vouches for nothing. Of a link, delete the link."""
    if folder.is_symlink() or folder.is_file():
        folder.unlink(missing_ok=True)
        return
    _remove_manifest(folder)
    shutil.rmtree(folder, ignore_errors=True)


def open_draft(draft: Path, outputs: Iterable[str]) -> None:
    """Make the folder of a draft ready to be written to.

    The manifest of an earlier draft must not vouch for the files of this one, and no folder may stand where a file belongs.
    """
    if draft.is_symlink() or draft.is_file():
        _discard(draft)
    artifacts.make_folder(draft)
    _remove_manifest(draft)
    for name in outputs:
        if (draft / name).is_dir():
            _discard(draft / name)


def _remove_manifest(folder: Path) -> None:
    """Delete the manifest of a folder, even one that is a folder itself."""
    manifest = folder / artifacts.MANIFEST
    if manifest.is_dir() and not manifest.is_symlink():
        shutil.rmtree(manifest)
        return
    manifest.unlink(missing_ok=True)


def _prune(folder: Path) -> None:
    """Remove folders on the way to scratch that have become empty."""
    with contextlib.suppress(OSError):
        while folder.name != "scratch":
            folder.rmdir()
            folder = folder.parent

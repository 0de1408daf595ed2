"""What a source lists, as part of the identity of all cells that read it.

A data set whose files have published checksums is identified by its version. Any other one is identified by what its source
lists: the pictures' paths, labels, groups, official parts and sizes, and for pictures of one's own their contents. A study is
given these hashes once a process (`identified`), so that every digest contains them. Jobs of a running Snakemake are told
what the source listed when it was started; `confirm` refuses a source that has changed since. Where a source is not on this
machine, the hashes are those that the study's finished cells record.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gradsiege import artifacts
from gradsiege.datasets.sources import supply
from gradsiege.errors import ArtifactError
from gradsiege.pipeline.stage import STAGES
from gradsiege.progress import track
from gradsiege.study import Dataset, Study

VARIABLE = "GRADSIEGE_SOURCES"
# Pictures of one's own; those of other sets are as their publisher made them, and 1.2 million are not read for a plan.
HASHED = ("image_folder", "image_manifest")
UNREADABLE = "unreadable"
# A file that changed less than this before it was hashed may change again within one tick of its clock.
SETTLED_NS = 2_000_000_000
WORDS = {
    # One hash of all paths in their order, which decides the split, tells no more.
    "pictures": "lists other pictures, or the same in another order",
    "labels": "lists other labels",
    "groups": "lists other groups",
    "parts": "lists other parts",
    "contents": "holds pictures with other contents",
    "sizes": "holds pictures of other sizes",
}


def depends_on_source(name: str, parameters: Mapping[str, Any]) -> bool:
    """Whether a data set is read from a file without a published checksum."""
    return any(not file.digest for file in supply.files_of(name, parameters))


def identified(study: Study, root: Path = Path(), hash_all: bool = False) -> Study:
    """Return the study with what its sources list now.

    Args:
        study: as read from its file.
        root: of the results, whose finished cells record what an absent source listed, and of the cache in scratch.
        hash_all: hash pictures whose size and times are those of an earlier hash, too.
    """
    told = json.loads(os.environ.get(VARIABLE, "{}")).get(study.study, {})
    found = []
    for item in study.datasets:
        if not depends_on_source(item.name, item.parameters):
            found.append(item)
            continue
        source = told.get(item.id)
        if source is None:
            source = source_of(item, root, hash_all) or recorded(item, study, root)
        found.append(item.model_copy(update={"source": source}))
    return study.model_copy(update={"datasets": found})


def tell_jobs(study: Study) -> None:
    """Have the processes that this one starts take the sources for what they are in `study`."""
    told = {
        item.id: item.source
        for item in study.datasets
        if depends_on_source(item.name, item.parameters)
    }
    if told:
        os.environ[VARIABLE] = json.dumps({study.study: told})


def source_of(item: Dataset, root: Path = Path(), hash_all: bool = False) -> dict[str, str]:
    """Return hashes of what the source of a data set lists, or nothing if the source is not there.

    A source that cannot be read is identified by the sentence that says why.
    """
    if supply.missing(item.name, item.parameters):
        return {}
    module, (folder, _) = supply.module_of(item.name), supply.place_of(item.name, item.parameters)
    try:
        listing = module.listing(folder, module.Parameters(**item.parameters))
        found = {
            "pictures": _hash(listing.paths),
            "labels": _hash([*listing.classes, *listing.labels.tolist()]),
            "groups": _hash(() if listing.groups is None else listing.groups.tolist()),
            "parts": _hash(() if listing.tested is None else listing.tested.tolist()),
        }
        # Text, since paths as objects cost more than all else where there are a million.
        paths = [f"{folder}/{path}" for path in listing.paths]
        if item.name in HASHED:
            return found | {"contents": _hash(_contents(item, paths, root, hash_all))}
        return found | {"sizes": _hash(os.stat(path).st_size for path in paths)}  # noqa: PTH116
    except FileNotFoundError:
        # A table whose pictures lie on a disk that is not there.
        return {}
    except (ValueError, OSError) as error:
        return {UNREADABLE: _without_places(str(error))}


def recorded(item: Dataset, study: Study, root: Path) -> dict[str, str]:
    """Return what finished cells of the study say that the source listed; nothing if none says so."""
    base = root / "results" / study.study
    for stage in STAGES:
        for path in sorted((base / stage / item.id).rglob(artifacts.MANIFEST)):
            try:
                told = artifacts.read_manifest(path.parent)["settings"]["dataset"]
            except (ArtifactError, KeyError, TypeError):
                # Of an older version or damaged: `verify` says so, and it records nothing here.
                continue
            if (told.get("name"), told.get("parameters")) == _plain(item):
                return dict(told.get("source", {}))
    return {}


def confirm(item: Dataset, root: Path) -> None:
    """Refuse a source that lists something else than the study was given.

    Raises:
        ArtifactError: says what has changed. A source that is not there is left to `supply.check`.
    """
    now = source_of(item, root) if item.source else {}
    if now and now != item.source:
        raise ArtifactError(
            f"datasets.{item.id}: the source {difference(item.source, now)} than when the study was started; "
            "start it again, and all that reads the source is made anew"
        )


def difference(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Return in words how a source differs from what is recorded; an empty string if it does not.

    >>> difference({"pictures": "a", "labels": "b"}, {"pictures": "a", "labels": "c"})
    'lists other labels'
    """
    if UNREADABLE in now and before != now:
        return f"cannot be read ({now[UNREADABLE]}), and was another"
    changed = [words for key, words in WORDS.items() if before.get(key) != now.get(key)]
    if "pictures" in before and changed[:1] == [WORDS["pictures"]]:
        # Labels and all else are lists in the order of the pictures, and differ with them.
        return changed[0]
    return " and ".join(changed)


def why_stale(manifest: Mapping[str, Any], item: Dataset) -> str:
    """Return in words how the source of a data set differs from the one that a finished cell read, or an empty string."""
    try:
        told = manifest["settings"]["dataset"]
    except (KeyError, TypeError):
        return ""
    if (told.get("name"), told.get("parameters")) != _plain(item) or not item.source:
        return ""
    before = told.get("source", {})
    if not before:
        return f"what the source of {item.id} listed was not recorded"
    if UNREADABLE in item.source and before != item.source:
        return f"the source of {item.id} cannot be read: {item.source[UNREADABLE]}"
    said = difference(before, item.source)
    return f"the source of {item.id} {said}" if said else ""


def _plain(item: Dataset) -> tuple[str, dict[str, Any]]:
    """Name and parameters as a manifest holds them."""
    return item.name, json.loads(item.model_dump_json(include={"parameters"}))["parameters"]


def _hash(values: Iterable[object]) -> str:
    # All at once: a source may hold a million pictures, and every command waits for this.
    return hashlib.sha256(json.dumps(list(values)).encode()).hexdigest()[:16]


def _without_places(text: str) -> str:
    """The sentence without the data root, which is another one on another machine."""
    return text.replace(f"{supply.data_root()}{os.sep}", "")


def _contents(item: Dataset, paths: list[str], root: Path, hash_all: bool) -> list[str]:
    """SHA-256 of every file; one whose size, times and inode are those of an earlier hash is not read again."""
    place = (
        root
        / "scratch"
        / "sources"
        / f"{_hash([str(supply.data_root().resolve()), *_plain(item)])}.json"
    )
    known = {} if hash_all else _known(place)
    found, kept = [], {}
    for index in track(range(len(paths)), len(paths), f"hash {item.id}"):
        path, started = Path(paths[index]), time.time_ns()
        state = path.stat()
        stamp = [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]
        entry = known.get(str(path))
        content = entry[-1] if entry and entry[:-1] == stamp else artifacts.file_digest(path)
        found.append(content)
        if started - max(state.st_mtime_ns, state.st_ctime_ns) > SETTLED_NS:
            kept[str(path)] = [*stamp, content]
    if kept != known:
        _keep(place, kept)
    return found


def _known(place: Path) -> dict[str, list[Any]]:
    """Hashes of an earlier process; none where the file is damaged, since it saves time alone."""
    try:
        held = json.loads(place.read_text(encoding="utf-8"))
        return (
            dict(held["files"]) if held["checksum"] == artifacts.json_digest(held["files"]) else {}
        )
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _keep(place: Path, kept: dict[str, list[Any]]) -> None:
    try:
        artifacts.write_json(place, {"files": kept, "checksum": artifacts.json_digest(kept)})
    except (OSError, ArtifactError):
        # Looking at a study works where nothing may be written; the next process hashes again.
        return

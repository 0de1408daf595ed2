"""The listing of a data source, as part of the digest of all cells that read it.

A data set whose files have published checksums is identified by its version. Any other one is identified by its source's
listing: the pictures' paths, labels, groups, official parts and sizes, and for a user's own pictures their contents. A study
gets these hashes once per process (`identified`), so that every digest contains them. Jobs of a running Snakemake get
the hashes from its start; `confirm` refuses a source that has changed since. If a source is not on this
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
from gradsiege.datasets import build
from gradsiege.datasets.sources import supply
from gradsiege.errors import ArtifactError
from gradsiege.pipeline import added_later
from gradsiege.pipeline.stage import STAGES
from gradsiege.progress import track
from gradsiege.study import Dataset, Study

VARIABLE = "GRADSIEGE_SOURCES"
# Data sets of a user's own pictures, whose contents are hashed. Published sets do not change, and a plan must not read 1.2 million files.
HASHED = ("image_folder", "image_manifest")
UNREADABLE = "unreadable"
# A file that changed within this time before it was hashed may change again within one tick of the file system's clock.
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
    """Return whether a data set is read from a file without a published checksum."""
    return any(not file.digest for file in supply.files_of(name, parameters))


def identified(study: Study, root: Path = Path(), hash_all: bool = False) -> Study:
    """Return the study with the hashes of its sources' present listings.

    Args:
        study: the study as read from its file.
        root: folder of `results`, whose finished cells record the listing of an absent source, and of the cache in `scratch`.
        hash_all: also hash pictures whose size and times have not changed since an earlier hash.
    """
    told = json.loads(os.environ.get(VARIABLE, "{}")).get(study.study, {})
    datasets = []
    for item in study.datasets:
        if not depends_on_source(item.name, item.parameters):
            datasets.append(item)
            continue
        source = told.get(item.id)
        if source is None:
            source = source_of(item, root, hash_all) or recorded(item, study, root)
        datasets.append(item.model_copy(update={"source": source}))
    return study.model_copy(update={"datasets": datasets})


def tell_jobs(study: Study) -> None:
    """Pass the hashes in `study` to the processes that this one starts."""
    told = {
        item.id: item.source
        for item in study.datasets
        if depends_on_source(item.name, item.parameters)
    }
    if told:
        os.environ[VARIABLE] = json.dumps({study.study: told})


def source_of(item: Dataset, root: Path = Path(), hash_all: bool = False) -> dict[str, str]:
    """Return the hashes of a data set's source, or an empty mapping if the source is not there.

    A source that cannot be read is identified by the reason.
    """
    if supply.missing(item.name, item.parameters):
        return {}
    folder, files = supply.place_of(item.name, item.parameters)
    wrong = supply.misplaced(folder, files)
    if wrong:
        return {UNREADABLE: wrong}
    try:
        listing = build(item.name, item.parameters).listing(folder)
        hashes = {
            "pictures": _hash(listing.paths),
            "labels": _hash([*listing.classes, *listing.labels.tolist()]),
            "groups": _hash(() if listing.groups is None else listing.groups.tolist()),
            "parts": _hash(() if listing.tested is None else listing.tested.tolist()),
        }
        # Strings, since a million path objects would take most of the time.
        paths = [f"{folder}/{path}" for path in listing.paths]
        if item.name in HASHED:
            return hashes | {"contents": _hash(_contents(item, paths, root, hash_all))}
        return hashes | {"sizes": _hash(os.stat(path).st_size for path in paths)}  # noqa: PTH116
    except FileNotFoundError:
        # A table whose pictures lie on a disk that is not there.
        return {}
    except (ValueError, OSError) as error:
        return {UNREADABLE: _without_places(str(error))}


def recorded(item: Dataset, study: Study, root: Path) -> dict[str, str]:
    """Return the hashes of a source that finished cells of the study record, or an empty mapping if none does."""
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
    """Refuse a source whose listing differs from the study's hashes.

    Raises:
        ArtifactError: the source has changed; the message says how. `supply.check` refuses an absent source.
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
        # All other lists follow the order of the pictures and therefore differ, too.
        return changed[0]
    return " and ".join(changed)


def unreadable(datasets: Iterable[Dataset]) -> str:
    """Return a sentence on the data sets whose sources lie here and cannot be read, or an empty string.

    Nothing that reads such a source can be computed: it comes before every other remedy.
    """
    reasons = [
        f"the source of {item.id} cannot be read: {item.source[UNREADABLE]}"
        for item in datasets
        if UNREADABLE in item.source
    ]
    return "; ".join(reason.rstrip(". ") for reason in reasons)


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
    change = difference(before, item.source)
    return f"the source of {item.id} {change}" if change else ""


def _plain(item: Dataset) -> tuple[str, dict[str, Any]]:
    """Return name and parameters as a manifest records them."""
    parameters = json.loads(item.model_dump_json(include={"parameters"}))["parameters"]
    return item.name, added_later.left_out("datasets", item.name, parameters)


def _hash(values: Iterable[object]) -> str:
    # All at once: a source may hold a million pictures, and every command waits for this.
    return hashlib.sha256(json.dumps(list(values)).encode()).hexdigest()[:16]


def _without_places(text: str) -> str:
    """Return the sentence without the data root, which differs between machines."""
    return text.replace(f"{supply.data_root()}{os.sep}", "")


def _contents(item: Dataset, paths: list[str], root: Path, hash_all: bool) -> list[str]:
    """Return the SHA-256 of every file; a file with the size, times and inode of an earlier hash is not read again."""
    place = (
        root
        / "scratch"
        / "sources"
        / f"{_hash([str(supply.data_root().resolve()), *_plain(item)])}.json"
    )
    known = {} if hash_all else _known(place)
    hashes, kept = [], {}
    for index in track(range(len(paths)), len(paths), f"hash {item.id}"):
        path, started = Path(paths[index]), time.time_ns()
        state = path.stat()
        stamp = [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]
        entry = known.get(str(path))
        content = entry[-1] if entry and entry[:-1] == stamp else artifacts.file_digest(path)
        hashes.append(content)
        if started - max(state.st_mtime_ns, state.st_ctime_ns) > SETTLED_NS:
            kept[str(path)] = [*stamp, content]
    if kept != known:
        _keep(place, kept)
    return hashes


def _known(place: Path) -> dict[str, list[Any]]:
    """Return the hashes of an earlier process, or none if their file is damaged, since it only saves time."""
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
        # Reading a study must work without write access; the next process hashes again.
        return

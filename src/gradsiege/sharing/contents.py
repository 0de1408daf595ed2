"""The check that DVC's cache holds, byte by byte, the files that `dvc.lock` recorded when a bundle was shared.

DVC names an object after the MD5 of its content, but does not verify the content that it fetches from a remote.
`dvc.lock` is in git: if you trust the commit, you can trust files that agree with it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from gradsiege import yaml_files
from gradsiege.datasets.sources.supply import inside
from gradsiege.errors import ArtifactError, SharingError, StudyError, in_words
from gradsiege.sharing.bundles import Bundle

LOCK = Path("dvc.lock")
FOLDER = ".dir"  # ends the name of an object that lists a folder's files
COMMITTED = f"`git checkout {LOCK}` brings the committed one back."
KEYS = {"path": str, "md5": str, "size": int, "nfiles": int}  # of a file or folder in dvc.lock
NAME = re.compile(r"[0-9a-f]{32}(\.dir)?")


@dataclass(frozen=True)
class Content:
    """A file of a bundle, and the object of DVC's cache that holds it."""

    path: PurePosixPath
    name: str

    @property
    def object(self) -> str:
        """The object's path in a cache, and below ``files/md5`` in a remote.

        >>> Content(PurePosixPath("a"), "26ab0db90d72e28ad0ba1e22ee510510").object
        '26/ab0db90d72e28ad0ba1e22ee510510'
        """
        return f"{self.name[:2]}/{self.name[2:]}"

    def is_sound(self, cache: Path) -> bool:
        """Return whether the object's content has the hash in its name."""
        path = cache / self.object
        return path.is_file() and md5_of(path) == self.name.removesuffix(FOLDER)


def entries(root: Path) -> dict[str, Any]:
    """Return the entries of `dvc.lock` by address, as DVC would take them; none if the file is not there.

    Raises:
        SharingError: the file is damaged.
    """
    lock = root / LOCK
    if not os.path.lexists(lock):
        return {}
    try:
        stages = dict(yaml_files.read_text(lock.read_text(encoding="utf-8"))["stages"])
        for address, entry in stages.items():
            for listed in (*entry.get("deps", ()), *entry.get("outs", ())):
                for key, kind in KEYS.items():
                    if not isinstance(listed.get(key, kind()), kind):
                        raise ValueError(f"{address} has the {key} {listed[key]!r}")
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        what = " ".join(in_words(error).split())
        raise SharingError(f"{LOCK} is damaged: {what}. {COMMITTED}") from error
    return stages


def md5_of(path: Path) -> str:
    """Return the hash that DVC names a file's object after."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False))
    return digest.hexdigest()


def recorded(root: Path, bundle: Bundle) -> list[Content]:
    """Return the outputs of a bundle as `dvc.lock` has them.

    Raises:
        SharingError: the bundle was not shared or only in part, or the file is damaged.
    """
    names = {out.get("path"): out.get("md5", "") for out in _outputs(root, bundle)}
    lacking = [out.path for out in bundle.outputs if out.path not in names]
    if lacking and _is_cut_off(root):
        raise SharingError(f"{LOCK} is damaged: it ends within an entry. {COMMITTED}")
    if lacking:
        why = f"it lacks {lacking[0]}" if (root / LOCK).is_file() else "it is not there"
        raise SharingError(
            f"{LOCK} knows no shared {bundle.name} of the study {bundle.study} ({why}). Ask the person who has "
            f"them to call `gradsiege share {bundle.name}` and to commit {LOCK}; then `git pull`"
        )
    wanted = [Content(PurePosixPath(out.path), names[out.path]) for out in bundle.outputs]
    for content in wanted:
        if not NAME.fullmatch(content.name):
            raise SharingError(
                f"{LOCK} is damaged: {content.path} has the hash {content.name!r}. {COMMITTED}"
            )
    return wanted


def _is_cut_off(root: Path) -> bool:
    """Return whether the file ends within a line, or before the last entry has the hashes of its outputs."""
    last = [*entries(root).values()][-1:]
    outputs = [entry.get("outs") or [{}] for entry in last]
    within = any("md5" not in listed[-1] for listed in outputs)
    return within or bool(last and (root / LOCK).read_bytes()[-1:] != b"\n")


def knows(root: Path, bundle: Bundle) -> bool:
    """Return whether `dvc.lock` has an entry for a bundle."""
    return bool(_outputs(root, bundle))


def _outputs(root: Path, bundle: Bundle) -> list[dict[str, str]]:
    outputs: list[dict[str, str]] = entries(root).get(bundle.address, {}).get("outs", [])
    return outputs


def files(content: Content, cache: Path) -> Iterator[Content]:
    """Yield the files of an output; its own listing first, if it is a folder.

    Verify the listing before you ask for its files.
    """
    yield content
    if not content.name.endswith(FOLDER):
        return
    try:
        for entry in json.loads((cache / content.object).read_text(encoding="utf-8")):
            file = Content(content.path / inside(entry["relpath"]), entry["md5"])
            if not NAME.fullmatch(file.name):
                raise ValueError(f"{file.path} has the hash {file.name!r}")
            yield file
    except (OSError, ValueError, KeyError, TypeError, StudyError) as error:
        raise ArtifactError(f"the shared listing of {content.path} is damaged: {error}") from error


def check(contents: list[Content], cache: Path) -> tuple[int, list[Content]]:
    """Return (number of files, the files whose object is missing or has another content)."""
    count, wrong = 0, []
    for content in contents:
        for file in files(content, cache):
            count += not file.name.endswith(FOLDER)
            if not file.is_sound(cache):
                wrong.append(file)
                if file is content:
                    break  # the files of a wrong listing mean nothing
    return count, wrong


def refuse(wrong: list[Content], cache: Path, where: str, advice: str) -> None:
    """Delete objects that differ from `dvc.lock` from the cache, and refuse their files by name.

    Raises:
        ArtifactError: there is such an object.
    """
    for content in wrong:
        (cache / content.object).unlink(missing_ok=True)
    if wrong:
        named = "\n".join(f"  {content.path} (files/md5/{content.object})" for content in wrong)
        raise ArtifactError(
            f"{len(wrong)} files {where} are not what {LOCK} recorded: damaged, or tampered with. None was taken.\n{named}\n"
            f"{advice}"
        )

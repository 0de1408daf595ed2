"""Whether DVC's cache holds, byte by byte, what `dvc.lock` recorded when a bundle was shared.

DVC names an object after the MD5 of its content, but does not look again when it fetches one: a remote may give anything.
`dvc.lock` is in git, so whoever trusts the commit can trust what agrees with it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import yaml

from gradsiege import yaml_files
from gradsiege.datasets.sources.supply import inside
from gradsiege.errors import ArtifactError, SharingError, StudyError, in_words
from gradsiege.sharing.bundles import Bundle

LOCK = Path("dvc.lock")
FOLDER = ".dir"  # ends the name of an object that lists a folder's files
NAME = re.compile(r"[0-9a-f]{32}(\.dir)?")


@dataclass(frozen=True)
class Content:
    """A file of a bundle, and the object of DVC's cache that holds it."""

    path: PurePosixPath
    name: str

    @property
    def object(self) -> str:
        """Where the object lies in a cache, and below ``files/md5`` in a remote.

        >>> Content(PurePosixPath("a"), "26ab0db90d72e28ad0ba1e22ee510510").object
        '26/ab0db90d72e28ad0ba1e22ee510510'
        """
        return f"{self.name[:2]}/{self.name[2:]}"

    def is_sound(self, cache: Path) -> bool:
        """Whether the object's content has the hash that is its name."""
        path = cache / self.object
        if not path.is_file():
            return False
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False))
        return found.hexdigest() == self.name.removesuffix(FOLDER)


def recorded(root: Path, bundle: Bundle) -> list[Content]:
    """Return the outputs of a bundle as `dvc.lock` has them.

    Raises:
        SharingError: nobody shared the bundle, or not all of it, or the file is damaged.
    """
    try:
        names = {out["path"]: out["md5"] for out in _outputs(root, bundle)}
        wanted = [Content(PurePosixPath(out.path), names[out.path]) for out in bundle.outputs]
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise SharingError(
            f"{LOCK} knows no shared {bundle.name} of the study {bundle.study} ({in_words(error)}). Ask the person who has "
            f"them to call `gradsiege share {bundle.name}` and to commit {LOCK}; then `git pull`"
        ) from error
    for content in wanted:
        if not NAME.fullmatch(content.name):
            raise SharingError(f"{LOCK} is damaged: {content.path} has the hash {content.name!r}")
    return wanted


def knows(root: Path, bundle: Bundle) -> bool:
    """Whether `dvc.lock` has a bundle at all."""
    try:
        return bool(_outputs(root, bundle))
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return False


def _outputs(root: Path, bundle: Bundle) -> list[dict[str, str]]:
    stages = yaml_files.read_text((root / LOCK).read_text(encoding="utf-8"))["stages"]
    found: list[dict[str, str]] = stages.get(bundle.address, {}).get("outs", [])
    return found


def files(content: Content, cache: Path) -> Iterator[Content]:
    """Yield the files of an output; its own listing first, if it is a folder.

    The listing must have been found sound before its files are asked for.
    """
    yield content
    if not content.name.endswith(FOLDER):
        return
    try:
        for entry in json.loads((cache / content.object).read_text(encoding="utf-8")):
            one = Content(content.path / inside(entry["relpath"]), entry["md5"])
            if not NAME.fullmatch(one.name):
                raise ValueError(f"{one.path} has the hash {one.name!r}")
            yield one
    except (OSError, ValueError, KeyError, TypeError, StudyError) as error:
        raise ArtifactError(f"the shared listing of {content.path} is damaged: {error}") from error


def check(contents: list[Content], cache: Path) -> tuple[int, list[Content]]:
    """Return (how many files there are, those whose object is missing or holds something else)."""
    count, wrong = 0, []
    for content in contents:
        for one in files(content, cache):
            count += not one.name.endswith(FOLDER)
            if not one.is_sound(cache):
                wrong.append(one)
                if one is content:
                    break  # a listing that is not what was recorded names nothing
    return count, wrong


def refuse(wrong: list[Content], cache: Path, where: str, advice: str) -> None:
    """Refuse objects that are not what was recorded by naming their files; they leave the cache.

    Raises:
        ArtifactError: there is one.
    """
    for content in wrong:
        (cache / content.object).unlink(missing_ok=True)
    if wrong:
        named = "\n".join(f"  {content.path} (files/md5/{content.object})" for content in wrong)
        raise ArtifactError(
            f"{len(wrong)} files {where} are not what {LOCK} recorded: damaged, or tampered with. None was taken.\n{named}\n"
            f"{advice}"
        )

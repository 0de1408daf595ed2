"""The check that DVC's cache holds, byte by byte, the files that `dvc.lock` recorded when a bundle was shared.

DVC names an object after the MD5 of its content, but does not verify the content that it fetches from a remote.
`dvc.lock` is in git: if you trust the commit, you can trust files that agree with it.
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
COMMITTED = f"`git checkout {LOCK}` brings the committed one back."
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


def _refuse_torn(lock: Path) -> None:
    """Refuse a file that is not YAML; one that is not there knows of nothing shared."""
    try:
        if lock.is_file():
            yaml_files.read_text(lock.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        what = " ".join(str(error).split())
        raise SharingError(f"{LOCK} is damaged: {what}. {COMMITTED}") from error


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
    _refuse_torn(root / LOCK)
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
            raise SharingError(
                f"{LOCK} is damaged: {content.path} has the hash {content.name!r}. {COMMITTED}"
            )
    return wanted


def knows(root: Path, bundle: Bundle) -> bool:
    """Return whether `dvc.lock` has an entry for a bundle."""
    try:
        return bool(_outputs(root, bundle))
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return False


def _outputs(root: Path, bundle: Bundle) -> list[dict[str, str]]:
    stages = yaml_files.read_text((root / LOCK).read_text(encoding="utf-8"))["stages"]
    outputs: list[dict[str, str]] = stages.get(bundle.address, {}).get("outs", [])
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

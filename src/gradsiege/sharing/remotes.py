"""DVC's remotes: the remote of each output of a bundle, and the message if one does not answer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from gradsiege.errors import SharingError, nearest
from gradsiege.sharing.bundles import RESTRICTED, Bundle
from gradsiege.sharing.contents import COMMITTED, LOCK
from gradsiege.sharing.programs import Said, run

ADD = "dvc remote add --local"


@dataclass(frozen=True)
class Remote:
    """A remote of DVC: its name and address."""

    name: str
    url: str

    def __str__(self) -> str:
        """Name and address, without a password."""
        parts = urlsplit(self.url)
        shown = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        return f"{self.name} ({shown})"


@dataclass(frozen=True)
class Configuration:
    """DVC's configuration: its remotes by name, the default one or an empty string, and the folder of its cache."""

    remotes: dict[str, Remote]
    default: str
    cache: Path


def configuration(root: Path) -> Configuration:
    """Read DVC's configuration, all levels merged.

    Raises:
        SharingError: there is no DVC repository here.
    """
    answer = run(root, "dvc", "config", "--list")
    if not (root / ".dvc").is_dir() or not answer.succeeded:
        raise SharingError(f"{root.absolute()} is not a DVC repository that works: {answer.end}")
    values = dict(line.split("=", 1) for line in answer.text.splitlines() if "=" in line)
    remotes = {
        name: Remote(name, url)
        for key, url in values.items()
        for name in re.findall(r"^remote\.(.+)\.url$", key)
    }
    cache = root / ".dvc" / values.get("cache.dir", "cache") / "files" / "md5"
    return Configuration(remotes, values.get("core.remote", ""), cache)


def destinations(
    bundles: list[Bundle], known: Configuration, asked: str, root: Path
) -> dict[Remote, list[str]]:
    """Return the outputs of each remote; `asked`, if given, replaces the default remote.

    Raises:
        SharingError: a remote is not configured, is a folder that is not there, or is not a place for restricted outputs.
    """
    by_remote: dict[Remote, list[str]] = {}
    for bundle in bundles:
        for output in bundle.outputs:
            if output.push:
                name = output.remote or asked or known.default
                remote = _remote(name, output.path, known)
                by_remote.setdefault(remote, []).append(output.path)
    for remote in by_remote:
        _check(remote, known, root)
    return by_remote


def _remote(name: str, path: str, known: Configuration) -> Remote:
    if not name:
        raise SharingError(
            f"no remote is configured for {path}: `{ADD} --default store URL`, where URL is a folder, "
            "s3://bucket/path or ssh://host/path (the latter two need `gradsiege[dvc-remotes]`)"
        )
    if name not in known.remotes:
        whom = " that only those reach who accepted the data's terms" if name == RESTRICTED else ""
        raise SharingError(
            f"the remote {name!r}, where {path} belongs, is not configured ({nearest(name, [*known.remotes])}): "
            f"`{ADD} {name} URL` with a place{whom}"
        )
    return known.remotes[name]


def _check(remote: Remote, known: Configuration, root: Path) -> None:
    """Refuse a restricted remote that is a public one by another name, and a folder that is not there."""
    same = [other.name for other in known.remotes.values() if other.url == remote.url != ""]
    if remote.name == RESTRICTED and len(same) > 1:
        raise SharingError(
            f"the remote {remote} is the same place as {', '.join(name for name in same if name != RESTRICTED)}: "
            "restricted data need a place of their own"
        )
    # DVC would create the folder, and nobody would notice that a disk is not mounted.
    if "://" not in remote.url and not (root / ".dvc" / remote.url).is_dir():
        raise SharingError(
            f"the remote {remote} is a folder that is not there: mount its disk, create it, or name "
            f"another place with `dvc remote modify --local {remote.name} url URL`"
        )


def no_answer(remote: Remote, answer: Said, verb: str) -> SharingError:
    """Return the error for a remote that DVC could not reach, or that lacks the requested files; or for a `dvc.lock` that DVC refuses."""
    if f"{LOCK}' validation failed" in answer.text:
        return SharingError(f"{LOCK} is damaged. {COMMITTED} DVC says:\n{answer.end}")
    return SharingError(
        f"the remote {remote} failed. Look whether it can be reached, whether you may use it (`dvc remote list`; "
        "credentials belong into .dvc/config.local), and whether everything was shared that is asked for; then "
        f"`gradsiege {verb}` again: what has arrived is not sent twice. DVC says:\n{answer.end}"
    )

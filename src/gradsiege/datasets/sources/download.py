"""`gradsiege download`: fetch public data sets, resume broken transfers, and keep only files with the published checksums.

This is the only module that opens a network connection. A file grows under a name that ends in ``.part``; when it is
complete and its checksum is right, it gets its final name, which no unfinished or wrong file ever has. Archives stay packed.
"""

from __future__ import annotations

import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any

from gradsiege import artifacts
from gradsiege.datasets.sources import supply
from gradsiege.errors import ArtifactError, MissingError
from gradsiege.pretrained import TRUNKS, weights_folder

CHUNK = 2**20
TRIES = 5
SECONDS_TO_ANSWER = 30.0
SECONDS_BETWEEN_LINES = 5.0
# No public file of the catalogue is larger; a server that sends more sends another file.
MOST_BYTES = 16 * 2**30

# The name of the LPIPS weights among the data sets.
WEIGHTS = "lpips"

Tell = Callable[[str], None]


def to_stderr(line: str) -> None:
    """Print a line of progress."""
    print(line, file=sys.stderr, flush=True)


def download(
    name: str, parameters: Mapping[str, Any], folder: Path, tell: Tell = to_stderr
) -> list[Path]:
    """Get the files of one data set into its folder.

    Args:
        name, parameters: the data set, and its parameters (which choose a resolution, for instance).
        folder: the data root.
        tell: receives lines of progress.

    Returns:
        The files, those that were there already included.

    Raises:
        MissingError: when the data set has no address to get it from; the message says what to do.
        ArtifactError: when the server fails for good, or sends another file than the published one.
    """
    files = supply.files_of(name, parameters)
    origin = supply.origin_of(name)
    if not files or origin is None:
        raise MissingError(f"{name} ships with the program; there is nothing to download")
    if not all(file.url for file in files):
        raise MissingError(f"{name} cannot be downloaded by this program. {origin.steps}")
    tell(f"{name}: {origin.licence}. {origin.source}")
    return [get(file, folder / name, tell) for file in files]


def download_weights(to: Path | None, tell: Tell = to_stderr) -> list[Path]:
    """Get torchvision's ImageNet weights of AlexNet and VGG16, which LPIPS looks through.

    Args:
        to: the data root, which gets them under ``weights``; by default they go where LPIPS looks for them.
        tell: receives lines of progress.

    Returns:
        The files, those that were there already included.

    Raises:
        ArtifactError: see `download`.
    """
    folder = to / "weights" if to else weights_folder()
    files = [
        supply.File(trunk.file, f"sha256:{trunk.sha256}", url=trunk.url)
        for trunk in TRUNKS.values()
    ]
    return [get(file, folder, tell) for file in files]


def get(file: supply.File, folder: Path, tell: Tell = to_stderr) -> Path:
    """Get one file, unless it is there with the right checksum.

    Raises:
        ArtifactError: see `download`. An unfinished file is kept and completed the next time; a wrong file is deleted.
    """
    path = folder / supply.inside(file.path)
    if path.is_file():
        supply.verify(path, file.digest)
        tell(f"{path}: is there already")
        return path
    if path.exists():
        raise ArtifactError(f"{path} is there, and is not a file; move it away")
    part = path.with_name(f"{path.name}.part")
    artifacts.make_folder(folder)
    for attempt in range(1, TRIES + 1):
        try:
            _transfer(file, part, tell)
            break
        except (OSError, HTTPException) as error:
            if not _worth_repeating(error) or attempt == TRIES:
                raise ArtifactError(
                    f"{file.url}: {error}. {_size(part)} bytes have arrived and are kept; run the same command again."
                ) from error
            tell(f"{path.name}: {error}; going on from byte {_size(part)}")
            time.sleep(min(2**attempt, 8) / 8)
    try:
        supply.verify(part, file.digest)
    except ArtifactError as error:
        part.unlink()
        raise ArtifactError(
            f"{file.url} sent another file than the published one: {error}"
        ) from error
    part.replace(path)
    tell(f"{path}: {path.stat().st_size} bytes, {file.digest.partition(':')[0]} as published")
    return path


def _transfer(file: supply.File, part: Path, tell: Tell) -> None:
    """Request the missing bytes of a file and append them."""
    have = _size(part)
    if file.size is not None and have >= file.size:
        if have == file.size:
            return
        part.unlink()
        have = 0
    request = urllib.request.Request(file.url, headers={"User-Agent": "gradsiege"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        with urllib.request.urlopen(request, timeout=SECONDS_TO_ANSWER) as answer:
            resumed = answer.status == HTTPStatus.PARTIAL_CONTENT and _goes_on(answer, have)
            total = int(answer.headers.get("Content-Length") or 0) + (have if resumed else 0)
            expected = file.size or total
            if expected > MOST_BYTES:
                raise ArtifactError(f"{file.url} has {expected} bytes, more than {MOST_BYTES}")
            with part.open("ab" if resumed else "wb") as stream:
                _copy(answer, stream, expected, f"{part.stem}", tell)
    except urllib.error.HTTPError as error:
        if error.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        # Either all of it is there or the file has changed; the checksum decides.
        return
    if expected and _size(part) < expected:
        raise ConnectionError(f"the connection broke off at byte {_size(part)} of {expected}")


def _goes_on(answer: Any, have: int) -> bool:
    """Whether a partial answer continues at the current end of the file."""
    return str(answer.headers.get("Content-Range", "")).startswith(f"bytes {have}-")


def _copy(answer: IO[bytes], stream: IO[bytes], expected: int, name: str, tell: Tell) -> None:
    """Append an answer to a file, up to its expected size."""
    last = time.monotonic()
    limit = expected or MOST_BYTES
    while chunk := answer.read(CHUNK):
        if stream.tell() + len(chunk) > limit:
            raise ArtifactError(f"{name}: the server sends more than {limit} bytes")
        stream.write(chunk)
        if time.monotonic() - last > SECONDS_BETWEEN_LINES:
            share = f" of {expected / 1e6:.0f}" if expected else ""
            tell(f"{name}: {stream.tell() / 1e6:.0f}{share} MB")
            last = time.monotonic()


def _worth_repeating(error: Exception) -> bool:
    """Whether a server may answer better the next time: not if it says that it has no such file, or refuses."""
    return not isinstance(error, urllib.error.HTTPError) or error.code >= 500


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0

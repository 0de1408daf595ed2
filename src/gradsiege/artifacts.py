"""The only reader and writer of files.

Every job owns one folder. It writes its files one after the other, each to a temporary name that is
renamed when complete, and finally ``manifest.json``, which lists every file with its SHA-256 and
records how it was made. A reader therefore never reads an unfinished artifact: it ignores files that are not in
a manifest, and refuses by name files that differ from their manifest.

Tensors are safetensors with a ``kind`` in their header; a reader states the kind that it expects, so that it
cannot read a sealed truth as an observation. Tables are Parquet, everything else is JSON.
Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradsiege.errors import MEND, ArtifactError, in_words
from gradsiege.extras import need

if TYPE_CHECKING:
    import pandas as pd
    import torch

FORMAT = "2"
MANIFEST = "manifest.json"
PART = ".part"
# safetensors writes to a file of its own beside the one that it is given, and renames it.
SAFETENSORS_PART = ".tmp" + "[0-9A-Za-z]" * 6
REMOVED = "was removed meanwhile. Does another process work on the same? Run the command again"
# Two keys: if only one is damaged, the manifest still differs from those of earlier versions, which had neither.
CHECKSUM, COVERED = "checksum", "checksum_covers"


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; rename it to `path` only if the block succeeds.

    The data reach the disk before the name does, so a power cut or a full disk leaves the old file
    (or none), never a torn one. A path that is not a regular file, such as a device or a pipe, is refused.
    """
    if path.exists() and not path.is_file():
        raise ArtifactError(f"could not write {path}: it is there, and is not a file; move it away")
    temporary: Path | None = None
    try:
        make_folder(path.parent)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=PART, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        # Libraries report a missing folder by errors of their own.
        if isinstance(error, FileNotFoundError) or (temporary and not temporary.exists()):
            raise ArtifactError(f"could not write {path}: it {REMOVED}") from error
        raise ArtifactError(f"could not write {path}: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, unless they are there.

    Raises:
        ArtifactError: it cannot be made here, or another process removes what lies above it.
        OSError: the disk is full, or a right is missing.
    """
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError:
            # Another process may have removed what lies above it, and made it again.
            folder.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError as error:
        refused = Path(error.filename)
        if not refused.parent.is_dir():
            raise ArtifactError(f"could not make the folder {folder}: it {REMOVED}") from error
        raise ArtifactError(
            f"could not make the folder {refused}: {refused.parent} takes no folders. Choose another place"
        ) from error
    except FileExistsError as error:
        raise ArtifactError(
            f"could not make the folder {folder}: {error.filename} is a file. Choose another place, or move the file away"
        ) from error


def sweep_up(folder: Path, stem: str = "*") -> None:
    """Remove the temporary files that a killed job left in its folder, or those of files of one name and any ending."""
    patterns = [f".{stem}.*{PART}", *[SAFETENSORS_PART] * (stem == "*")]
    for leftover in (path for pattern in patterns for path in folder.glob(pattern)):
        leftover.unlink(missing_ok=True)


def _write(path: Path, fill: Callable[[Path], object]) -> None:
    with atomic(path) as temporary:
        fill(temporary)


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON with sorted keys and a final newline."""
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n"
    _write(path, lambda temporary: temporary.write_text(text))


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8."""
    _write(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as Parquet."""
    need("pyarrow")
    _write(path, lambda temporary: table.to_parquet(temporary, index=False))


def write_tensors(
    path: Path,
    tensors: Mapping[str, torch.Tensor],
    kind: str,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write tensors as safetensors; `metadata` is any JSON value and comes back from `read_header`.

    tensors: by name, of any shape and type.

    The file records the order of the tensors, which the format itself does not: code that draws noise for one tensor after
    the other needs the same order before and after a file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    header = {"kind": kind, "format": FORMAT, "metadata": json.dumps(metadata or {})}
    header["order"] = json.dumps([*tensors])
    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}

    def fill(temporary: Path) -> None:
        try:
            save_file(ready, temporary, metadata=header)
        except SafetensorError as error:
            # Safetensors reports a full disk as an error of its own.
            raise OSError(str(error)) from error
        _sort_metadata(temporary)

    _write(path, fill)


def _sort_metadata(path: Path) -> None:
    """Put the metadata of a tensor file in alphabetical order, in place.

    The library writes them in an order that changes from call to call, but equal content must have equal bytes.
    """
    with path.open("rb+") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        assert len(text) <= length, "the same header in another order has the same length"
        stream.seek(8)
        stream.write(text.ljust(length))


def tensors_digest(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, Any]) -> str:
    """Return the SHA-256 of named tensors and their metadata.

    tensors: by name; names, types, shapes and bytes all count.

    The digest protects files without a manifest, since the format itself does not detect a wrong bit.
    """
    import torch

    digest = hashlib.sha256(json_digest(metadata).encode())
    for name, tensor in tensors.items():
        digest.update(json_digest([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_json(path: Path) -> Any:
    """Read a JSON file whose checksum its manifest confirms."""
    check(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path} is not valid JSON: {error}") from error


def read_table(path: Path) -> pd.DataFrame:
    """Read a Parquet table whose checksum its manifest confirms."""
    need("pyarrow")
    import pandas as pd
    from pyarrow import ArrowException

    check(path)
    try:
        return pd.read_parquet(path)
    except (ArrowException, OSError) as error:
        raise ArtifactError(f"{path} is not a Parquet table: {error}") from error


def _read_raw_header(path: Path, kind: str, sealed: bool) -> dict[str, Any]:
    """Return ``metadata`` and ``order`` of a tensor file, refusing any other kind or format."""
    from safetensors import SafetensorError, safe_open

    if sealed:
        check(path)
    try:
        with safe_open(path, framework="np") as file:
            header = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ArtifactError(f"{path} is damaged: {error}. {MEND}") from error
    if header.get("kind") != kind:
        kind_in_file = header.get("kind", "no kind at all")
        raise ArtifactError(f"{path} holds {kind_in_file!r}, but {kind!r} is needed here.")
    if header.get("format") != FORMAT:
        raise ArtifactError(
            f"{path} has format {header.get('format')!r}; this version reads {FORMAT!r}. {MEND}"
        )
    try:
        return {name: json.loads(header[name]) for name in ("metadata", "order")}
    except (KeyError, json.JSONDecodeError) as error:
        raise ArtifactError(f"{path} has a damaged header: {in_words(error)}. {MEND}") from error


def read_header(path: Path, kind: str, sealed: bool = True) -> dict[str, Any]:
    """Return the metadata of a tensor file, refusing any other kind or format.

    `sealed` files are confirmed by their manifest; only checkpoints and files from outside are not.
    """
    metadata: dict[str, Any] = _read_raw_header(path, kind, sealed)["metadata"]
    return metadata


def read_tensors(
    path: Path, kind: str, sealed: bool = True
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return (tensors in the order they were given, metadata) of a file of the given kind, its checksum confirmed.

    Every tensor has the shape and type with which it was written.
    """
    tensors, metadata = map_tensors(path, kind, sealed)
    # Tensors from a file may have unusual memory alignment. A convolution may then round differently, and a resumed run
    # would differ from an uninterrupted one; so copy each to memory of its own.
    return {name: tensor.clone() for name, tensor in tensors.items()}, metadata


def map_tensors(
    path: Path, kind: str, sealed: bool = True
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return what `read_tensors` does, its tensors still mapped from the file: copy them before computing with them.

    Every tensor has the shape and type with which it was written.
    """
    from safetensors.torch import load_file

    header = _read_raw_header(path, kind, sealed)
    tensors = load_file(path)
    if set(header["order"]) != set(tensors):
        raise ArtifactError(
            f"{path} has a damaged header: it names other tensors than it holds. {MEND}"
        )
    return {name: tensors[name] for name in header["order"]}, header["metadata"]


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal text."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_manifest(folder: Path, body: Mapping[str, Any], outputs: list[str]) -> None:
    """Seal a folder: list `outputs` with size and SHA-256 beside `body` in ``manifest.json``, which has a checksum itself."""
    try:
        files = {
            name: {"sha256": file_digest(folder / name), "bytes": (folder / name).stat().st_size}
            for name in sorted(outputs)
        }
    except FileNotFoundError as error:
        raise ArtifactError(f"{error.filename} {REMOVED}") from error
    sealed = {**body, "files": files, COVERED: "all other keys, as JSON with sorted keys"}
    write_json(folder / MANIFEST, {**sealed, CHECKSUM: json_digest(sealed)})


def json_digest(value: object) -> str:
    """Return the SHA-256 of plain data, the same before and after a file.

    >>> json_digest({2: (1.5, None), 10: "x"}) == json_digest({"10": "x", "2": [1.5, None]})
    True
    """
    plain = json.loads(json.dumps(value))
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a finished job's folder, without its own checksum, which is compared."""
    path = folder / MANIFEST
    if os.path.lexists(path) and not path.is_file():
        raise ArtifactError(f"{path} is not a file. {MEND}")
    if not path.is_file():
        raise ArtifactError(f"{folder} holds no {MANIFEST}: its job has not finished. {MEND}")
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not all({"sha256", "bytes"} <= set(file) for file in manifest["files"].values()):
            raise ValueError("a file without size or checksum")
        recorded = manifest.pop(CHECKSUM, None)
        if (recorded is not None or COVERED in manifest) and recorded != json_digest(manifest):
            raise ValueError("it differs from its checksum")
        manifest.pop(COVERED, None)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{path} is damaged ({in_words(error)}). {MEND}") from error
    return manifest


def check(path: Path) -> None:
    """Refuse a file that is missing, unfinished, or different from what its manifest recorded."""
    if not path.is_file():
        raise ArtifactError(f"{path} does not exist. {MEND}")
    recorded = read_manifest(path.parent)["files"].get(path.name)
    if recorded is None:
        raise ArtifactError(
            f"{path} is not in its folder's {MANIFEST}: its job has not finished. {MEND}"
        )
    if recorded["bytes"] != path.stat().st_size or recorded["sha256"] != file_digest(path):
        raise ArtifactError(
            f"{path} differs from its {MANIFEST} (truncated, corrupted or edited). {MEND}"
        )


def verify_folder(folder: Path) -> list[str]:
    """Return one sentence for every recorded file of `folder` that is missing or different."""
    problems = []
    for name in read_manifest(folder)["files"]:
        if Path(name).name != name or name in ("", ".", ".."):
            problems.append(f"{folder / MANIFEST} names a path outside its folder: {name!r}")
            continue
        try:
            check(folder / name)
        except ArtifactError as error:
            problems.append(str(error))
    return problems

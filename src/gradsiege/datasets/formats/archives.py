"""Members of archives, read into memory: nothing is extracted, so no name in an archive can lead anywhere."""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path

MOST_BYTES = 2**28


def tar_members(archive: Path, names: Collection[str], limit: int = MOST_BYTES) -> dict[str, bytes]:
    """Read regular files out of a compressed tar archive, in one pass.

    Raises:
        ValueError: when a name is missing, is a link or a device, is larger than `limit`, or the archive is damaged.
    """
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(archive, "r|*") as stream:
            for member in stream:
                if member.name not in names:
                    continue
                if not member.isreg():
                    raise ValueError(f"{archive.name}: {member.name} is not a regular file")
                if member.size > limit:
                    raise ValueError(
                        f"{archive.name}: {member.name} has {member.size} bytes, more than {limit}"
                    )
                content = stream.extractfile(member)
                assert content is not None, "a regular member has content"
                contents[member.name] = content.read()
                if len(contents) == len(names):
                    break
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise ValueError(f"{archive.name} cannot be read: {error}; get it again") from error
    lacking = sorted(set(names) - set(contents))
    if lacking:
        raise ValueError(
            f"{archive.name} has no member {lacking[0]}: it is truncated, or another archive"
        )
    return contents


def zip_member(archive: zipfile.ZipFile, name: str, limit: int = MOST_BYTES) -> bytes:
    """Read one file out of an open zip archive, bounded by `limit` bytes.

    Raises:
        ValueError: when it is missing, larger than it may be, encrypted, or damaged.
    """
    try:
        info = archive.getinfo(name)
        if info.file_size > limit:
            raise ValueError(f"{name} has {info.file_size} bytes, more than {limit}")
        with archive.open(info) as stream:
            return stream.read(limit)
    except KeyError as error:
        raise ValueError(f"{archive.filename} has no member {name}") from error
    except (zipfile.BadZipFile, RuntimeError, zlib.error, EOFError) as error:
        raise ValueError(f"{name} cannot be read: {error}; get the archive again") from error

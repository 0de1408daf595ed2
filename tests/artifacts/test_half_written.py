"""A file is whole or not there at all, whatever interrupts its writer."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from sealed_files import WRITERS

from gradsiege.artifacts import (
    atomic,
    sweep_up,
    write_json,
    write_tensors,
    write_text,
)
from gradsiege.errors import ArtifactError


def test_an_exception_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("old")

    def break_off() -> None:
        with atomic(path) as temporary:
            temporary.write_text("new, but not all of it")
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        break_off()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "x"
    path.write_text("old")
    monkeypatch.setattr(*((os, "fsync", full) if where == "fsync" else (Path, "replace", full)))
    with pytest.raises(ArtifactError, match=r"could not write .*/x: No space left on device"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let the kernel refuse to make files larger: a full disk without a disk."""
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)


@pytest.mark.parametrize("sort", WRITERS)
def test_a_write_that_the_kernel_refuses(sort: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("old")
    with file_size_limit(50_000), pytest.raises(ArtifactError, match="could not write"):
        WRITERS[sort](path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("sort", WRITERS)
def test_a_really_full_disk(sort: str, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    try:
        made = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        made = False
    if not made:
        pytest.skip("no right to mount a small disk here; the file size limit stands for it")
    try:
        path = disk / "x"
        path.write_text("old")
        with pytest.raises(ArtifactError, match="No space left on device"):
            WRITERS[sort](path)
        assert path.read_text() == "old"
        assert list(disk.iterdir()) == [path]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ArtifactError, match=r"could not make the folder .*: .*file is a file"):
        write_text(tmp_path / "file" / "x", "text")


def test_a_killed_writer_leaves_nothing_that_can_be_seen(tmp_path: Path) -> None:
    code = (
        "import os, sys, signal\n"
        "from pathlib import Path\n"
        "from gradsiege.artifacts import atomic\n"
        "with atomic(Path(sys.argv[1]) / 'x.json') as temporary:\n"
        "    temporary.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert not list(tmp_path.glob("*.json"))
    (leftover,) = tmp_path.iterdir()
    assert leftover.name.startswith(".x.json.")
    (tmp_path / ".gitignore").write_text("kept")
    sweep_up(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".gitignore"]
    for name in (".a.pdf.x.part", ".a.csv.x.part", ".ab.csv.x.part"):
        (tmp_path / name).touch()
    sweep_up(tmp_path, "a")
    assert {path.name for path in tmp_path.iterdir()} == {".gitignore", ".ab.csv.x.part"}


def test_the_file_that_safetensors_writes_beside_ours_is_known(tmp_path: Path) -> None:
    """A kill in between would leave it; its name is safetensors' own."""
    seen: set[str] = set()

    def look() -> None:
        while not done.is_set():
            seen.update(path.name for path in tmp_path.iterdir())

    done = threading.Event()
    watcher = threading.Thread(target=look)
    watcher.start()
    for _ in range(20):
        write_tensors(tmp_path / "x.safetensors", {"a": torch.zeros(200_000)}, "test")
    done.set()
    watcher.join()
    strange = {name for name in seen if not name.startswith((".x.safetensors.", "x.safetensors"))}
    for name in strange:
        (tmp_path / name).touch()
    sweep_up(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["x.safetensors"]


@pytest.mark.parametrize("sort", WRITERS)
def test_a_folder_that_is_removed_while_a_file_is_written_is_told_in_one_way(
    sort: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As another process on the same cell does; each library would say it in words of its own."""
    folder = tmp_path / "draft"
    make = tempfile.mkstemp

    def moved(**options: Any) -> tuple[int, str]:
        made = make(**options)
        shutil.rmtree(folder)
        return made

    monkeypatch.setattr(tempfile, "mkstemp", moved)
    with pytest.raises(ArtifactError, match="Does another process work on the same"):
        WRITERS[sort](folder / "x")


def test_a_folder_that_no_file_system_takes_is_not_called_removed() -> None:
    if not Path("/proc/self").is_dir():
        pytest.skip("/proc is there on Linux alone")
    with pytest.raises(ArtifactError, match=r"folder /proc/gradsiege: /proc takes no folders"):
        write_json(Path("/proc/gradsiege/x/a.json"), 1)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_what_is_no_file_is_not_replaced(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "a.json")
    with pytest.raises(
        ArtifactError, match=r"could not write .*a\.json: it is there, and is not a"
    ):
        write_json(tmp_path / "a.json", 1)
    assert not (tmp_path / "a.json").is_file()
    assert len(list(tmp_path.iterdir())) == 1

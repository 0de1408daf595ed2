"""Files: whole or not there at all, refused by name when they differ, and never unpickled."""

from __future__ import annotations

import errno
import json
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from gradsiege import artifacts
from gradsiege.artifacts import (
    MANIFEST,
    atomic,
    check,
    read_header,
    read_json,
    read_manifest,
    read_table,
    read_tensors,
    sweep_up,
    verify_folder,
    write_json,
    write_manifest,
    write_table,
    write_tensors,
    write_text,
)
from gradsiege.errors import ArtifactError

LARGE = 100_000
WRITERS: dict[str, Callable[[Path], None]] = {
    "json": lambda path: write_json(path, list(range(LARGE))),
    "text": lambda path: write_text(path, "x" * 10 * LARGE),
    "table": lambda path: write_table(
        path, pd.DataFrame({"x": np.random.default_rng(0).random(LARGE)})
    ),
    "tensors": lambda path: write_tensors(path, {"x": torch.rand(LARGE)}, "kind"),
}


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """A finished folder with one file of each sort."""
    folder = tmp_path / "cell"
    write_tensors(folder / "a.safetensors", {"x": torch.arange(6.0)}, "thing", {"note": [1, None]})
    write_table(folder / "b.parquet", pd.DataFrame({"n": [1, 2]}))
    write_json(folder / "c.json", {"k": "ü"})
    write_manifest(folder, {"digest": "d"}, ["a.safetensors", "b.parquet", "c.json"])
    return folder


def reseal(folder: Path) -> None:
    """Let the manifest agree with whatever lies there now."""
    write_manifest(folder, {"digest": "d"}, ["a.safetensors", "b.parquet", "c.json"])


def test_everything_comes_back(sealed: Path) -> None:
    tensors, metadata = read_tensors(sealed / "a.safetensors", "thing")
    assert torch.equal(tensors["x"], torch.arange(6.0))
    assert metadata == {"note": [1, None]} == read_header(sealed / "a.safetensors", "thing")
    assert read_table(sealed / "b.parquet").n.tolist() == [1, 2]
    assert read_json(sealed / "c.json") == {"k": "ü"}
    assert verify_folder(sealed) == []


def test_tensors_come_back_in_their_order(tmp_path: Path) -> None:
    names = ["z", "a", "m"]
    tensors = {
        name: torch.zeros(1, dtype=kind)
        for name, kind in zip(names, (torch.float32, torch.int64, torch.uint8), strict=True)
    }
    write_tensors(tmp_path / "x", tensors, "kind")
    found, _ = read_tensors(tmp_path / "x", "kind", sealed=False)
    assert list(found) == names


def test_what_is_written_has_the_same_bytes_every_time(tmp_path: Path) -> None:
    for writer in WRITERS.values():
        torch.manual_seed(0)
        writer(tmp_path / "one")
        torch.manual_seed(0)
        writer(tmp_path / "two")
        assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_no_number_that_json_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", float("nan"))
    assert not list(tmp_path.iterdir())


# ---- half-written files ----


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


# ---- files that are not what they were ----

SPOILED: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda content: content[:-3],
    "grown": lambda content: content + b"\0",
    "one bit": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    "empty": lambda content: b"",
}


@pytest.mark.parametrize("name", ["a.safetensors", "b.parquet", "c.json"])
@pytest.mark.parametrize("damage", SPOILED)
def test_a_damaged_file_is_refused_by_name(sealed: Path, name: str, damage: str) -> None:
    path = sealed / name
    path.write_bytes(SPOILED[damage](path.read_bytes()))
    with pytest.raises(ArtifactError, match=rf"{name} differs from its manifest\.json"):
        read(path)
    (problem,) = verify_folder(sealed)
    assert name in problem


def read(path: Path) -> object:
    """Read a file by its ending."""
    if path.suffix == ".safetensors":
        return read_tensors(path, "thing")
    return read_table(path) if path.suffix == ".parquet" else read_json(path)


@pytest.mark.parametrize("name", ["a.safetensors", "b.parquet", "c.json"])
def test_nothing_is_read_without_a_manifest(sealed: Path, name: str) -> None:
    (sealed / MANIFEST).unlink()
    with pytest.raises(ArtifactError, match=r"holds no manifest\.json: its job has not finished"):
        read(sealed / name)


def test_a_file_that_the_manifest_does_not_list(sealed: Path) -> None:
    path = write_extra(sealed)
    with pytest.raises(ArtifactError, match=r"extra\.json is not in its folder's manifest\.json"):
        read_json(path)


def write_extra(folder: Path) -> Path:
    write_json(folder / "extra.json", {})
    return folder / "extra.json"


def test_a_file_that_is_gone(sealed: Path) -> None:
    (sealed / "c.json").unlink()
    with pytest.raises(ArtifactError, match=r"c\.json does not exist"):
        read_json(sealed / "c.json")
    assert len(verify_folder(sealed)) == 1


@pytest.mark.parametrize("damage", [lambda content: content[:-3], *SPOILED.values()])
def test_a_damaged_file_that_nobody_sealed(sealed: Path, damage: Callable[[bytes], bytes]) -> None:
    # A checkpoint has no manifest; what is torn must still be an error that names it, or the same tensors.
    path = sealed / "a.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    try:
        tensors, _ = read_tensors(path, "thing", sealed=False)
    except ArtifactError as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        assert set(tensors) == {"x"}


def test_a_file_that_is_not_there_and_that_nobody_sealed(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"x\.safetensors"):
        read_header(tmp_path / "x.safetensors", "thing", sealed=False)


# ---- files that are something else ----


def test_another_kind_is_refused(sealed: Path) -> None:
    with pytest.raises(ArtifactError, match="holds 'thing', but 'observation' is needed here"):
        read_tensors(sealed / "a.safetensors", "observation")


def test_tensors_of_no_kind_are_refused(sealed: Path) -> None:
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, sealed / "a.safetensors")
    reseal(sealed)
    with pytest.raises(ArtifactError, match="holds 'no kind at all', but 'thing' is needed"):
        read_tensors(sealed / "a.safetensors", "thing")


def test_another_format_is_refused(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "FORMAT", "99")
    with pytest.raises(ArtifactError, match="this version reads '99'"):
        read_tensors(sealed / "a.safetensors", "thing")


@pytest.mark.parametrize(
    "broken", [{}, {"metadata": "{torn", "order": '["x"]'}, {"metadata": "{}", "order": '["y"]'}]
)
def test_a_header_that_is_damaged(sealed: Path, broken: dict[str, str]) -> None:
    from safetensors.torch import save_file

    header = {"kind": "thing", "format": artifacts.FORMAT, **broken}
    save_file({"x": torch.zeros(1)}, sealed / "a.safetensors", metadata=header)
    reseal(sealed)
    with pytest.raises(ArtifactError, match="has a damaged header"):
        read_tensors(sealed / "a.safetensors", "thing")


class Trap:
    """Unpickling this leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("save", ["pickle", "torch"])
def test_a_pickle_in_disguise_is_refused_and_never_opened(
    sealed: Path, tmp_path: Path, save: str
) -> None:
    mark, path = tmp_path / "unpickled", sealed / "a.safetensors"
    if save == "pickle":
        path.write_bytes(pickle.dumps(Trap(mark)))
    else:
        torch.save({"x": Trap(mark)}, path)
    reseal(sealed)
    with pytest.raises(ArtifactError, match=r"a\.safetensors is damaged"):
        read_tensors(path, "thing")
    for name in ("b.parquet", "c.json"):
        (sealed / name).write_bytes(path.read_bytes())
        reseal(sealed)
        with pytest.raises(ArtifactError, match=name):
            read(sealed / name)
    assert not mark.exists()


def test_the_package_never_unpickles() -> None:
    source = Path(artifacts.__file__).parent
    for path in source.rglob("*.py"):
        text = path.read_text()
        for word in ("import pickle", "pickle.load", "read_pickle", "allow_pickle=True", "joblib"):
            assert word not in text, f"{path} has {word}"
        assert text.count("torch.load(") == text.count("weights_only=True"), path


# ---- manifests ----


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "{}", '{"files": []}', '{"files": {"x": 1}}', '{"files": {"x": {}}}'],
)
def test_a_damaged_manifest_is_refused_by_name(sealed: Path, text: str) -> None:
    (sealed / MANIFEST).write_text(text)
    for reader in (read_manifest, verify_folder):
        with pytest.raises(ArtifactError, match=r"manifest\.json is damaged"):
            reader(sealed)
    with pytest.raises(ArtifactError, match=r"manifest\.json is damaged"):
        check(sealed / "c.json")


def test_no_bit_of_a_manifest_can_change_without_being_noticed(sealed: Path) -> None:
    path = sealed / MANIFEST
    content, known = path.read_bytes(), read_manifest(sealed)
    noticed = 0
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << 5 * place % 8
        path.write_bytes(damaged)
        try:
            assert read_manifest(sealed) == known
        except ArtifactError:
            noticed += 1
    # What is not noticed means the same: another letter for the white space at the end.
    assert noticed >= len(content) - 1


def test_manifests_of_earlier_versions_have_no_checksum_and_are_read(sealed: Path) -> None:
    known = read_manifest(sealed)
    assert artifacts.CHECKSUM not in known
    (sealed / MANIFEST).write_text(json.dumps(known))
    assert read_manifest(sealed) == known
    assert verify_folder(sealed) == []


def test_a_file_of_tensors_that_claims_a_huge_header(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes((2**62).to_bytes(8, "little") + b"{}")
    with pytest.raises(ArtifactError, match=r"x\.safetensors is damaged"):
        read_tensors(path, "kind", sealed=False)


@pytest.mark.parametrize("name", ["../outside.json", "/etc/passwd", "sub/../../outside.json", ".."])
def test_a_manifest_that_names_a_path_outside(sealed: Path, name: str) -> None:
    outside = sealed.parent / "outside.json"
    outside.write_text("{}")
    manifest = read_manifest(sealed)
    size, digest = outside.stat().st_size, artifacts.file_digest(outside)
    manifest["files"] = {name: {"bytes": size, "sha256": digest}}
    (sealed / MANIFEST).write_text(json.dumps(manifest))
    (problem,) = verify_folder(sealed)
    assert "outside" in problem
    assert repr(name) in problem


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


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "it is not JSON: Expecting"),
        ("{}", "it lacks 'files'"),
        ("[]", "it holds other data"),
        ('{"files": {"a": {}}}', "a file without size or checksum"),
    ],
)
def test_a_damaged_manifest_is_described_in_words(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(ArtifactError) as caught:
        read_manifest(tmp_path)
    assert f"is damaged ({words}" in str(caught.value)
    assert "Error(" not in str(caught.value)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_what_is_no_file_is_not_replaced(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "a.json")
    with pytest.raises(
        ArtifactError, match=r"could not write .*a\.json: it is there, and is not a"
    ):
        write_json(tmp_path / "a.json", 1)
    assert not (tmp_path / "a.json").is_file()
    assert len(list(tmp_path.iterdir())) == 1


def test_a_manifest_comes_last_or_not_at_all(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(ArtifactError, match=r"b\.json was removed meanwhile"):
        write_manifest(tmp_path, {}, ["a.json", "b.json"])
    assert not (tmp_path / MANIFEST).exists()


def test_tensors_come_back_in_aligned_memory(tmp_path: Path) -> None:
    """Unaligned memory lets a convolution round differently, and resumed runs part from unbroken ones."""
    tensors = {name: torch.rand(count) for name, count in (("a", 1), ("b", 3), ("c", 7), ("d", 5))}
    write_tensors(tmp_path / "x", tensors, "kind")
    read, _ = read_tensors(tmp_path / "x", "kind", sealed=False)
    assert all(value.data_ptr() % 16 == 0 for value in read.values())
    assert all(torch.equal(tensors[name], value) for name, value in read.items())

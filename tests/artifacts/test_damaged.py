"""Files that differ from what was sealed, or are something else, are refused by name and never unpickled."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sealed_files import read, reseal

from gradsiege import artifacts
from gradsiege.artifacts import (
    MANIFEST,
    read_header,
    read_json,
    read_tensors,
    verify_folder,
    write_json,
)
from gradsiege.errors import ArtifactError

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


def test_a_file_of_tensors_that_claims_a_huge_header(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes((2**62).to_bytes(8, "little") + b"{}")
    with pytest.raises(ArtifactError, match=r"x\.safetensors is damaged"):
        read_tensors(path, "kind", sealed=False)

"""Artifacts come back as they were written: the same values, order, bytes and alignment."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from sealed_files import WRITERS

from gradsiege.artifacts import (
    read_header,
    read_json,
    read_table,
    read_tensors,
    verify_folder,
    write_json,
    write_tensors,
)


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
    read_back, _ = read_tensors(tmp_path / "x", "kind", sealed=False)
    assert list(read_back) == names


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


def test_tensors_come_back_in_aligned_memory(tmp_path: Path) -> None:
    """Unaligned memory lets a convolution round differently, and resumed runs part from unbroken ones."""
    tensors = {name: torch.rand(count) for name, count in (("a", 1), ("b", 3), ("c", 7), ("d", 5))}
    write_tensors(tmp_path / "x", tensors, "kind")
    read, _ = read_tensors(tmp_path / "x", "kind", sealed=False)
    assert all(value.data_ptr() % 16 == 0 for value in read.values())
    assert all(torch.equal(tensors[name], value) for name, value in read.items())

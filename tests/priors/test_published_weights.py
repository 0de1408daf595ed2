"""Weights from elsewhere: nothing in a file is ever executed."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from gradsiege.errors import GradSiegeError
from gradsiege.priors.published_weights import read


class Trap:
    """Unpickling this leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".pkl", ".safetensors"])
@pytest.mark.parametrize("how", ["pickle", "torch", "torch, old format"])
def test_pickled_weights_are_refused_and_not_opened(tmp_path: Path, how: str, suffix: str) -> None:
    path, mark = tmp_path / f"weights{suffix}", tmp_path / "executed"
    content = {"weight": torch.zeros(2), "evil": Trap(mark)}
    if how == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "torch")
    with pytest.raises(GradSiegeError, match=path.name):
        read(path)
    assert not mark.exists()


def test_a_header_that_claims_more_than_there_is(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes((2**62).to_bytes(8, "little") + b"{}")
    with pytest.raises(GradSiegeError, match=r"weights\.safetensors is not a safetensors file"):
        read(path)

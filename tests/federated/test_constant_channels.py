"""A colour channel that is constant is named and not divided by zero; images that show nothing are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from published import noise

from gradsiege import artifacts
from gradsiege.datasets.sources import supply
from gradsiege.errors import ArtifactError
from gradsiege.federated.normalisation import set_normalisation
from gradsiege.images import StoredImages
from gradsiege.models import ModelSpec, build
from gradsiege.pipeline.cells import Cell
from gradsiege.protocol.checkpoint import load_checkpoint
from gradsiege.study import load

COUNTS = {"train": 16, "test": 6, "aux": 6, "public": 4, "tune": 2, "victims": 4}


@pytest.fixture
def own(
    tiny_raw: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[np.ndarray], tuple[str, ...]]:
    """A function that writes pictures with constant channels and returns the options of a verb."""

    def write(kept: np.ndarray) -> tuple[str, ...]:
        monkeypatch.setenv(supply.ROOT_VARIABLE, str(tmp_path / "data"))
        for number in range(50):
            path = tmp_path / f"data/mine/{('ant', 'bee')[number % 2]}/{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image = noise(16, 16, 3, seed=number)
            image[..., ~kept] = 77
            Image.fromarray(image).save(path)
        tiny_raw["datasets"] = [
            {"name": "image_folder", "size": 16, "counts": COUNTS, "parameters": {"path": "mine"}}
        ]
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(tiny_raw))
        return ("--study", str(tmp_path / "study.yaml"), "--root", str(tmp_path))

    return write


def test_training_with_a_constant_channel_is_sound_and_says_so(
    own: Callable[[np.ndarray], tuple[str, ...]],
    verb: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = own(np.array([True, False, True]))
    assert verb("fetch", "image_folder", *options) == 0
    assert "constant over the images of train, and so without any information: green" in (
        capsys.readouterr().err
    )
    assert verb("federate", "image_folder/lenet/none/seed0", *options) == 0
    said = capsys.readouterr()
    assert "the channel green is constant over `train` and is not scaled" in said.err
    assert "diverged" not in said.out
    cell = Cell("federate", dataset="image_folder", model="lenet", defense="none")
    folder = cell.folder(load(tmp_path / "study.yaml"), tmp_path)
    assert artifacts.read_manifest(folder)["status"] == "complete"
    table: pd.DataFrame = artifacts.read_table(folder / "utility.parquet")
    assert np.isfinite(table["loss"]).all()
    buffers = load_checkpoint(folder / "late.safetensors").buffers
    assert buffers["normalisation.deviation"][1] == 1
    assert (buffers["normalisation.deviation"] > 0).all()


def test_images_that_show_nothing_are_refused_where_they_are_normalised() -> None:
    model = build(ModelSpec("lenet", {}, 2, 3, 16), torch.Generator().manual_seed(0))
    images = StoredImages(torch.full((3, 3, 16, 16), 7, dtype=torch.uint8))
    with pytest.raises(ArtifactError, match=r"here: every colour channel .* constant"):
        set_normalisation(model, images, "here")


def test_images_of_constant_channels_alone_are_refused(
    own: Callable[[np.ndarray], tuple[str, ...]],
    verb: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exact repetitions are dropped first, so pictures of one and the same colour are too few already."""
    options = own(np.array([False, False, False]))
    assert verb("fetch", "image_folder", *options) == 3
    assert "asks for" in capsys.readouterr().err

"""The score stage with and without the weights of LPIPS: the same digest and the same other numbers, and a record of both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from trunks import as_torchvision

from gradsiege import artifacts, pretrained
from gradsiege.pipeline.cells import cells
from gradsiege.study import Study

Finished = tuple[Study, Path]
PERCEPTUAL = ["lpips", "lpips_vgg", "rank_lpips"]


def test_new_columns_change_no_old_one(
    study_copy: Finished,
    verb: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study, root = study_copy
    cell = cells(study)["score"][0]
    folder = cell.folder(study, root)
    monkeypatch.setattr(pretrained, "packaged_file", lambda trunk: None)
    monkeypatch.setenv(pretrained.VARIABLE, str(tmp_path))

    def scored() -> tuple[pd.DataFrame, dict]:
        arguments = ("score", cell.key, "--study", root / "tiny.yaml", "--root", root)
        assert verb(*arguments) == 0
        return artifacts.read_table(folder / "scores.parquet"), artifacts.read_manifest(folder)

    without, first = scored()
    assert without[PERCEPTUAL].isna().all(axis=None)
    assert first["notes"]["weights"] == {}
    for name, network in (("lpips", "AlexNet"), ("lpips_vgg", "VGG16")):
        assert network in first["notes"]["absent"][name]
    for trunk in ("alex", "vgg"):
        as_torchvision(tmp_path, monkeypatch, trunk)
    measured, second = scored()
    complete = measured["status"] == "complete"
    assert complete.any()
    assert measured.loc[complete, PERCEPTUAL].notna().all(axis=None)
    assert measured["rank_lpips"].between(1, measured["gallery_size"]).all()
    assert not {"lpips", "lpips_vgg"} & set(second["notes"]["absent"])
    assert second["notes"]["weights"] == {
        trunk: pretrained.TRUNKS[trunk].sha256 for trunk in ("alex", "vgg")
    }
    assert first["digest"] == second["digest"]
    same = [name for name in without if name not in PERCEPTUAL]
    pd.testing.assert_frame_equal(without[same], measured[same])

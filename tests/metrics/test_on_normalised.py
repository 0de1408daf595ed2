"""SSIM and LPIPS of normalised images against scikit-image and the package lpips, which are given such images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from trunks import as_torchvision, reference_network

from gradsiege import pretrained
from gradsiege.metrics.absent import Absent
from gradsiege.metrics.measurement import Scene, absent_metrics, measure
from gradsiege.metrics.on_normalised import lpips, structural_similarity

MEAN, DEVIATION = torch.tensor([0.49, 0.48, 0.45]), torch.tensor([0.25, 0.24, 0.26])


def normalised(images: Tensor) -> Tensor:
    return (images - MEAN[:, None, None]) / DEVIATION[:, None, None]


def test_ssim_is_that_of_scikit_image(small: Tensor, small_noisy: Tensor) -> None:
    from skimage.metrics import structural_similarity as reference

    expected = [
        reference(
            truth.numpy(),
            reconstruction.numpy(),
            data_range=1,
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for reconstruction, truth in zip(normalised(small_noisy), normalised(small), strict=True)
    ]
    ours = structural_similarity(small_noisy, small, (MEAN, DEVIATION))
    np.testing.assert_allclose(ours, expected, rtol=1e-6)


@pytest.mark.parametrize("side", [31, 32])
def test_lpips_is_that_of_the_package_without_enlargement(
    side: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: Tensor, small_noisy: Tensor
) -> None:
    folder = as_torchvision(tmp_path, monkeypatch, "alex").parent
    monkeypatch.setenv(pretrained.VARIABLE, str(folder))
    x, y = small_noisy[..., :side, :side], small[..., :side, :side]
    network = reference_network(folder)
    with torch.no_grad():
        expected = network(normalised(x), normalised(y)).flatten()
    ours = lpips(x, y, (MEAN, DEVIATION))
    assert isinstance(ours, Tensor)
    torch.testing.assert_close(ours, expected, rtol=2e-5, atol=1e-8)


def test_what_cannot_be_computed_is_nan_and_has_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: Tensor
) -> None:
    folder = as_torchvision(tmp_path, monkeypatch, "alex").parent
    monkeypatch.setenv(pretrained.VARIABLE, str(folder))
    failed = small.clone()
    failed[1] = torch.nan
    values = lpips(failed, small, (MEAN, DEVIATION))
    assert isinstance(values, Tensor)
    assert values.isnan().tolist() == [False, True, False, False]
    tiny = lpips(small[..., :30, :30], small[..., :30, :30], (MEAN, DEVIATION))
    assert isinstance(tiny, Tensor)
    assert tiny.isnan().all()
    monkeypatch.setattr(pretrained, "packaged_file", lambda trunk: None)
    monkeypatch.setenv(pretrained.VARIABLE, str(tmp_path / "nowhere"))
    assert isinstance(lpips(small, small, (MEAN, DEVIATION)), Absent)
    scene = Scene(small[:, None], torch.zeros(4, 1), small, (MEAN, DEVIATION))
    assert "AlexNet" in absent_metrics(scene)["lpips_on_normalised"]
    measured = measure(small[:, None], scene).numbers
    assert measured["lpips_on_normalised"].isnan().all()
    torch.testing.assert_close(measured["ssim_on_normalised"], torch.ones(4).double())


def test_a_scene_without_statistics_leaves_both_out(small: Tensor) -> None:
    scene = Scene(small[:, None], torch.zeros(4, 1), small)
    assert not {"ssim_on_normalised", "lpips_on_normalised"} & set(absent_metrics(scene))
    assert "ssim_on_normalised" not in measure(small[:, None], scene).numbers

"""Pixel fidelity against scikit-image, piq and TorchMetrics, and against errors of the field."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, log10

import numpy as np
import pytest
import torch
from torch import Tensor

from gradsiege.metrics.fidelity import (
    mean_squared_error,
    multi_scale_structural_similarity,
    peak_signal_noise_ratio,
    structural_similarity,
)
from gradsiege.metrics.perceptual import haar_perceptual_similarity
from gradsiege.metrics.registry import METRICS

Function = Callable[[Tensor, Tensor], Tensor]

FUNCTIONS: list[Function] = [
    mean_squared_error,
    peak_signal_noise_ratio,
    structural_similarity,
    multi_scale_structural_similarity,
    haar_perceptual_similarity,
]
PERFECT: dict[Function, float] = dict(zip(FUNCTIONS, (0.0, inf, 1.0, 1.0, 1.0), strict=True))

per_function = pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)


@pytest.mark.parametrize("channels", [1, 3])
def test_psnr_is_that_of_scikit_image(small: Tensor, small_noisy: Tensor, channels: int) -> None:
    from skimage.metrics import peak_signal_noise_ratio as reference

    x, y = small_noisy[:, :channels], small[:, :channels]
    expected = [reference(t, r, data_range=1) for r, t in zip(x.numpy(), y.numpy(), strict=True)]
    np.testing.assert_allclose(peak_signal_noise_ratio(x, y), expected, rtol=1e-12)


def test_psnr_is_that_of_torchmetrics_without_its_pooling(
    small: Tensor, small_noisy: Tensor
) -> None:
    from torchmetrics.functional.image import peak_signal_noise_ratio as reference

    expected = reference(small_noisy, small, data_range=1.0, reduction="none", dim=(1, 2, 3))
    torch.testing.assert_close(peak_signal_noise_ratio(small_noisy, small), expected)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", ["small", "large", "oblong"])
def test_ssim_is_that_of_scikit_image(
    large: Tensor, large_noisy: Tensor, channels: int, size: str
) -> None:
    from skimage.metrics import structural_similarity as reference

    window = {"small": (32, 32), "large": (192, 192), "oblong": (11, 45)}[size]
    x, y = (t[:, :channels, : window[0], : window[1]] for t in (large_noisy, large))
    expected = [
        reference(
            truth,
            reconstruction,
            data_range=1,
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for reconstruction, truth in zip(x.numpy(), y.numpy(), strict=True)
    ]
    np.testing.assert_allclose(structural_similarity(x, y), expected, rtol=1e-10)


def test_ssim_is_that_of_torchmetrics_inside_the_border(small: Tensor, small_noisy: Tensor) -> None:
    from torchmetrics.functional.image import structural_similarity_index_measure as reference

    padded, full = reference(
        small_noisy, small, data_range=1.0, reduction="none", return_full_image=True
    )
    ours = structural_similarity(small_noisy, small)
    torch.testing.assert_close(ours, full[..., 5:-5, 5:-5].mean(dim=(1, 2, 3)))
    assert ((padded - ours).abs() > 1e-3).any()  # its own mean counts windows outside the image


def test_ssim_is_that_of_piq_without_its_shrinking(large: Tensor, large_noisy: Tensor) -> None:
    from piq import ssim

    x, y = (t[:1, :1].repeat(1, 1, 2, 2) for t in (large_noisy, large))  # 384: piq would halve it
    ours = structural_similarity(x, y)
    expected = ssim(x, y, data_range=1.0, reduction="none", downsample=False)
    torch.testing.assert_close(ours, expected)
    assert abs(ssim(x, y, data_range=1.0).item() - ours.item()) > 0.01


@pytest.mark.parametrize("side", [192, 191, 161])
def test_multi_scale_ssim_is_that_of_piq(large: Tensor, large_noisy: Tensor, side: int) -> None:
    from piq import multi_scale_ssim

    x, y = (t[:2, :, :side, :side] for t in (large_noisy, large))
    # Of an odd side piq repeats the first row, here the last one counts: the same, upside down.
    expected = multi_scale_ssim(x.flip(-1, -2), y.flip(-1, -2), data_range=1.0, reduction="none")
    torch.testing.assert_close(multi_scale_structural_similarity(x, y), expected)


def test_multi_scale_ssim_is_that_of_torchmetrics_up_to_its_border(
    large: Tensor, large_noisy: Tensor
) -> None:
    from torchmetrics.functional.image import (
        multiscale_structural_similarity_index_measure as reference,
    )

    grey, grey_noisy = large[:, :1], large_noisy[:, :1]  # it averages channels within each scale
    expected = reference(grey_noisy, grey, data_range=1.0, reduction="none")
    ours = multi_scale_structural_similarity(grey_noisy, grey)
    torch.testing.assert_close(ours, expected, rtol=0, atol=5e-3)


@per_function
def test_an_exact_image_is_perfect_and_alone(
    function: Function, large: Tensor, large_noisy: Tensor
) -> None:
    """One exact image must not make its whole batch infinite, as in pooled PSNR."""
    mixed = large_noisy.clone()
    mixed[1] = large[1]
    scores = function(mixed, large)
    assert scores[1] == pytest.approx(PERFECT[function], abs=1e-12)
    others = [0, 2, 3]
    torch.testing.assert_close(scores[others], function(large_noisy, large)[others])
    assert scores[others].isfinite().all()
    assert scores[others].ne(PERFECT[function]).all()


@per_function
def test_shuffling_a_batch_shuffles_its_scores(
    function: Function, large: Tensor, large_noisy: Tensor
) -> None:
    order = torch.tensor([2, 0, 3, 1])
    scores = function(large_noisy, large)
    torch.testing.assert_close(function(large_noisy[order], large[order]), scores[order])
    assert len(set(scores.tolist())) == 4


@per_function
def test_an_image_scores_alike_alone_and_in_a_batch(
    function: Function, large: Tensor, large_noisy: Tensor
) -> None:
    alone = torch.cat([function(large_noisy[i : i + 1], large[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(alone, function(large_noisy, large))


@per_function
def test_pairs_are_scored_by_index_not_against_all(function: Function, large: Tensor) -> None:
    """The identity pairing is perfect, and any other is worse for every image."""
    assert function(large, large).tolist() == pytest.approx([PERFECT[function]] * 4, abs=1e-12)
    shifted = function(large.roll(1, dims=0), large)
    if function is mean_squared_error:
        assert (shifted > 0.01).all()
    else:
        assert (shifted < 20).all()
        assert shifted.ne(PERFECT[function]).all()


@per_function
def test_metrics_are_symmetric(function: Function, large: Tensor, large_noisy: Tensor) -> None:
    torch.testing.assert_close(function(large_noisy, large), function(large, large_noisy))


@per_function
def test_single_and_double_precision_agree(
    function: Function, large: Tensor, large_noisy: Tensor
) -> None:
    single = function(large_noisy.float(), large.float())
    assert single.dtype == torch.float64
    torch.testing.assert_close(single, function(large_noisy, large), rtol=1e-5, atol=1e-7)


@per_function
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_a_diverged_reconstruction_is_a_nan_of_its_own(
    function: Function, large: Tensor, large_noisy: Tensor, bad: float
) -> None:
    diverged = large_noisy.clone()
    diverged[2, 1, 5, 5] = bad
    scores = function(diverged, large)
    assert scores.isnan().tolist() == [False, False, True, False]
    others = [0, 1, 3]
    torch.testing.assert_close(scores[others], function(large_noisy, large)[others])


@per_function
def test_all_diverged_is_all_nan(function: Function, large: Tensor) -> None:
    assert function(torch.full_like(large, torch.nan), large).isnan().all()


@per_function
def test_scores_stay_in_their_registered_range_and_fall_with_noise(
    function: Function, large: Tensor, large_noisy: Tensor
) -> None:
    metric = next(m for m in METRICS.values() if m.function.endswith("." + function.__name__))
    low, high = metric.range
    worst = function(1 - large.round(), large.round())
    scores = function(large_noisy, large)
    for values in (worst, scores, function(large, large)):
        assert ((values >= low) & (values <= high)).all()
    closer = function((large + large_noisy) / 2, large)
    assert ((closer > scores) == metric.higher_is_better).all()


@per_function
def test_inputs_are_left_alone_and_scores_carry_no_gradient(
    function: Function, large: Tensor, large_noisy: Tensor
) -> None:
    x, y = large_noisy.clone().requires_grad_(), large.clone()
    assert not function(x, y).requires_grad
    assert torch.equal(x, large_noisy)
    assert torch.equal(y, large)


@per_function
def test_grey_images_of_an_undefined_size_are_nan_and_the_registry_says_why(
    function: Function, large: Tensor
) -> None:
    metric = next(m for m in METRICS.values() if m.function.endswith("." + function.__name__))
    side = metric.smallest_side
    enough = large[:, :1, :side, : side + 3]
    assert function(enough, enough).isfinite().all() or function is peak_signal_noise_ratio
    assert metric.absence(side, side + 3) is None
    if side > 1:
        short = large[:, :1, : side + 3, : side - 1]
        assert function(short, short).isnan().all()
        absent = metric.absence(side + 3, side - 1)
        assert absent is not None
        assert f"{side} x {side}" in absent.reason


def test_the_peak_is_one_whatever_range_the_image_fills() -> None:
    """A low-contrast image is not rescaled to its own range, and [-1, 1] cannot shift the scale."""
    truth = torch.full((1, 3, 8, 8), 0.5)
    assert peak_signal_noise_ratio(truth + 0.1, truth).item() == pytest.approx(20.0, abs=1e-4)


def test_storing_an_image_in_eight_bits_costs_the_variance_of_rounding(large: Tensor) -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(large.shape, generator=generator, dtype=torch.float64)
    psnr = peak_signal_noise_ratio((image * 255).round() / 255, image)
    assert (psnr - 10 * log10(12 * 255**2)).abs().max() < 0.1  # 58.9 dB

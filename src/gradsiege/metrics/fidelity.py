"""Pixel fidelity: mean squared error, PSNR, SSIM, multi-scale SSIM.

SSIM is implemented here and tested against scikit-image, piq and
TorchMetrics. As in the authors' code only windows inside the image count. Libraries differ
here: TorchMetrics 1.9 includes a padded border in the average, which at 32 pixels changed SSIM by
up to 0.05, and piq by default shrinks images of 384 pixels and more.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from gradsiege.metrics._images import per_image
from gradsiege.metrics.registry import METRICS

WINDOW, SIGMA = 11, 1.5
"""Side of the Gaussian window of SSIM and its standard deviation, in pixels."""

C1, C2 = 0.01**2, 0.03**2
"""Stabilisers (K1 L)^2 and (K2 L)^2 of SSIM with dynamic range L = 1."""

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales of MS-SSIM, the finest first, as Wang et al. calibrated them."""


def mean_squared_error(reconstructions: Tensor, truths: Tensor) -> Tensor:
    """Mean squared error over the pixels and channels of each image.

    Args:
        reconstructions: [n, C, H, W] in [0, 1].
        truths: [n, C, H, W] in [0, 1].

    Returns:
        float64 [n] in [0, 1]; 0 is perfect, NaN a reconstruction with non-finite pixels.

    Raises:
        TypeError, ValueError: See `gradsiege.metrics._images.check_images`.

    >>> import torch
    >>> truths = torch.full((2, 3, 4, 4), 0.5)
    >>> mean_squared_error(torch.stack([truths[0], truths[1] - 0.25]), truths).tolist()
    [0.0, 0.0625]
    """
    return per_image(lambda x, y: (x - y).square().mean(dim=(1, 2, 3)), reconstructions, truths)


def peak_signal_noise_ratio(reconstructions: Tensor, truths: Tensor) -> Tensor:
    """Peak signal-to-noise ratio, 10 log10(1 / MSE), of each image; the peak is 1, never inferred.

    Args:
        reconstructions: [n, C, H, W] in [0, 1].
        truths: [n, C, H, W] in [0, 1].

    Returns:
        float64 [n] in dB, in [0, inf]; inf is a perfect reconstruction. Averages cap it first
        (`analysis.summary.PSNR_CAP`).

    Raises:
        TypeError, ValueError: See `gradsiege.metrics._images.check_images`.

    >>> import torch
    >>> truths = torch.full((2, 3, 4, 4), 0.5)
    >>> values = peak_signal_noise_ratio(torch.stack([truths[0], truths[1] - 0.25]), truths)
    >>> [round(value, 4) for value in values.tolist()]
    [inf, 12.0412]
    """
    return 10 * mean_squared_error(reconstructions, truths).reciprocal().log10()


def structural_similarity(reconstructions: Tensor, truths: Tensor) -> Tensor:
    """Mean structural similarity (SSIM) of each image: Wang et al. 2004, equations 13 and 17.

    Gaussian window 11 x 11 with sigma 1.5, K1 = 0.01, K2 = 0.03, population covariance, dynamic
    range 1, the mean over all windows that lie inside the image and over channels.

    Args:
        reconstructions: [n, C, H, W] in [0, 1].
        truths: [n, C, H, W] in [0, 1].

    Returns:
        float64 [n] in [-1, 1]; 1 is perfect. NaN where a side is below 11 pixels (no window fits).

    Raises:
        TypeError, ValueError: See `gradsiege.metrics._images.check_images`.

    >>> import torch
    >>> ramp = torch.linspace(0, 1, 256).reshape(1, 1, 16, 16)
    >>> [round(structural_similarity(x, ramp).item(), 4) for x in (ramp, ramp / 2, 1 - ramp)]
    [1.0, 0.6521, -0.8262]
    >>> structural_similarity(ramp[..., :10], ramp[..., :10]).item()
    nan
    """
    return per_image(mean_similarity, reconstructions, truths, METRICS["ssim"].smallest_side)


def mean_similarity(x: Tensor, y: Tensor) -> Tensor:
    """Return equation 13 of Wang et al. 2004, the mean over windows and channels, ``[n]``, of images ``[n, c, h, w]`` on any scale."""
    return _channel_similarity(x, y)[0].mean(dim=1)


def multi_scale_structural_similarity(reconstructions: Tensor, truths: Tensor) -> Tensor:
    """Multi-scale SSIM of each image: Wang, Simoncelli & Bovik 2003, equation 7, five scales.

    Each channel's terms are combined over the scales, then channels are averaged. A negative term
    counts as 0, since it has no real power.

    Args:
        reconstructions: [n, C, H, W] in [0, 1].
        truths: [n, C, H, W] in [0, 1].

    Returns:
        float64 [n] in [0, 1]; 1 is perfect. NaN where a side is below 161 pixels: after four
        halvings fewer than the window's 11 pixels are left, and fewer scales would be another
        metric. ``METRICS["ms_ssim"].absence(H, W)`` returns this reason.

    Raises:
        TypeError, ValueError: See `gradsiege.metrics._images.check_images`.

    >>> import torch
    >>> ramp = torch.linspace(0, 1, 161 * 161).reshape(1, 1, 161, 161)
    >>> [round(multi_scale_structural_similarity(x, ramp).item(), 4) for x in (ramp, ramp / 2)]
    [1.0, 0.8462]
    >>> multi_scale_structural_similarity(ramp[..., :160], ramp[..., :160]).item()
    nan
    """
    return per_image(_multi_scale, reconstructions, truths, METRICS["ms_ssim"].smallest_side)


def _multi_scale(x: Tensor, y: Tensor) -> Tensor:
    """Equation 7 of Wang et al. 2003 with alpha_5 = beta_j = gamma_j: [n, C, H, W] twice -> [n]."""
    product = torch.ones(x.shape[:2], dtype=x.dtype, device=x.device)
    for scale, weight in enumerate(SCALE_WEIGHTS, start=1):
        similarity, structure = _channel_similarity(x, y)
        term = similarity if scale == len(SCALE_WEIGHTS) else structure
        product = product * term.clamp(min=0) ** weight
        # An odd side keeps its last row or column, so that 161 pixels leave one window at the end.
        x, y = (avg_pool2d(images, 2, ceil_mode=True) for images in (x, y))
    return product.mean(dim=1)


def _channel_similarity(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """SSIM and its contrast-structure factor, both averaged over windows: two [n, C].

    Equation 13 of Wang et al. 2004, in two factors: with Gaussian-weighted means, variances and
    covariance in a window, luminance (2 mx my + C1) / (mx^2 + my^2 + C1) times contrast and
    structure (2 cov + C2) / (vx + vy + C2).
    """
    mean_x, mean_y = _window_means(x), _window_means(y)
    covariance = _window_means(x * y) - mean_x * mean_y
    variances = _window_means(x * x) - mean_x**2 + _window_means(y * y) - mean_y**2
    structure = (2 * covariance + C2) / (variances + C2)
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    return (luminance * structure).mean(dim=(2, 3)), structure.mean(dim=(2, 3))


def _window_means(images: Tensor) -> Tensor:
    """Gaussian means of all windows inside the image: [n, C, H, W] -> [n, C, H - 10, W - 10].

    The window is separable, so one band matrix is applied along each axis: in float64 on a CPU,
    matrix products were about twenty times as fast as a convolution.
    """
    rows, columns = (_band_matrix(side, images) for side in images.shape[2:])
    return rows @ images @ columns.T


def _band_matrix(side: int, like: Tensor) -> Tensor:
    """One-dimensional windows as rows, [side - 10, side], each row summing to one."""
    offsets = torch.arange(WINDOW, dtype=like.dtype, device=like.device) - WINDOW // 2
    weights = (offsets**2 / (-2 * SIGMA**2)).softmax(dim=0)  # the normalised Gaussian
    bands = torch.zeros(side - WINDOW + 1, side, dtype=like.dtype, device=like.device)
    for offset, weight in enumerate(weights):
        bands.diagonal(offset).copy_(weight)
    return bands

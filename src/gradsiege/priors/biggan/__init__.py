"""BigGAN-deep at 256 px (Brock et al., ICLR 2019), from published weights: GIFD's prior on ImageNet."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradsiege.errors import GradSiegeError, StudyError
from gradsiege.priors.base import Prior, Trained
from gradsiege.priors.biggan.weights import converted
from gradsiege.priors.published_generator import packed, side_in_colour, unpacked
from gradsiege.priors.published_weights import find, read
from gradsiege.priors.resumable import UNSAVED, Checkpointer
from gradsiege.priors.shadow_generator import double
from gradsiege.priors.staged_gan.generator import Staged, mixture

VERSION = 1
FILE = "biggan-deep-256-pytorch_model.bin"
LATENT, SIDE, EPSILON = 128, 256, 1e-4
# Each block: whether it doubles the side, and its input and output channels in units of the width.
LAYERS = (
    (False, 16, 16), (True, 16, 16), (False, 16, 16), (True, 16, 8), (False, 8, 8), (True, 8, 8), (False, 8, 8),
    (True, 8, 4), (False, 4, 4), (True, 4, 2), (False, 2, 2), (True, 2, 1),
)  # fmt: skip
# Self-attention stands before this block, at 64 pixels.
ATTENTION = 8
WIDTH_OF = "stages.11.norm.gain"


@dataclass(frozen=True)
class BigGAN(Prior):
    """`weights`: the PyTorch port's file of BigGAN-deep-256, or one with the same names in safetensors; `sha256` it must have.

    If `weights` is empty, the file is searched for in the folder of published weights.
    """

    name = "biggan"
    square = True

    weights: str = ""
    sha256: str = ""

    def train(
        self,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator,
        checkpointer: Checkpointer = UNSAVED,
    ) -> Trained:
        """Return (weights, card): nothing is trained, the published weights are read and renamed.

        images: ``[n, c, h, w]`` in [0, 1]; labels: ``[n]``.

        Only the side of the auxiliary images is used: generated images are averaged down to it.
        """
        side = side_in_colour(images, "BigGAN")
        path = find(self.weights, FILE)
        published, digest = read(path, self.sha256)
        return packed(converted(published, len(LAYERS)), side, _shaped, "BigGAN", path, digest)

    @staticmethod
    def load(weights: dict[str, Tensor]) -> BigGANNetwork:
        """Return the generator, frozen.

        weights: by name, each in the shape in which `train` returned it.
        """
        return unpacked(weights, _shaped)


class ConditionalNorm(nn.Module):
    """Batch normalisation by stored statistics, its gain and bias linear in (latent, class embedding)."""

    mean: Tensor
    variance: Tensor

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.gain = nn.Linear(condition, channels, bias=False)
        self.bias = nn.Linear(condition, channels, bias=False)
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        """Normalise ``[n, c, s, s]`` and modulate it."""
        gain = (1 + self.gain(condition)) * (self.variance + EPSILON).rsqrt()
        modulated: Tensor = (h - self.mean[:, None, None]) * gain[:, :, None, None]
        shifted: Tensor = modulated + self.bias(condition)[:, :, None, None]
        return shifted


class StoredNorm(nn.Module):
    """Batch normalisation by stored statistics, with a learned gain and bias."""

    mean: Tensor
    variance: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))

    def forward(self, h: Tensor) -> Tensor:
        """Normalise ``[n, c, s, s]``."""
        gain = self.gain * (self.variance + EPSILON).rsqrt()
        return (h - self.mean[:, None, None]) * gain[:, None, None] + self.bias[:, None, None]


class Block(nn.Module):
    """Residual bottleneck of the deep variant: 1x1, two 3x3 at a quarter of the channels, 1x1; the skip drops channels."""

    def __init__(self, inputs: int, outputs: int, condition: int, doubles: bool) -> None:
        super().__init__()
        self.outputs, self.doubles, inner = outputs, doubles, inputs // 4
        self.norms = nn.ModuleList(
            ConditionalNorm(channels, condition) for channels in (inputs, inner, inner, inner)
        )
        self.convolutions = nn.ModuleList(
            [
                nn.Conv2d(inputs, inner, 1),
                nn.Conv2d(inner, inner, 3, padding=1),
                nn.Conv2d(inner, inner, 3, padding=1),
                nn.Conv2d(inner, outputs, 1),
            ]
        )

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        """Map ``[n, inputs, s, s]`` to ``[n, outputs, s, s]``, or of twice the side."""
        x = h
        layers = zip(self.norms, self.convolutions, strict=True)
        for number, (norm, convolution) in enumerate(layers):
            x = F.relu(norm(x, condition))
            x = convolution(double(x) if self.doubles and number == 1 else x)
        skip = h[:, : self.outputs]
        return (double(skip) if self.doubles else skip) + x


class Attention(nn.Module):
    """Self-attention whose keys and values are pooled (Zhang et al., ICML 2019), added with a learned strength."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, channels // 8, 1, bias=False)
        self.key = nn.Conv2d(channels, channels // 8, 1, bias=False)
        self.value = nn.Conv2d(channels, channels // 2, 1, bias=False)
        self.output = nn.Conv2d(channels // 2, channels, 1, bias=False)
        self.strength = nn.Parameter(torch.zeros(1))

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        """Return ``[n, c, s, s]`` plus the attended features of every position."""
        queries = self.query(h).flatten(2)
        keys, values = (F.max_pool2d(part(h), 2).flatten(2) for part in (self.key, self.value))
        weights = torch.softmax(queries.transpose(1, 2) @ keys, -1)
        attended = (values @ weights.transpose(1, 2)).unflatten(2, h.shape[2:])
        summed: Tensor = h + self.strength * self.output(attended)
        return summed


class ToImage(nn.Module):
    """The last block, norm, 3x3 convolution, tanh; area-averaged to the side of the private images, in [0, 1]."""

    def __init__(self, block: Block, size: int) -> None:
        super().__init__()
        self.block, self.size = block, size
        self.norm = StoredNorm(block.outputs)
        self.image = nn.Conv2d(block.outputs, 3, 3, padding=1)

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        """Map the finest feature to images ``[n, 3, size, size]``."""
        image = torch.tanh(self.image(F.relu(self.norm(self.block(h, condition)))))
        return (F.adaptive_avg_pool2d(image, self.size) + 1) / 2


class BigGANNetwork(Staged):
    """The generator: its first block yields h_1, 4x4; its stages are eleven blocks and the attention.

    Args:
        width: channels of the finest block, 128 as published.
        classes: 1,000.
        size: of the images handed out, a divisor of 256.
    """

    # 2000 + 500 (k - 1) for h_k, k = 1 ... 12, as released with GIFD.
    radii = tuple(2000.0 + 500.0 * place for place in range(12))

    def __init__(self, width: int = 128, classes: int = 1000, size: int = 64) -> None:
        super().__init__()
        if SIDE % size:
            raise StudyError(f"BigGAN's images of {SIDE} pixels cannot be averaged to {size}")
        self.latent, self.classes, self.channels, self.size = LATENT, classes, 3, size
        condition = 2 * LATENT
        self.embedding = nn.Parameter(torch.zeros(classes, LATENT))
        self.entry = nn.Linear(condition, 4 * 4 * 16 * width)
        first, *blocks = (Block(a * width, b * width, condition, up) for up, a, b in LAYERS)
        self.first = first
        attention = Attention(LAYERS[ATTENTION][1] * width)
        blocks, last = blocks[:-1], blocks[-1]
        ordered = [*blocks[: ATTENTION - 1], attention, *blocks[ATTENTION - 1 :]]
        self.stages = nn.ModuleList([*ordered, ToImage(last, size)])

    def embed(self, labels: Tensor) -> Tensor:
        """Return class embeddings ``[n, 128]``; an unknown class has the mean embedding."""
        return mixture(labels, self.classes, self.embedding) @ self.embedding

    def condition(self, z: Tensor, labels: Tensor) -> Tensor:
        """Return (z, class embedding) ``[n, 256]``: the latent enters every block."""
        return torch.cat([z, self.embed(labels)], 1)

    def start(self, z: Tensor, condition: Tensor) -> Tensor:
        """Return h_1 ``[n, 16 width, 4, 4]``."""
        entered = self.entry(condition).unflatten(1, (4, 4, -1)).permute(0, 3, 1, 2)
        h: Tensor = self.first(entered, condition)
        return h


def _shaped(weights: dict[str, Tensor], size: int) -> BigGANNetwork:
    """The network for these weights, without values; the weights determine its width."""
    if not {"embedding", WIDTH_OF} <= set(weights):
        raise GradSiegeError("these are not the weights of BigGAN-deep at 256 pixels")
    with torch.device("meta"):
        return BigGANNetwork(len(weights[WIDTH_OF]), len(weights["embedding"]), size)

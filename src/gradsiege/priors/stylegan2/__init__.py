"""StyleGAN2 (Karras et al., CVPR 2020), from published weights: GIFD's prior on faces (FFHQ, 1024 px)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradsiege.errors import GradSiegeError, StudyError
from gradsiege.priors.base import Prior, Trained
from gradsiege.priors.published_generator import packed, side_in_colour, unpacked
from gradsiege.priors.published_weights import find, read
from gradsiege.priors.resumable import UNSAVED, Checkpointer
from gradsiege.priors.staged_gan.generator import Staged
from gradsiege.priors.stylegan2.layers import Styled, ToRGB
from gradsiege.priors.stylegan2.weights import converted

VERSION = 2
FILE = "stylegan2-ffhq-config-f.pt"
# Channels by side at the published multiplier of 2; coarser maps have as many as that of 64.
CHANNELS = {64: 512, 128: 256, 256: 128, 512: 64, 1024: 32}
# Noise maps that GIFD's first stage searches along with the codes: 4, 8, 8, 16 and 16 pixels; every later stage searches two more.
SEARCHED_NOISES = 5


@dataclass(frozen=True)
class StyleGAN2(Prior):
    """`weights`: a file in the layout of the PyTorch port of StyleGAN2 config-f (its `g_ema`); `sha256` it must have.

    If `weights` is empty, the file is searched for in the folder of published weights.
    """

    name = "stylegan2"
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

        Only the side of the auxiliary images is used. `generator` draws the latents for fitting the distribution of the codes.
        """
        side = side_in_colour(images, "StyleGAN2")
        path = find(self.weights, FILE)
        published, digest = read(path, self.sha256, ("g_ema",))
        return packed(converted(published, generator), side, _shaped, "StyleGAN2", path, digest)

    @staticmethod
    def load(weights: dict[str, Tensor]) -> StyleGAN2Network:
        """Return the generator, frozen.

        weights: by name, each in the shape in which `train` returned it.
        """
        return unpacked(weights, _shaped)


def noise_side(number: int) -> int:
    """Return the side of a noise map.

    >>> [noise_side(number) for number in range(5)]
    [4, 8, 8, 16, 16]
    """
    return int(2 ** ((number + 5) // 2))


class Doubling(nn.Module):
    """Two styled convolutions, of which the first doubles the side, and their share of the image.

    It takes and gives the feature with the image so far behind it, as three more channels.
    """

    def __init__(self, place: int, inputs: int, outputs: int, style: int) -> None:
        super().__init__()
        self.place = place
        self.coarse = Styled(inputs, outputs, style, doubles=True)
        self.fine = Styled(outputs, outputs, style)
        self.image = ToRGB(outputs, style)

    def forward(self, h: Tensor, codes: Tensor, noises: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return (feature, image) of ``[n, inputs + 3, s, s]``; codes ``[n, 18, style]``."""
        first = 2 * self.place + 1
        x = self.coarse(h[:, :-3], codes[:, first], noises[first])
        x = self.fine(x, codes[:, first + 1], noises[first + 1])
        return x, self.image(x, codes[:, first + 2], h[:, -3:])


class StyleGAN2Network(Staged):
    """The synthesis network, searched in the space W+ of one code per layer, and in its coarsest noise maps.

    A latent is all codes, then the noise maps of up to 16 pixels, in one row: 18 x 512 + 656 numbers at 1024 px. The
    other noise maps are the published constant ones, where a search that reaches them begins. Images are averaged to the side of the private ones; like the
    published generator's they may leave [0, 1] a little. There are no classes.

    Args:
        side: of the generator's own images.
        channels: by the side of a feature.
        style: dimension of a code.
        size: of the images handed out, a divisor of `side`.
    """

    # GIFD's radii as released, 1000 + 1000 k up to the last ones; stage k has one for its feature, its codes and each noise map.
    stage_radii = (1000.0, 2000.0, 3000.0, 4000.0, 5000.0, 6000.0, 8000.0, 8000.0, 8000.0)
    radii = stage_radii[1:]
    carried = 3

    def __init__(self, side: int, channels: dict[int, int], style: int, size: int) -> None:
        super().__init__()
        if side % size:
            raise StudyError(f"StyleGAN2's images of {side} pixels cannot be averaged to {size}")
        self.classes, self.channels, self.size, self.style = 0, 3, size, style
        doublings = int(math.log2(side)) - 2
        self.codes, noises = 2 * doublings + 2, 2 * doublings + 1
        self.noises = noises
        self.latent = self.searched(0)
        self.constant = nn.Parameter(torch.zeros(channels[4], 4, 4))
        self.first = Styled(channels[4], channels[4], style)
        self.first_image = ToRGB(channels[4], style)
        self.stages = nn.ModuleList(
            Doubling(place, channels[2 ** (place + 2)], channels[2 ** (place + 3)], style)
            for place in range(doublings)
        )
        for number in range(noises):
            shape = (1, 1, noise_side(number), noise_side(number))
            self.register_buffer(f"noise_{number}", torch.zeros(shape))
        # Moments of the codes before their last leaky ReLU: a search draws from this distribution.
        self.register_buffer("code_mean", torch.zeros(style))
        self.register_buffer("code_deviation", torch.ones(style))

    def embed(self, labels: Tensor) -> Tensor:
        """Return ``[n, 0]``: the generator knows no classes."""
        return self.constant.new_zeros(len(labels), 0)

    def condition(self, z: Tensor, labels: Tensor) -> Tensor:
        """Return the latents, which hold the code of every layer.

        z: ``[n, latent]``; labels: ``[n]``, which it does not read.
        """
        return z

    def prepared(self, z: Tensor) -> Tensor:
        """Return latents of draws from N(0, I): codes are the leaky ReLU of a normal variable fitted to real ones.

        Takes and returns ``[n, latent]``.
        """
        codes = z[:, : self.codes * self.style].unflatten(1, (self.codes, self.style))
        device = z.device
        mean, deviation = self.code_mean.to(device), self.code_deviation.to(device)
        drawn = F.leaky_relu(mean + deviation * codes, 0.2)
        return torch.cat([drawn.flatten(1), z[:, self.codes * self.style :]], 1)

    def start(self, z: Tensor, condition: Tensor) -> Tensor:
        """Return h_1 ``[n, c + 3, 4, 4]``, the image so far in its last channels."""
        codes, noises = self.parts(condition)
        h = self.first(self.constant.expand(len(z), -1, -1, -1), codes[:, 0], noises[0])
        return torch.cat([h, self.first_image(h, codes[:, 1])], 1)

    def stage(self, k: int, h: Tensor, condition: Tensor) -> Tensor:
        """Return h_{k+2} with the image so far, of h_{k+1}; for the last stage the averaged images.

        h: ``[n, c_k + 3, s_k, s_k]``; condition: ``[n, latent]``.
        """
        block: Any = self.stages[k]
        x, image = block(h, *self.parts(condition))
        if k + 1 < len(self.stages):
            return torch.cat([x, image], 1)
        return (F.adaptive_avg_pool2d(image, self.size) + 1) / 2

    def parts_of(self, stage: int) -> list[int]:
        """Return how many numbers stage k of GIFD searches in the codes, and in each of the first 5 + 2k noise maps."""
        maps = range(min(SEARCHED_NOISES + 2 * stage, self.noises))
        return [self.codes * self.style, *(noise_side(number) ** 2 for number in maps)]

    def searched(self, stage: int) -> int:
        """Return how many numbers of codes and noise maps stage k of GIFD searches; a latent has those of stage 0."""
        return sum(self.parts_of(stage))

    def extended(self, z: Tensor, stage: int) -> Tensor:
        """Return the latents of stage k, ``[n, searched(k)]``: those of the stage before, then the maps that it adds, as published."""
        added = range(len(self.parts_of(stage - 1)) - 1, len(self.parts_of(stage)) - 1)
        maps = [getattr(self, f"noise_{number}").flatten().expand(len(z), -1) for number in added]
        return torch.cat([z, *maps], 1)

    def moved(self, h: Tensor, change: Tensor) -> Tensor:
        """Add a change of a feature to it; the image so far stays.

        h: ``[n, c_k + 3, s_k, s_k]``; change: ``[n, c_k, s_k, s_k]``.
        """
        return torch.cat([h[:, : -self.carried] + change, h[:, -self.carried :]], 1)

    def dropped(self, h: Tensor) -> Tensor:
        """Forget the image so far, as GIFD's release does where it resumes in the middle.

        Takes and returns ``[n, c_k + 3, s_k, s_k]``.
        """
        return torch.cat([h[:, : -self.carried], torch.zeros_like(h[:, -self.carried :])], 1)

    def parts(self, z: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return codes ``[n, codes, style]`` and all noise maps of latents ``[n, searched(k)]``; others are the published ones."""
        end = self.codes * self.style
        codes, noises = z[:, :end].unflatten(1, (self.codes, self.style)), list[Tensor]()
        for number in range(self.noises):
            side = noise_side(number)
            if end < z.shape[1]:
                noises.append(z[:, end : end + side**2].unflatten(1, (1, side, side)))
                end += side**2
            else:
                noises.append(getattr(self, f"noise_{number}"))
        return codes, noises


def channels_of(side: int, multiplier: float = 1.0) -> dict[int, int]:
    """Return the published channels by side up to `side`, times a multiplier.

    >>> channels_of(128)
    {4: 512, 8: 512, 16: 512, 32: 512, 64: 512, 128: 256}
    """
    sides = [2**power for power in range(2, int(math.log2(side)) + 1)]
    return {length: int(multiplier * CHANNELS[max(64, length)]) for length in sides}


def _shaped(weights: dict[str, Tensor], size: int) -> StyleGAN2Network:
    """The network for these weights, without values; the weights determine its shape."""
    if "first.bias" not in weights:
        raise GradSiegeError(
            "these are not the weights of StyleGAN2: conv1.activate.bias is missing"
        )
    doublings = sum(name.endswith(".coarse.bias") for name in weights)
    widths = [len(weights["first.bias"])]
    widths += [len(weights[f"stages.{place}.coarse.bias"]) for place in range(doublings)]
    channels = {4 * 2**place: width for place, width in enumerate(widths)}
    with torch.device("meta"):
        return StyleGAN2Network(4 * 2**doublings, channels, len(weights["code_mean"]), size)

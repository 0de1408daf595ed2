"""Codes of an autoencoder, decoded to images: a search in fewer numbers than pixels (ROG; Yue et al., USENIX Security 2023)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gradsiege.attacks.spaces.generator import GeneratorSpace
from gradsiege.attacks.variables import Variables
from gradsiege.priors.autoencoder import AutoencoderNetwork

CODE = "code"
COARSE = 4


@dataclass(frozen=True)
class AutoencoderCodes(GeneratorSpace):
    """Codes ``code [images, 48, h / 8, w / 8]``, never negative, as the encoder's last ReLU leaves them.

    Attributes:
        shape: ``(channels, height, width)`` of an image.
    """

    network: AutoencoderNetwork
    shape: tuple[int, int, int]

    def start(self, generator: torch.Generator) -> Variables:
        """Return the codes of coarse random images: U(0, 1) at a quarter of the resolution, enlarged bicubically, as the release begins."""
        channels, height, width = self.shape
        sizes = (self.count, channels, -(-height // COARSE), -(-width // COARSE))
        images = F.interpolate(
            torch.rand(sizes, generator=generator), (height, width), mode="bicubic"
        )
        with torch.no_grad():
            return {CODE: self.network.encoder(images.clamp(0, 1).to(self.mean))}

    def follow(self, before: Variables) -> Variables:
        """Go on from the earlier phase's codes."""
        return {CODE: before[CODE]}

    def decode(self, x: Variables, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the decoded images ``[images, c, h, w]``; labels change nothing."""
        return self.both(self.network.decoder(x[CODE]))

    def project(self, x: Variables) -> Variables:
        """Set negative entries to zero: the decoder has never seen any."""
        return {**x, CODE: x[CODE].clamp_min(0)}

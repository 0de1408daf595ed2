"""Where an attack searches: a space draws starting points, decodes them to images, and projects back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Pixels:
    """Normalised pixels, projected to the box of valid images after every step.

    Attributes:
        shape: ``(images, channels, height, width)`` of one element.
        mean, deviation: ``[channels]``, the global model's own normalisation.
    """

    shape: tuple[int, int, int, int]
    mean: Tensor
    deviation: Tensor

    def start(self, generator: torch.Generator) -> Tensor:
        """Draw one element from N(0, 1), in normalised units, inside the box."""
        return self.project(torch.randn(self.shape, generator=generator))

    def images(self, x: Tensor) -> Tensor:
        """Return images in [0, 1] of normalised ones ``[..., c, h, w]``."""
        return x * self.deviation[:, None, None] + self.mean[:, None, None]

    def project(self, x: Tensor) -> Tensor:
        """Clip to the normalised box of valid pixels."""
        low = (0 - self.mean) / self.deviation
        high = (1 - self.mean) / self.deviation
        return torch.maximum(torch.minimum(x, high[:, None, None]), low[:, None, None])

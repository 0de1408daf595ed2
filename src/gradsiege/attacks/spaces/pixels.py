"""Where an attack searches: a space draws starting points, decodes them to images, and projects back.

A space decodes with the labels that the element is matched with: pixels ignore them, a conditional generator needs
them. A space keeps the tensors that it fixes once per element, such as the latent that generator weights are tuned around,
among its variables and detaches them when it decodes: the gradient is then exactly zero, every optimizer leaves
it alone, and it is saved, resumed and handed on with everything else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gradsiege.attacks.variables import Variables

Start = Literal["normal", "patterned"]


@dataclass(frozen=True)
class Pixels:
    """Normalised pixels, projected to the box of valid images after every step.

    Attributes:
        shape: ``(images, channels, height, width)`` of one element.
        mean, deviation: ``[channels]``, the global model's own normalisation.
        begin: ``normal`` draws N(0, 1); ``patterned`` tiles one random 4x4 patch over the image.
        boxed: whether to project (DLG does not).
    """

    shape: tuple[int, int, int, int]
    mean: Tensor
    deviation: Tensor
    begin: Start = "normal"
    boxed: bool = True

    def start(self, generator: torch.Generator) -> Variables:
        """Draw one element."""
        if self.begin == "patterned":
            images, channels, height, width = self.shape
            patch = self._draw((images, channels, 4, 4), generator)
            tiled = patch.repeat(1, 1, -(-height // 4), -(-width // 4))[..., :height, :width]
            return self.project({"x": tiled})
        return self.project({"x": self._draw(self.shape, generator)})

    def _draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Draw N(0, 1) with a generator of the CPU, so that every device starts alike."""
        return torch.randn(shape, generator=generator).to(self.mean.device)

    def follow(self, before: Variables) -> Variables:
        """Go on from the earlier phase's pixels."""
        return {"x": before["x"]}

    def decode(self, x: Variables, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return (pixels as they are optimised, the same in [0, 1]); labels change nothing.

        Both ``[images, c, h, w]``.
        """
        return self.normalised(x), self.images(x)

    def normalised(self, x: Variables) -> Tensor:
        """Pixels are what is optimised.

        ``[images, c, h, w]``, as the network sees them.
        """
        return x["x"]

    def images(self, x: Variables) -> Tensor:
        """Return images in [0, 1] of normalised ones ``[..., c, h, w]``."""
        return self.normalised(x) * self.deviation[:, None, None] + self.mean[:, None, None]

    def labels(self, x: Variables, labels: Tensor) -> Tensor:
        """Labels are not optimised.

        The given ones, ``[images]``.
        """
        return labels

    def project(self, x: Variables) -> Variables:
        """Clip to the normalised box of valid pixels."""
        if not self.boxed:
            return x
        low = ((0 - self.mean) / self.deviation)[:, None, None]
        high = ((1 - self.mean) / self.deviation)[:, None, None]
        return {**x, "x": torch.maximum(torch.minimum(x["x"], high), low)}


@dataclass(frozen=True)
class PixelsAndLabels(Pixels):
    """Pixels and soft labels together (Zhu et al., NeurIPS 2019): label logits start at N(0, 1) too."""

    classes: int = 10

    def start(self, generator: torch.Generator) -> Variables:
        """Draw pixels and label logits of one element."""
        pixels = super().start(generator)
        logits = self._draw((self.shape[0], self.classes), generator)
        return {**pixels, "label_logits": logits}

    def labels(self, x: Variables, labels: Tensor) -> Tensor:
        """Return class probabilities ``[images, classes]``."""
        return x["label_logits"].softmax(-1)

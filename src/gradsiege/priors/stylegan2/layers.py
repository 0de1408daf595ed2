"""The layers of StyleGAN2 (Karras et al., CVPR 2020) in plain operations that can be differentiated twice."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FILTER = (1.0, 3.0, 3.0, 1.0)


def upsample_filter(x: Tensor, pad: tuple[int, int], up: int = 1) -> Tensor:
    """Insert zeros, pad both sides by `pad` and convolve with the binomial filter (1, 3, 3, 1) in both directions.

    The filter's sum is `up` squared times four, the factor by which a doubling thins the values out: after an insertion
    by this function itself, or before it by a transposed convolution of stride 2.

    Args:
        x: ``[n, c, h, w]``.
        pad: zeros before and behind, in both directions.
        up: 2 to insert a zero behind every value, 1 for none.

    >>> x = torch.ones(1, 1, 4, 4)
    >>> upsample_filter(x, (2, 1), up=2)[0, 0, 3:5, 3:5].tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    n, c, h, w = x.shape
    if up == 2:
        spread = torch.stack([x, torch.zeros_like(x)], -1).flatten(-2)
        x = torch.stack([spread, torch.zeros_like(spread)], -2).reshape(n, c, 2 * h, 2 * w)
    taps = torch.tensor(FILTER, dtype=x.dtype, device=x.device)
    kernel = taps[:, None] * taps * (4 / taps.sum() ** 2)
    padded = F.pad(x, (*pad, *pad)).flatten(0, 1)[:, None]
    filtered: Tensor = F.conv2d(padded, kernel[None, None]).unflatten(0, (n, c)).squeeze(2)
    return filtered


def activate(x: Tensor, bias: Tensor) -> Tensor:
    """Return sqrt(2) times the leaky ReLU of x + bias, the bias along the second dimension.

    x: ``[n, c, ...]``; bias: ``[c]``.
    """
    shaped = bias.view(1, -1, *[1] * (x.dim() - 2))
    return math.sqrt(2) * F.leaky_relu(x + shaped, 0.2)


class Modulated(nn.Module):
    """Convolution whose weights are scaled by a style of each image, and normalised for it (equations 1 and 3).

    w'_{oikl} = s_i w_{oikl}, divided by sqrt(sum_{ikl} w'^2 + 1e-8) if demodulated. The scale goes onto the input and the
    norm onto the output, which is the same and needs no weights of its own for every image.

    Args:
        inputs, outputs, side: of the kernel.
        style: dimension of a style code.
        demodulated: normalise.
        doubles: double the side, by a transposed convolution and the filter.
    """

    def __init__(
        self, inputs: int, outputs: int, side: int, style: int, demodulated: bool, doubles: bool
    ) -> None:
        super().__init__()
        self.demodulated, self.doubles = demodulated, doubles
        self.weight = nn.Parameter(torch.zeros(outputs, inputs, side, side))
        self.style = nn.Linear(style, inputs)

    def forward(self, h: Tensor, code: Tensor) -> Tensor:
        """Map ``[n, inputs, s, s]`` with codes ``[n, style]`` to ``[n, outputs, s, s]``, or of twice the side."""
        scale: Tensor = self.style(code)
        x = h * scale[:, :, None, None]
        if self.doubles:
            x = upsample_filter(
                F.conv_transpose2d(x, self.weight.transpose(0, 1), stride=2), (1, 1)
            )
        else:
            x = F.conv2d(x, self.weight, padding=self.weight.shape[-1] // 2)
        if self.demodulated:
            power = scale.square() @ self.weight.square().sum((2, 3)).T
            x = x * (power + 1e-8).rsqrt()[:, :, None, None]
        return x


class Styled(nn.Module):
    """Modulated 3x3 convolution, noise of one learned strength, bias, leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, style: int, doubles: bool = False) -> None:
        super().__init__()
        self.convolution = Modulated(inputs, outputs, 3, style, True, doubles)
        self.strength = nn.Parameter(torch.zeros(1))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, h: Tensor, code: Tensor, noise: Tensor) -> Tensor:
        """Return the feature; noise ``[n or 1, 1, s, s]`` has the side of the result."""
        return activate(self.convolution(h, code) + self.strength * noise, self.bias)


class ToRGB(nn.Module):
    """The contribution of a feature to the image so far, which is doubled first."""

    def __init__(self, inputs: int, style: int) -> None:
        super().__init__()
        self.convolution = Modulated(inputs, 3, 1, style, False, False)
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, h: Tensor, code: Tensor, image: Tensor | None = None) -> Tensor:
        """Return the image of the feature's side; `image` has half of it.

        h: ``[n, c, s, s]``; code: ``[n, style]``; image: ``[n, 3, s / 2, s / 2]``; the result is ``[n, 3, s, s]``.
        """
        colours: Tensor = self.convolution(h, code) + self.bias[:, None, None]
        return colours if image is None else colours + upsample_filter(image, (2, 1), up=2)

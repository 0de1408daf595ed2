"""Conversion of the PyTorch port of StyleGAN2: its names become ours, learning-rate scales are folded in, codes get a distribution."""

from __future__ import annotations

import math
import re

import torch
import torch.nn.functional as F
from torch import Tensor

from gradsiege.errors import GradSiegeError

# The mapping network's layers have a learning rate of a hundredth of the others'.
MAPPING_RATE = 0.01
FITTED_ON = 10_000
PARTS = (
    (r"^input\.input$", "constant"),
    (r"^conv1\.", "first."),
    (r"^to_rgb1\.", "first_image."),
    (r"^noises\.", ""),
    (r"^to_rgbs\.(\d+)\.", r"stages.\1.image."),
    (r"\.conv\.modulation\.", ".convolution.style."),
    (r"\.conv\.weight$", ".convolution.weight"),
    (r"\.noise\.weight$", ".strength"),
    (r"\.activate\.bias$", ".bias"),
)


def renamed(name: str) -> str:
    """Return our name of a published tensor of the synthesis network.

    >>> renamed("convs.3.conv.modulation.bias"), renamed("to_rgbs.0.bias"), renamed("noises.noise_7")
    ('stages.1.fine.convolution.style.bias', 'stages.0.image.bias', 'noise_7')
    """

    def of_stage(match: re.Match[str]) -> str:
        place, second = divmod(int(match[1]), 2)
        return f"stages.{place}.{'fine' if second else 'coarse'}."

    name = re.sub(r"^convs\.(\d+)\.", of_stage, name)
    for pattern, ours in PARTS:
        name = re.sub(pattern, ours, name)
    return name


def converted(published: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    """Return the weights of the synthesis network under our names, and `code_mean` and `code_deviation`.

    published: by name; the moments of the codes are ``[style]``.

    A published weight is multiplied by one over the root of its fan-in at run time; here that is done once.
    """
    tensors: dict[str, Tensor] = {}
    for name, value in published.items():
        if name.startswith("style.") or name.endswith(".kernel"):
            continue
        if name.endswith("conv.weight"):
            value = value[0] / math.sqrt(value[0, 0].numel())
        elif name.endswith("modulation.weight"):
            value = value / math.sqrt(value.shape[1])
        elif name == "input.input":
            value = value[0]
        elif re.fullmatch(r"to_rgb(s\.\d+|1)\.bias", name):
            value = value.flatten()
        tensors[renamed(name)] = value
    codes = mapped(published, _draws(published, generator))
    # What the last leaky ReLU was given is nearly normal in every dimension; negative values were multiplied by 0.2.
    before = F.leaky_relu(codes, 5.0)
    return tensors | {"code_mean": before.mean(0), "code_deviation": before.std(0)}


def _draws(published: dict[str, Tensor], generator: torch.Generator) -> Tensor:
    if "style.1.weight" not in published:
        raise GradSiegeError(
            "these are not the weights of StyleGAN2: the mapping network's style.1.weight is missing"
        )
    weight = published["style.1.weight"]
    drawn = torch.randn(FITTED_ON, weight.shape[1], generator=generator)
    return drawn.to(weight.device, weight.dtype)


def mapped(published: dict[str, Tensor], z: Tensor) -> Tensor:
    """Return the codes w of latents ``[n, style]`` by the published mapping network: normalise, then eight layers."""
    w = z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()
    for number in range(1, sum(name.startswith("style.") for name in published) // 2 + 1):
        weight, bias = (published[f"style.{number}.{part}"] for part in ("weight", "bias"))
        scale = MAPPING_RATE / math.sqrt(weight.shape[1])
        w = math.sqrt(2) * F.leaky_relu(F.linear(w, scale * weight, MAPPING_RATE * bias), 0.2)
    return w

"""A StyleGAN2 of 64 pixels with made-up weights in the layout of the published file."""

from __future__ import annotations

import math

import torch

from gradsiege.priors.stylegan2 import StyleGAN2, StyleGAN2Network, channels_of
from gradsiege.priors.stylegan2.weights import converted


def published_shapes(side: int, style: int, multiplier: float) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the PyTorch port's file, written down from its layout."""
    widths, top = channels_of(side, multiplier), int(math.log2(side))
    shapes: dict[str, tuple[int, ...]] = {"input.input": (1, widths[4], 4, 4)}
    for number in range(1, 9):
        shapes[f"style.{number}.weight"], shapes[f"style.{number}.bias"] = (style, style), (style,)

    def modulated(at: str, inputs: int, outputs: int, kernel: int) -> None:
        shapes[f"{at}.conv.weight"] = (1, outputs, inputs, kernel, kernel)
        shapes[f"{at}.conv.modulation.weight"] = (inputs, style)
        shapes[f"{at}.conv.modulation.bias"] = (inputs,)

    def styled(at: str, inputs: int, outputs: int) -> None:
        modulated(at, inputs, outputs, 3)
        shapes[f"{at}.noise.weight"], shapes[f"{at}.activate.bias"] = (1,), (outputs,)

    styled("conv1", widths[4], widths[4])
    modulated("to_rgb1", widths[4], 3, 1)
    shapes["to_rgb1.bias"] = (1, 3, 1, 1)
    for place in range(top - 2):
        a, b = widths[2 ** (place + 2)], widths[2 ** (place + 3)]
        styled(f"convs.{2 * place}", a, b)
        shapes[f"convs.{2 * place}.conv.blur.kernel"] = (4, 4)
        styled(f"convs.{2 * place + 1}", b, b)
        modulated(f"to_rgbs.{place}", b, 3, 1)
        shapes[f"to_rgbs.{place}.bias"] = (1, 3, 1, 1)
        shapes[f"to_rgbs.{place}.upsample.kernel"] = (4, 4)
    for number in range(2 * top - 3):
        length = 2 ** ((number + 5) // 2)
        shapes[f"noises.noise_{number}"] = (1, 1, length, length)
    return shapes


def made_up() -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    shapes = published_shapes(64, 6, 1 / 128)
    tensors = {name: torch.randn(shape, generator=random) for name, shape in shapes.items()}
    return {
        name: value + 1 if "modulation.bias" in name else value for name, value in tensors.items()
    }


def tiny(size: int = 32) -> StyleGAN2Network:
    """The network of these weights, its images averaged to `size` pixels."""
    weights = converted(made_up(), torch.Generator().manual_seed(0))
    return StyleGAN2.load({**weights, "size": torch.tensor(size)})

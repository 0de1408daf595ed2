"""Conversion of the PyTorch port of BigGAN-deep: its names become ours, and spectral norms and statistics are folded in."""

from __future__ import annotations

import re

import torch.nn.functional as F
from torch import Tensor

# Published name by pattern, and ours; the first and the last block, and what is around them, have places of their own.
PARTS = (
    (r"^generator\.gen_z\.", "entry."),
    (r"^generator\.bn\.running_means$", "stages.LAST.norm.mean"),
    (r"^generator\.bn\.running_vars$", "stages.LAST.norm.variance"),
    (r"^generator\.bn\.weight$", "stages.LAST.norm.gain"),
    (r"^generator\.bn\.", "stages.LAST.norm."),
    (r"^generator\.conv_to_rgb\.", "stages.LAST.image."),
    (r"^generator\.layers\.0\.", "first."),
    (r"\.bn_(\d)\.scale\.", r".norms.\1.gain."),
    (r"\.bn_(\d)\.offset\.", r".norms.\1.bias."),
    (r"\.bn_(\d)\.running_means$", r".norms.\1.mean"),
    (r"\.bn_(\d)\.running_vars$", r".norms.\1.variance"),
    (r"\.conv_(\d)\.", r".convolutions.\1."),
    (r"\.snconv1x1_theta\.", ".query."),
    (r"\.snconv1x1_phi\.", ".key."),
    (r"\.snconv1x1_g\.", ".value."),
    (r"\.snconv1x1_o_conv\.", ".output."),
    (r"\.gamma$", ".strength"),
)


def renamed(name: str, blocks: int) -> str:
    """Return our name of a published tensor; `blocks` counts the blocks, among which stands the attention.

    >>> renamed("generator.layers.0.bn_0.scale.weight", 12), renamed("generator.layers.12.conv_3.bias", 12)
    ('first.norms.0.gain.weight', 'stages.11.block.convolutions.3.bias')
    >>> renamed("generator.layers.8.gamma", 12), renamed("generator.conv_to_rgb.bias", 12)
    ('stages.7.strength', 'stages.11.image.bias')
    """
    for pattern, ours in PARTS:
        name = re.sub(pattern, ours.replace("LAST", str(blocks - 1)), name)

    def moved(match: re.Match[str]) -> str:
        place = int(match[1])
        return f"stages.{place - 1}." + ("block." if place == blocks else "")

    return re.sub(r"^generator\.layers\.(\d+)\.", moved, name)


def converted(published: dict[str, Tensor], blocks: int) -> dict[str, Tensor]:
    """Return the weights under our names.

    published: by name, each in the shape of the released file.

    A weight under spectral norm is divided by its norm u W v. The file stores statistics for 51
    truncations; only those of truncation 1, the last ones, are kept, since the attacks sample N(0, I). Only the first
    three outputs of the image convolution are used.
    """
    tensors: dict[str, Tensor] = {}
    for name, value in published.items():
        if name == "embeddings.weight":
            tensors["embedding"] = value.T.contiguous()
        elif name.endswith("weight_orig"):
            stem = name.removesuffix("weight_orig")
            sigma = _norm(value, published[stem + "weight_u"], published.get(stem + "weight_v"))
            tensors[renamed(stem + "weight", blocks)] = value / sigma
        elif name.endswith(("running_means", "running_vars")):
            tensors[renamed(name, blocks)] = value[-1].clone()
        elif not name.endswith(("weight_u", "weight_v")):
            tensors[renamed(name, blocks)] = value
    last = f"stages.{blocks - 1}"
    for part in ("weight", "bias"):
        if f"{last}.image.{part}" in tensors:
            tensors[f"{last}.image.{part}"] = tensors[f"{last}.image.{part}"][:3].clone()
    return tensors


def _norm(weight: Tensor, u: Tensor, v: Tensor | None) -> Tensor:
    """Spectral norm by the stored singular vectors; without the right one it follows from the left one."""
    matrix = weight.flatten(1)
    return u @ matrix @ (F.normalize(matrix.T @ u, dim=0) if v is None else v)

"""The energy of TIP's noise in closed form, and the factors that give another selection the same energy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

import torch
from torch import nn

from gradsiege.defenses.tip.noise import factor_for_norm, spectrum_mask
from gradsiege.defenses.tip.ranking import selected_count
from gradsiege.errors import ModelError
from gradsiege.models.names import given_name

Shapes = dict[str, torch.Size]


class NoiseSettings(Protocol):
    """The parameters of TIP that the energy of its noise depends on."""

    @property
    def ratio(self) -> float:
        """Share of the noised channels."""

    @property
    def rho(self) -> float:
        """Radius of the frequency mask."""

    @property
    def selection(self) -> str:
        """Which channels are noised."""

    @property
    def spectrum(self) -> str:
        """Which frequencies are noised."""

    @property
    def match_energy(self) -> bool:
        """Whether a control has the energy of the paper's choice."""

    @property
    def noise_norm(self) -> float | None:
        """Norm of the whole noise, if it is set."""


def square_kernels(layers: Mapping[str, nn.Conv2d]) -> Shapes:
    """Return the shape ``[out, in, k, k]`` of every convolution's weight, by the name of the layer.

    >>> square_kernels({"conv": nn.Conv2d(3, 8, 5)})
    {'conv': torch.Size([8, 3, 5, 5])}

    Raises:
        ModelError: a kernel is not square, for which TIP defines no mask.
    """
    shapes = {name: layer.weight.shape for name, layer in layers.items()}
    for name, shape in shapes.items():
        if shape[-2] != shape[-1]:
            raise ModelError(
                f"tip's frequency mask is defined on square kernels, and those of '{given_name(name)}.weight' are {shape[-2]} x "
                f"{shape[-1]}; freeze that weight, or choose another defense, such as agp or tip_dp"
            )
    return shapes


def unit_energy(
    shape: torch.Size, ratio: float, rho: float, selection: str, spectrum: str
) -> float:
    """Return E|n|^2 of one draw of deviation one on a weight ``[out, in, k, k]``: channels * inputs * kept frequencies.

    White noise has energy 1 per weight, hence 1 per frequency of a kernel (Parseval); the mask keeps some of them.

    >>> unit_energy(torch.Size([20, 5, 3, 3]), 0.1, 0.5, "top", "high")
    80.0
    """
    frequencies = float(spectrum_mask(shape[-1], rho, spectrum).sum())
    return selected_count(shape[0], ratio, selection) * shape[1] * frequencies


def expected_energy(
    shapes: Shapes, p: NoiseSettings, deviations: dict[str, float], samples: int
) -> float:
    """Return E|noise|^2 over all layers: `samples` independent draws of deviation beta_l each, in weight units squared."""
    of_layers = (
        deviations[layer] ** 2 * unit_energy(shape, p.ratio, p.rho, p.selection, p.spectrum)
        for layer, shape in shapes.items()
    )
    return samples * sum(of_layers)


def factors(shapes: Shapes, p: NoiseSettings, beta_l: float, samples: int) -> dict[str, float]:
    """Return the factor of the published deviation beta_l of every convolution.

    It is one, unless `match_energy` gives each layer the energy of the paper's selection and
    spectrum, or `noise_norm` sets the root mean square norm over all layers and keeps their shares.
    """
    by_layer = dict.fromkeys(shapes, 1.0)
    if p.match_energy:
        for layer, shape in shapes.items():
            unit = unit_energy(shape, p.ratio, p.rho, p.selection, p.spectrum)
            paper = unit_energy(shape, p.ratio, p.rho, "top", "high")
            by_layer[layer] = math.sqrt(paper / unit) if unit else 1.0
    if p.noise_norm is not None:
        deviations = {layer: beta_l * factor for layer, factor in by_layer.items()}
        energy = expected_energy(shapes, p, deviations, samples)
        common = factor_for_norm(p.noise_norm, energy, "tip")
        by_layer = {layer: common * factor for layer, factor in by_layer.items()}
    return by_layer

"""Random weights in the two true formats of the published trunks, whose own digests count as the published ones."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gradsiege import pretrained
from gradsiege.pretrained import PACKED, TRUNKS, Published


def random_features(trunk: str, seed: int = 0) -> dict[str, Tensor]:
    """A state with the names and shapes of torchvision's features, and random numbers."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for place, (height, width, inputs, outputs) in (
        (convolution.place, convolution.shape) for convolution in PACKED[trunk].convolutions
    ):
        weight = torch.randn((outputs, inputs, height, width), generator=generator)
        state[f"features.{place}.weight"] = weight * (2 / weight[0].numel()) ** 0.5
        state[f"features.{place}.bias"] = torch.randn(outputs, generator=generator) / 50**0.5
    return state


def as_torchvision(folder: Path, monkeypatch: pytest.MonkeyPatch, trunk: str) -> Path:
    """Write torchvision's file of a trunk into a folder, with a classifier that nobody reads."""
    file = folder / TRUNKS[trunk].file
    torch.save(random_features(trunk) | {"classifier.1.bias": torch.zeros(3)}, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    monkeypatch.setitem(TRUNKS, trunk, Published(file.name, digest))
    return file


def as_package(
    folder: Path, monkeypatch: pytest.MonkeyPatch, trunk: str, head: bytes = b""
) -> Path:
    """Write the package's file of a trunk into a folder, which counts as installed; `head` stands before its first array."""
    packed, state = PACKED[trunk], random_features(trunk)
    last = packed.convolutions[-1]
    content = bytearray(head.ljust(last.bias + 4 * last.shape[-1] + 5000, b"\x80"))
    for convolution in packed.convolutions:
        weight = state[f"features.{convolution.place}.weight"].permute(2, 3, 1, 0)
        bias = state[f"features.{convolution.place}.bias"]
        for start, values in ((convolution.kernel, weight), (convolution.bias, bias)):
            raw = values.contiguous().numpy().astype("<f4").tobytes()
            content[start : start + len(raw)] = raw
    file = folder / Path(packed.file).name
    file.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    monkeypatch.setitem(PACKED, trunk, replace(packed, sha256=digest))
    monkeypatch.setattr(
        pretrained, "packaged_file", lambda name: folder / Path(PACKED[name].file).name
    )
    return file


def made_up(count: int, side: int = 32) -> tuple[Tensor, Tensor]:
    """Pictures of waves and the same under a pattern, float64 ``[count, 3, side, side]`` in [0, 1], the same anywhere."""
    axis = np.arange(side) / side
    y, x = np.meshgrid(axis, axis, indexing="ij")
    pictures = []
    for number in range(count):
        planes = [np.sin(2 * np.pi * ((number + 1) * x + (plane + 1) * y)) for plane in range(3)]
        pictures.append(0.5 + 0.4 * np.stack(planes))
    truths = torch.from_numpy(np.stack(pictures))
    pattern = torch.from_numpy(((13 * np.arange(side)[:, None] + 7 * np.arange(side)) % 5) / 25)
    return truths, (0.7 * truths + pattern).clamp(0, 1)


def reference_network(folder: Path, trunk: str = "alex") -> torch.nn.Module:
    """The lpips package's own network, filled by hand layer by layer."""
    from lpips import LPIPS

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the package's torchvision call
        network: torch.nn.Module = LPIPS(net=trunk, pnet_rand=True, verbose=False).double()
    fill(network.get_submodule("net"), folder, trunk)
    return network


def fill(net: torch.nn.Module, folder: Path, trunk: str = "alex") -> None:
    """Give a network's convolutions, in their order, the weights of torchvision's file."""
    state = torch.load(folder / TRUNKS[trunk].file, weights_only=True)
    layers = [m for m in net.modules() if isinstance(m, torch.nn.Conv2d)]
    names = sorted({int(name.split(".")[1]) for name in state if name.startswith("features.")})
    for layer, index in zip(layers, names, strict=True):
        layer.load_state_dict({k: state[f"features.{index}.{k}"] for k in ("weight", "bias")})

"""AGP against its formulas, written out in float64 NumPy: local steps, clipping, Grad-CAM, choice of channels, noise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from gradsiege import defenses
from gradsiege.defenses.base import Client
from gradsiege.federated.client import run_client
from gradsiege.protocol.local_update import LocalTraining, split_state

torch.set_num_threads(1)
Array = npt.NDArray[np.float64]
Arrays = dict[str, Array]
LABELS = [2, 0, 2, 2]
FIRST_OF_CLASS = (1, 0)
EPOCHS, BATCH, RATE = 2, 2, 0.05
EPSILON, DELTA, CLIP = 5.0, 1e-5, 0.7
CONVOLUTIONS = ("stem", "block.conv1", "block.conv2", "block.shortcut.0")
# The last convolution of the one block's main path.
PROTECTED = "block.conv2"


class Block(nn.Module):
    """Two convolutions, and a third one around them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(4, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.shortcut = nn.Sequential(nn.Conv2d(4, 8, 1))

    def forward(self, x: Tensor) -> Tensor:
        main: Tensor = self.conv2(self.conv1(x).relu())
        out: Tensor = (main + self.shortcut(x)).relu()
        return out


class Network(nn.Module):
    """A convolution, a block, a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.block = Block()
        self.head = nn.Linear(8 * 4 * 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.block(self.stem(x).relu()).flatten(1))
        return logits


def convolved(x: Array, weight: Array, bias: Array) -> Array:
    """A[o] = bias[o] + sum over channels c and shifts (u, v) of weight[o, c, u, v] x[c] shifted, zeros around x."""
    out, channels, k, _ = weight.shape
    height, width = x.shape[1:]
    padded = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2)))
    result = np.zeros((out, height, width))
    for o, c, u, v in np.ndindex(out, channels, k, k):
        result[o] += weight[o, c, u, v] * padded[c, u : u + height, v : v + width]
    return result + bias[:, None, None]


def convolution_gradients(x: Array, weight: Array, above: Array) -> tuple[Array, Array, Array]:
    """Gradients with respect to x, weight and bias, from that with respect to the output."""
    out, channels, k, _ = weight.shape
    height, width = x.shape[1:]
    pad = k // 2
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    of_padded, of_weight = np.zeros_like(padded), np.zeros_like(weight)
    for o, c, u, v in np.ndindex(out, channels, k, k):
        part = slice(u, u + height), slice(v, v + width)
        of_weight[o, c, u, v] = (above[o] * padded[c][part]).sum()
        of_padded[c][part] += weight[o, c, u, v] * above[o]
    return of_padded[:, pad : pad + height, pad : pad + width], of_weight, above.sum((1, 2))


def passed(weights: Arrays, image: Array) -> tuple[Arrays, Array]:
    """What every convolution takes and what the head takes, by name; the logits."""

    def output(name: str, x: Array) -> Array:
        return convolved(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    stem = output("stem", image)
    entering = np.maximum(stem, 0)
    middle = output("block.conv1", entering)
    between = np.maximum(middle, 0)
    leaving = output("block.conv2", between) + output("block.shortcut.0", entering)
    taken = {"stem": image, "block.conv1": entering, "block.shortcut.0": entering}
    taken |= {"block.conv2": between, "head": np.maximum(leaving, 0).reshape(-1)}
    return taken, weights["head.weight"] @ taken["head"] + weights["head.bias"]


def gradients(weights: Arrays, taken: Arrays, of_logits: Array) -> tuple[Arrays, Arrays]:
    """Gradients with respect to every weight, and with respect to the output of every convolution."""
    found = {"head.weight": np.outer(of_logits, taken["head"]), "head.bias": of_logits}
    of_outputs: Arrays = {}

    def through(name: str, above: Array) -> Array:
        of_outputs[name] = above
        weight = weights[f"{name}.weight"]
        below, of_weight, of_bias = convolution_gradients(taken[name], weight, above)
        found.update({f"{name}.weight": of_weight, f"{name}.bias": of_bias})
        return below

    leaving = ((weights["head.weight"].T @ of_logits) * (taken["head"] > 0)).reshape(8, 4, 4)
    middle = through("block.conv2", leaving) * (taken["block.conv2"] > 0)
    entering = through("block.conv1", middle) + through("block.shortcut.0", leaving)
    through("stem", entering * (taken["block.conv1"] > 0))
    return found, of_outputs


def of_the_loss(weights: Arrays, images: Array, labels: list[int]) -> Arrays:
    """The mean over a batch of the gradient of cross-entropy."""
    total = {name: np.zeros_like(value) for name, value in weights.items()}
    for image, label in zip(images, labels, strict=True):
        taken, logits = passed(weights, image)
        odds = np.exp(logits - logits.max())
        found, _ = gradients(weights, taken, odds / odds.sum() - np.eye(3)[label])
        for name in total:
            total[name] += found[name] / len(images)
    return total


def norm(tensors: Arrays) -> float:
    return math.sqrt(sum(float((value**2).sum()) for value in tensors.values()))


def trained(weights: Arrays, images: Array) -> tuple[Arrays, int]:
    """The weights after local SGD with clipped gradients, and how many of these were longer than the bound."""
    cut = 0
    for _ in range(EPOCHS):
        for first in range(0, len(images), BATCH):
            batch = slice(first, first + BATCH)
            found = of_the_loss(weights, images[batch], LABELS[batch])
            factor = min(1.0, CLIP / (norm(found) + 1e-6))
            cut += factor < 1
            weights = {name: weights[name] - RATE * factor * found[name] for name in weights}
    return weights, cut


def clean_channels(weights: Arrays, images: Array, kept: float) -> set[int]:
    """The channels of the protected convolution in the top share of alpha_c = mean of d s_y / d A_c for every class's image."""
    clean = set(range(8))
    for index in FIRST_OF_CLASS:
        taken, _ = passed(weights, images[index])
        _, of_outputs = gradients(weights, taken, np.eye(3)[LABELS[index]])
        alpha = [float(channel.mean()) for channel in of_outputs[PROTECTED]]
        ranked = sorted(range(8), key=lambda channel: -alpha[channel])
        clean &= set(ranked[: int(kept * 8)])
    return clean


def sigma(epochs: int) -> float:
    """E B lr (C / b) q / epsilon with q = sqrt(2 ln(1.25 / delta)) and B batches of b images per epoch."""
    batches = len(LABELS) / BATCH
    quantile = math.sqrt(2 * math.log(1.25 / DELTA))
    return epochs * batches * RATE * (CLIP / BATCH) * quantile / EPSILON


def noised(weights: Arrays, clean: set[int], deviation: float, draws: torch.Generator) -> Arrays:
    """The weights with noise on every channel of every convolution but the clean ones of the protected one."""
    weights = {name: value.copy() for name, value in weights.items()}
    for name in CONVOLUTIONS:
        weight = weights[f"{name}.weight"]
        spared = clean if name == PROTECTED else set()
        channels = [channel for channel in range(len(weight)) if channel not in spared]
        drawn = torch.randn(len(channels), *weight.shape[1:], generator=draws).double().numpy()
        for channel, noise in zip(channels, drawn, strict=True):
            weight[channel] += deviation * noise
    return weights


def scene(seed: int) -> tuple[nn.Module, Tensor]:
    """A network and four images of 4 px, in float64."""
    generator = torch.Generator().manual_seed(seed)
    model = Network().double()
    with torch.no_grad():
        for value in model.parameters():
            value.copy_(0.5 * torch.randn(value.shape, generator=generator, dtype=torch.float64))
    return model, torch.rand(4, 2, 4, 4, generator=generator, dtype=torch.float64)


def weights_of(model: nn.Module) -> Arrays:
    return {name: value.detach().numpy() for name, value in model.named_parameters()}


def sent_by(model: nn.Module, images: Tensor, seed: int, arm: str, kept: float) -> Arrays:
    """The weights that the defended client would hand over: theta_t - learning rate * update."""
    settings: dict[str, Any] = {"kept": kept, "epsilon": EPSILON, "delta": DELTA, "clip": CLIP}
    training = LocalTraining("fedavg", len(LABELS), BATCH, EPOCHS, RATE, "eval")
    draws = torch.Generator().manual_seed(seed)
    client = Client(model, *split_state(model), images, torch.tensor(LABELS), training, draws)
    update, _ = run_client(client, defenses.build("agp", settings, arm))
    return {name: value.numpy() for name, value in client.local_parameters(update).items()}


@pytest.mark.parametrize(("kept", "seed"), [(0.25, 2), (0.5, 0), (0.5, 1), (0.5, 2)])
def test_the_uploaded_weights_are_those_of_the_formulas(kept: float, seed: int) -> None:
    model, images = scene(seed)
    weights, cut = trained(weights_of(model), images.numpy())
    clean = clean_channels(weights, images.numpy(), kept)
    assert cut, "no gradient was clipped"
    assert clean, "no channel stays clean"
    expected = noised(weights, clean, sigma(EPOCHS), torch.Generator().manual_seed(seed + 9))
    sent = sent_by(model, images, seed + 9, "faithful", kept)
    for name, value in expected.items():
        np.testing.assert_allclose(sent[name], value, rtol=1e-11, atol=1e-13, err_msg=name)


def test_as_released_all_channels_are_noised_by_an_epoch_less_times_the_learning_rate() -> None:
    model, images = scene(0)
    weights, _ = trained(weights_of(model), images.numpy())
    draws = torch.Generator().manual_seed(9)
    expected = noised(weights, set(), RATE * sigma(EPOCHS - 1), draws)
    sent = sent_by(model, images, 9, "as_released", 0.25)
    for name, value in expected.items():
        np.testing.assert_allclose(sent[name], value, rtol=1e-11, atol=1e-13, err_msg=name)

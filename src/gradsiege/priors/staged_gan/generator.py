"""A conditional generator as an explicit list of stages, so that every intermediate feature can be optimised."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradsiege.priors.shadow_generator import double, pyramid

EMBEDDING = 32
GROUP = 8


class ConditionalNorm(nn.Module):
    """Group normalisation whose gain and bias are affine in the class embedding (de Vries et al., NeurIPS 2017).

    Statistics are those of one image, over groups of 8 channels: no image of a batch sees another.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.groups = max(1, channels // GROUP)
        self.gain = nn.Linear(EMBEDDING, channels)
        self.bias = nn.Linear(EMBEDDING, channels)

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        """Normalise ``[n, c, h, w]`` and modulate it by the embeddings ``[n, e]``."""
        gain, bias = self.gain(embedding), self.bias(embedding)
        normed: Tensor = F.group_norm(h, self.groups) * (1 + gain)[:, :, None, None]
        modulated: Tensor = normed + bias[:, :, None, None]
        return modulated


class Upsampling(nn.Module):
    """Residual block that doubles the side: norm, 3x3 at the coarse side, doubling, norm, 3x3; a 1x1 skip."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.coarse_norm = ConditionalNorm(inputs)
        self.coarse = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.fine_norm = ConditionalNorm(outputs)
        self.fine = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1)

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        """Map ``[n, inputs, s, s]`` to ``[n, outputs, 2s, 2s]``."""
        x = double(self.coarse(F.leaky_relu(self.coarse_norm(h, embedding), 0.2)))
        x = self.fine(F.leaky_relu(self.fine_norm(x, embedding), 0.2))
        summed: Tensor = double(self.skip(h)) + x
        return summed


class ToImage(nn.Module):
    """The last stage: norm, 3x3 convolution, sigmoid."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.norm = ConditionalNorm(inputs)
        self.image = nn.Conv2d(inputs, channels, 3, padding=1)

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        """Map features to images in [0, 1].

        Takes ``[n, inputs, h, w]`` and embeddings ``[n, e]``, returns ``[n, c, h, w]``.
        """
        return torch.sigmoid(self.image(F.leaky_relu(self.norm(h, embedding), 0.2)))


class Staged(nn.Module, ABC):
    """A generator as an explicit list of stages: the interface that the generator attacks need.

    ``h_1 = start(z, c)``, ``h_{k+1} = stage(k - 1, h_k, c)``, and the last stage gives images in [0, 1], all conditioned
    on ``c = condition(z, y)``. Nothing is random or in place, all operations are twice differentiable.

    Attributes:
        latent, classes: dimension of z, and how many labels it can be asked for.
        channels, size: of the images.
        stages: the modules behind `stage`, in order.
        radii: the published l1 radii of its features (GIFD), empty if there are none.
        carried: number of trailing channels of a feature that only pass through, such as an image that every
            stage adds to; no attack changes them.
    """

    latent: int
    classes: int
    channels: int
    size: int
    stages: nn.ModuleList
    radii: tuple[float, ...] = ()
    carried: int = 0

    @abstractmethod
    def embed(self, labels: Tensor) -> Tensor:
        """Return class embeddings ``[n, e]`` of indices ``[n]`` or of class probabilities ``[n, classes]``."""

    def condition(self, z: Tensor, labels: Tensor) -> Tensor:
        """Return the condition of every stage: the class embeddings, and the latent if it conditions too.

        z: ``[n, latent]``; labels: ``[n]`` or ``[n, classes]``; the result is ``[n, e]``.
        """
        return self.embed(labels)

    @abstractmethod
    def start(self, z: Tensor, condition: Tensor) -> Tensor:
        """Return h_1 ``[n, c, s, s]`` of latents ``[n, latent]``."""

    def prepared(self, z: Tensor) -> Tensor:
        """Return the latents where a search begins, from draws of N(0, I).

        Takes and returns ``[n, latent]``.
        """
        return z

    def stage(self, k: int, h: Tensor, condition: Tensor) -> Tensor:
        """Return the output of stage `k`, counted from 0, for its feature; the last stage returns images in [0, 1].

        h: ``[n, c_k, s_k, s_k]``; condition: ``[n, e]``.
        """
        following: Tensor = self.stages[k](h, condition)
        return following

    def finish(self, k: int, h: Tensor, condition: Tensor) -> Tensor:
        """Return the images after the stages from `k` on, for the feature that stage `k` takes.

        h: ``[n, c_k, s_k, s_k]``; condition: ``[n, e]``; the images are ``[n, c, size, size]``.
        """
        for number in range(k, len(self.stages)):
            h = self.stage(number, h, condition)
        return h

    def features(self, z: Tensor, condition: Tensor) -> list[Tensor]:
        """Return all features, the last of which are the images.

        z: ``[n, latent]``; condition: ``[n, e]``; a feature is ``[n, c_k, s_k, s_k]``.
        """
        outputs = [self.start(z, condition)]
        for number in range(len(self.stages)):
            outputs.append(self.stage(number, outputs[-1], condition))
        return outputs

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Return images of latents ``[n, latent]`` and labels, indices or probabilities."""
        condition = self.condition(z, labels)
        return self.finish(0, self.start(z, condition), condition)


def mixture(labels: Tensor, classes: int, like: Tensor) -> Tensor:
    """Return class probabilities ``[n, classes]`` of labels: indices, or probabilities already.

    An index that the generator was never taught means "class unknown" and is all classes alike.

    >>> mixture(torch.tensor([1, 7]), 2, torch.zeros(1)).tolist()
    [[0.0, 1.0], [0.5, 0.5]]
    """
    if labels.is_floating_point():
        return labels
    chosen = (labels[:, None] == torch.arange(classes, device=labels.device)).to(like.dtype)
    return chosen + (1 - chosen.sum(1, keepdim=True)) / classes


class StagedGenerator(Staged):
    """G(z, y) = stage_K o ... o stage_0 o start, each part callable on its own.

    ``h_1 = start(z, e)`` is 4x4 (or the side that `pyramid` gives); every stage but the last doubles the side;
    the last one gives the image. All operations are plain and twice differentiable almost everywhere,
    nothing is random or in place, so that G also runs under `functional_call` and `vmap`.

    Args:
        latent: dimension of z, which is N(0, I).
        width: channels of the finest feature; coarser ones have up to four times as many.
        classes: labels that can be told apart.
        channels, size: of the images.

    >>> network = StagedGenerator(latent=8, width=4, classes=3, channels=1, size=16)
    >>> e = network.embed(torch.tensor([0, 2]))
    >>> [tuple(feature.shape[1:]) for feature in network.features(torch.zeros(2, 8), e)]
    [(16, 4, 4), (8, 8, 8), (4, 16, 16), (1, 16, 16)]
    """

    def __init__(self, latent: int, width: int, classes: int, channels: int, size: int) -> None:
        super().__init__()
        self.latent, self.classes = latent, classes
        self.channels, self.size = channels, size
        self.side, doublings = pyramid(size)
        widths = [width * min(4, 2 ** (doublings - level)) for level in range(doublings + 1)]
        self.embedding = nn.Parameter(torch.zeros(classes, EMBEDDING))
        self.entry = nn.Linear(latent + EMBEDDING, widths[0] * self.side**2)
        ups = [Upsampling(a, b) for a, b in itertools.pairwise(widths)]
        self.stages = nn.ModuleList([*ups, ToImage(widths[-1], channels)])

    def initialize_(self, generator: torch.Generator) -> None:
        """Draw the class embeddings from N(0, 1)."""
        self.embedding.normal_(generator=generator)

    def embed(self, labels: Tensor) -> Tensor:
        """Return class embeddings ``[n, e]`` of indices ``[n]`` or of class probabilities ``[n, classes]``.

        Probabilities mix embeddings: the soft class embedding. An index that the generator was never taught means
        "class unknown" and gets the mean embedding.
        """
        return mixture(labels, self.classes, self.embedding) @ self.embedding

    def start(self, z: Tensor, condition: Tensor) -> Tensor:
        """Return h_1 ``[n, c, side, side]`` of latents ``[n, latent]`` and embeddings ``[n, e]``."""
        entered: Tensor = self.entry(torch.cat([z, condition], 1))
        return entered.reshape(len(z), -1, self.side, self.side)


def from_weights(weights: dict[str, Tensor]) -> StagedGenerator:
    """Return the generator that `weights` belong to; its shape is read from theirs."""
    last = max(int(name.split(".")[1]) for name in weights if name.startswith("stages."))
    image = weights[f"stages.{last}.image.weight"]
    coarsest = weights["stages.0.coarse.weight"].shape[1]
    side = math.isqrt(len(weights["entry.weight"]) // coarsest)
    network = StagedGenerator(
        latent=weights["entry.weight"].shape[1] - EMBEDDING,
        width=image.shape[1],
        classes=len(weights["embedding"]),
        channels=len(image),
        size=side * 2**last,
    )
    network.load_state_dict(weights)
    return network

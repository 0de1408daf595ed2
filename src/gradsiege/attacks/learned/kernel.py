"""Kernel ridge regression from features to images: a closed form, its kernel and its ridge chosen by held-out images.

With K the kernel of all examples and Y their images less the mean image, a new image is mean + k (K + ridge)^-1 Y. A thousand
examples of thousands of features are few for a network, and this has no step that could be too many.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gradsiege.attacks.learned.inverter import Examples, prepared
from gradsiege.seeds import torch_generator

# exp(-|a - b|^2 / (2 width m)), m the median squared distance between two examples.
WIDTHS = (0.1, 0.3, 1.0, 3.0)
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Return |a_i - b_j|^2 of rows ``[n, f]`` and ``[m, f]``, ``[n, m]``.

    >>> squared_distances(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
    tensor([[25.,  1.]])
    """
    products = a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T
    return products.clamp_min(0)


class KernelRegression:
    """Learns in one step; the choices of width and ridge stand where a network's steps do.

    Attributes:
        answers: images ``[victims, c, h, w]`` of the best choice; NaN before.
        looks: mean squared error on held-out images of every choice.
    """

    look_steps = range(len(WIDTHS) * len(RIDGES))

    def __init__(self, examples: Examples, observed: Tensor, seed: tuple[object, ...]) -> None:
        self.examples, self.observed = examples, observed
        self.generator = torch_generator(*seed, "training")
        self.answers = torch.full((len(observed), *examples.images.shape[1:]), torch.nan)
        self.looks = torch.full((len(self.look_steps),), torch.inf)

    def parts(self) -> dict[str, Any]:
        """Return everything that simulated clients and the step change, for a checkpoint."""
        return {
            "features": self.examples.features,
            "answers": self.answers,
            "looks": self.looks,
        }

    @torch.no_grad()
    def step(self, number: int) -> None:
        """Measure every choice on the held-out images, and keep the victims' images of the best one."""
        features, observed, usable = prepared(self.examples, self.observed)
        held = features[: self.examples.held].isfinite().all(1).nonzero().flatten()
        known, asked = features[usable].double(), torch.cat([features[held], observed]).double()
        images = self.examples.images.double().flatten(1)
        mean = images[usable].mean(0)
        between, towards = squared_distances(known, known), squared_distances(asked, known)
        unit = between.median()
        for width, ridges in zip(WIDTHS, self.looks.view(len(WIDTHS), -1), strict=True):
            values, vectors = torch.linalg.eigh((-between / (2 * width * unit)).exp())
            inner = (-towards / (2 * width * unit)).exp() @ vectors
            wanted = vectors.T @ (images[usable] - mean)
            for place, ridge in enumerate(RIDGES):
                guess = mean + (inner / (values.clamp_min(0) + ridge)) @ wanted
                guess = guess.clamp(0, 1).to(self.answers.dtype)
                error = (guess[: len(held)] - images[held]).square().mean()
                if error < self.looks.min():
                    self.answers.copy_(guess[len(held) :].view_as(self.answers))
                ridges[place] = error

"""DP-SGD: every image's gradient is clipped, and Gaussian noise is added to their sum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import vmap

from gradsiege.arithmetic import square_root
from gradsiege.defenses.base import Client, Defense
from gradsiege.errors import StudyError
from gradsiege.extras import need
from gradsiege.protocol.local_update import Step, Tensors, as_rows, functional_gradient
from gradsiege.ranges import PositiveSize, Probability, Spread

VERSION = 2
# Number of images whose gradients are in memory at once.
PHYSICAL_BATCH = 16
# Orders of the Renyi divergence: fine near 1, which little noise needs, and wide.
ORDERS = [1 + x / 50 for x in range(1, 500)] + list(range(11, 256))


def epsilon(
    noise_multiplier: float,
    sample_rate: float,
    steps: int,
    delta: float,
    accountant: Literal["rdp", "prv"] = "rdp",
) -> float:
    """Return epsilon such that `steps` noisy steps are (epsilon, delta)-private, by an accountant of Opacus.

    Args:
        noise_multiplier: deviation of the noise over the clipping bound; 0 gives infinity.
        sample_rate: probability with which a step uses an image (Poisson sampling). Our clients go through their
            images in a fixed order, so for batches of b of n images b / n is the usual reading, not a proof; for one
            step on all images (fedsgd) the rate is 1 and the account exact.
        accountant: ``rdp`` (Mironov, CSF 2017) holds always; ``prv`` (Gopi et al., NeurIPS 2021) is tighter.

    Two data sets are neighbours when one has one image more.
    """
    need("opacus")
    from opacus.accountants import PRVAccountant, RDPAccountant

    if noise_multiplier**2 == 0:
        return float("inf")
    if accountant == "prv":
        tight = PRVAccountant()
        tight.history = [(noise_multiplier, sample_rate, steps)]
        return max(0.0, float(tight.get_epsilon(delta)))
    renyi = RDPAccountant()
    renyi.history = [(noise_multiplier, sample_rate, steps)]
    # With a large delta the conversion gives a negative value, which means zero.
    return max(0.0, float(renyi.get_epsilon(delta, alphas=ORDERS)))


def per_sample_gradients(step: Step, images: Tensor, labels: Tensor) -> Tensors:
    """Return the gradient of every image's own loss: for each parameter ``[n, *shape]``."""

    def of_one(image: Tensor, label: Tensor) -> Tensors:
        batch = (image[None], label[None])
        return functional_gradient(step.model, step.parameters, step.buffers, *batch)[0]

    gradients: Tensors = vmap(of_one)(images, labels)
    return gradients


def clipped_sum(gradients: Tensors, bound: float) -> Tensors:
    """Return the sum over images of g_i min(1, C / |g_i|), norms taken over all tensors of an image together.

    >>> clipped_sum({"a": torch.tensor([[3.0], [0.1]]), "b": torch.tensor([[4.0], [0.2]])}, 1.0)
    {'a': tensor([0.7000]), 'b': tensor([1.])}
    """
    squares = torch.stack([as_rows(value).square().sum(1) for value in gradients.values()])
    factors = (bound / square_root(squares.sum(0))).clamp(max=1)
    return {name: torch.einsum("n,n...->...", factors, value) for name, value in gradients.items()}


def refuse_batch_statistics(model: nn.Module) -> None:
    """Raise if a batch norm in train mode makes every image's loss a function of all images."""
    for name, part in model.named_modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.training:
            raise StudyError(
                f"dp_sgd: the batch norm {name!r} is in train mode, where no image has a gradient of its own. "
                "Choose a model without batch norm (lenet, vit_small, convnet with norm: group); "
                "eval mode works, but federations train."
            )


@dataclass(frozen=True)
class DpSgd(Defense):
    """A step's gradient becomes (sum_i clip_C(g_i) + N(0, (sigma C)^2)) / n (Abadi et al., CCS 2016, algorithm 1).

    The hook recomputes the gradients image by image from the step and ignores the mean gradient.
    With several local steps every step is clipped and noised. The privacy account of a client is `epsilon` with
    rate b / n and the number of all its local steps.

    Attributes:
        bound: C, the norm to which an image's gradient is clipped.
        noise_multiplier: deviation of the noise in units of C; 0 only clips, the control that separates noise and clipping.
        delta: of the account.
    """

    name = "dp_sgd"

    bound: PositiveSize = 1.0
    noise_multiplier: Spread = 1.0
    delta: Probability = 1e-5

    def transform_gradient(self, gradient: Tensors, step: Step, client: Client) -> Tensors:
        """Return the private gradient of the step.

        Takes and returns tensors by name, each of the shape of its parameter.
        """
        refuse_batch_statistics(step.model)
        bound, count = self.bound, len(step.images)
        deviation = self.noise_multiplier * bound
        batches = zip(
            step.images.split(PHYSICAL_BATCH), step.labels.split(PHYSICAL_BATCH), strict=True
        )
        sums = [clipped_sum(per_sample_gradients(step, *batch), bound) for batch in batches]
        private = {}
        for name, value in gradient.items():
            noise = torch.randn(value.shape, generator=client.generator, dtype=value.dtype)
            total = torch.stack([part[name] for part in sums]).sum(0)
            private[name] = (total + deviation * noise) / count
        return private

    def disclosure(self) -> dict[str, Any]:
        """The mechanism is public, and with it the epsilon of one step on all images (None: no guarantee)."""
        noise = self.noise_multiplier
        spent = epsilon(noise, 1.0, 1, self.delta) if noise else None
        return {**super().disclosure(), "epsilon_of_one_step": spent}

"""Regularizers, priors on plausible images; each returns one number for the images of one element."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradsiege.arithmetic import square_root
from gradsiege.attacks.variables import Variables
from gradsiege.models.head import Head
from gradsiege.priors.autoencoder import reconstruction_error
from gradsiege.protocol.layer_inputs import batch_statistics, layer_inputs
from gradsiege.protocol.local_update import Tensors

# Keeps the derivative of an isotropic total variation finite where an image is flat.
VARIATION_FLOOR = 1e-8
FIRST_BATCH_NORM = 10.0


@dataclass(frozen=True)
class Candidate:
    """The images of one element, and the data that they are matched with.

    Attributes:
        normalised: ``[b, c, h, w]`` as the network sees them.
        images: the same in [0, 1].
        labels: ``[b]`` or ``[b, classes]``.
        observed: the victim's update.
        variables: variables that the images were decoded from, for terms on a latent.
        statistics: the private batch's own statistics at every batch norm, if they are granted.
    """

    normalised: Tensor
    images: Tensor
    labels: Tensor
    observed: Tensors
    variables: Variables = field(default_factory=dict)
    statistics: Tensors = field(default_factory=dict)


Regularizer = Callable[[Candidate], Tensor]


def total_variation(candidate: Candidate) -> Tensor:
    """Return mean |dx| + mean |dy| of the normalised images (Geiping et al., NeurIPS 2020, section 4).

    >>> stripes = torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]])
    >>> total_variation(Candidate(stripes, stripes, torch.zeros(1), {})).item()
    1.0
    """
    x = candidate.normalised
    return x.diff(dim=-1).abs().mean() + x.diff(dim=-2).abs().mean()


def double_opponent_total_variation(candidate: Candidate) -> Tensor:
    """Return the isotropic total variation of the images and of their colour differences R-G, R-B, G-B.

    It is the mean over pixels and all six channels of ((|dx| + e)^2 + (|dy| + e)^2)^0.5, e = 1e-8: exponents 2 and 0.5 of the
    "modern" Inverting Gradients in its authors' later framework `breaching`. dx of the last column and dy of the last row
    are zero. Images without three channels have no colour differences.

    >>> corner = torch.tensor([[[[3.0, 0.0], [7.0, 0.0]]]])
    >>> round(double_opponent_total_variation(Candidate(corner, corner, torch.zeros(1), {})).item(), 4)
    3.0
    """
    x = candidate.normalised
    if x.shape[1] == 3:
        red, green, blue = x[:, 0], x[:, 1], x[:, 2]
        opponents = torch.stack([red - green, red - blue, green - blue], dim=1)
        x = torch.cat([x, opponents], dim=1)
    across = F.pad(x.diff(dim=-1), (0, 1)).abs() + VARIATION_FLOOR
    down = F.pad(x.diff(dim=-2), (0, 0, 0, 1)).abs() + VARIATION_FLOOR
    return square_root(across.square() + down.square()).mean()


def l2(candidate: Candidate) -> Tensor:
    """Return the l2 norm of all normalised images together, as GIFD's release penalises it.

    A scalar; the images are ``[b, c, h, w]``.
    """
    return square_root(candidate.normalised.square().sum() + 1e-20)


def half_mean_square(candidate: Candidate) -> Tensor:
    """Return half the mean square of the normalised images, the l2 prior of the framework `breaching`: x^p / p, p = 2.

    >>> image = torch.tensor([[[[2.0, 4.0]]]])
    >>> half_mean_square(Candidate(image, image, torch.zeros(1), {})).item()
    5.0
    """
    return candidate.normalised.square().mean() / 2


def anomaly_score(network: nn.Module, typical_error: float, per_image: bool) -> Regularizer:
    """Return GI-PIP's prior AS(x) = | mean (u - AE(u))^2 - m0 | (Sun et al., ICASSP 2024).

    m0 is the autoencoder's typical error on real images, so images that are harder *or* easier than
    real ones are penalised. With `per_image` the absolute value is taken image by image; the released code
    takes it of the batch mean, where an easy and a hard image cancel.
    """

    def score(candidate: Candidate) -> Tensor:
        errors = reconstruction_error(network, candidate.images.clamp(0, 1))
        if per_image:
            return (errors - typical_error).abs().mean()
        return (errors.mean() - typical_error).abs()

    return score


def batch_norm_statistics(
    model: nn.Module, parameters: Tensors, buffers: Tensors, private: bool
) -> Regularizer:
    """Return sum over batch-norm layers of |mean(x) - mean|_2 + |var(x) - var|_2 (Yin et al., CVPR 2021, equation 5).

    The first layer of a forward pass counts ten times, as in `breaching` and in the code of GIAS.

    Args:
        model: the network.
        parameters, buffers: its state.
        private: compare with the private batch's own statistics, which a threat model must grant, instead of the global model's
            running ones, which the server holds anyway.
    """
    running = {
        name.replace("running_mean", "mean").replace("running_var", "variance"): value
        for name, value in buffers.items()
        if name.endswith(("running_mean", "running_var"))
    }

    def score(candidate: Candidate) -> Tensor:
        wanted = candidate.statistics if private else running
        statistics = batch_statistics(model, {**parameters, **buffers}, candidate.images)
        distances = [_distance(value, wanted[name]) for name, value in statistics.items()]
        # A layer has two distances, of its mean and of its variance.
        first, others = distances[:2], distances[2:]
        return torch.stack([*(FIRST_BATCH_NORM * distance for distance in first), *others]).sum()

    return score


def head_features(
    model: nn.Module, head: Head, parameters: Tensors, buffers: Tensors
) -> Regularizer:
    """Return the mean squared difference between the candidate's head input and the one that the update reveals.

    For a single image the head's weight gradient is (p - onehot) h^T and its bias gradient (p - onehot), so
    that h = dW[y] / db[y] is known exactly (Geiping et al., NeurIPS 2020, proposition 3.1). For more images the
    quotient mixes them and the term is only a hint. If the head is not matched, has no bias, or is not a module, the term
    is zero.
    """
    known = bool(head.bias and head.layer)

    def score(candidate: Candidate) -> Tensor:
        if not known or not set(head.parameters) <= candidate.observed.keys():
            return candidate.normalised.new_zeros(())
        state = {**parameters, **buffers}
        features = layer_inputs(model, state, candidate.images, [head.layer])[head.layer]
        revealed = revealed_features(candidate.observed, head, candidate.labels)
        return (features - revealed).square().mean()

    return score


def revealed_features(update: Tensors, head: Head, labels: Tensor) -> Tensor:
    """Return dW[y] / db[y] for each label, ``[b, features]``: the head's input, exactly, if the update is of one image.

    >>> update = {"w": torch.tensor([[0.5, 1.0], [-1.0, -2.0]]), "b": torch.tensor([0.25, -0.5])}
    >>> revealed_features(update, Head("w", "b"), torch.tensor([1]))
    tensor([[2., 4.]])
    """
    bias = update[head.bias_for("the head's input")]
    return update[head.weight][labels] / bias[labels][:, None]


def _distance(a: Tensor, b: Tensor) -> Tensor:
    return square_root((a - b).square().sum() + 1e-20)

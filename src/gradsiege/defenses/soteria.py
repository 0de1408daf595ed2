"""Soteria: hide the features that reveal most of the image from the last layer's gradient (Sun et al., CVPR 2021)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import jvp, vjp, vmap

from gradsiege.arithmetic import square_root
from gradsiege.defenses.base import Client, Defense
from gradsiege.defenses.magnitudes import below_percentile, smallest
from gradsiege.errors import StudyError
from gradsiege.models.head import Head, find_head
from gradsiege.protocol.layer_inputs import layer_inputs
from gradsiege.protocol.local_update import Step, Tensors
from gradsiege.ranges import CountOrZero, Percent, PositiveSize

VERSION = 2
# Number of images times features whose gradients are computed at once.
AT_ONCE = 128


def head_layer(head: Head) -> str:
    """Return the name of the head's module.

    Raises:
        StudyError: a function alone uses the weight, so that no module receives r.
    """
    if not head.layer:
        raise StudyError(
            f"soteria ranks what a torch.nn.Linear receives, and no such module holds {head.weight!r}; "
            "choose a model whose last layer is one"
        )
    return head.layer


def representation(model: nn.Module, state: Tensors, images: Tensor, layer: str) -> Tensor:
    """Return r, the input ``[n, features]`` of the last linear layer, the module called `layer`."""
    return layer_inputs(model, state, images, [layer])[layer]


def feature_gradients(
    model: nn.Module, state: Tensors, images: Tensor, layer: str
) -> tuple[Tensor, Iterator[Tensor]]:
    """Return r ``[n, features]`` and, in blocks of features, d r_i / d X as ``[block, n, pixels]``.

    In eval mode images do not influence each other, so one backward pass per feature serves all images.
    """
    features, pull_back = vjp(lambda x: representation(model, state, x, layer), images)[:2]
    count = features.shape[1]

    def blocks() -> Iterator[Tensor]:
        for chosen in torch.arange(count).split(max(1, AT_ONCE // len(images))):
            unit = nn.functional.one_hot(chosen, count).to(features)
            cotangents = unit[:, None].expand(-1, len(images), -1)
            (gradients,) = vmap(pull_back)(cotangents)
            yield gradients.flatten(2)

    return features, blocks()


def estimated_norms(
    represent: Callable[[Tensor], Tensor], images: Tensor, probes: int, generator: torch.Generator
) -> Tensor:
    """Return an estimate of |d r_i / d X|, ``[n, features]``, from forward derivatives along random directions.

    For v from N(0, I) the expectation of (d r_i / d X . v)^2 is |d r_i / d X|^2; the mean over k probes has a relative
    error of about sqrt(2 / k).
    """
    directions = torch.randn((probes, *images.shape), generator=generator, dtype=images.dtype)

    def along(direction: Tensor) -> Tensor:
        moved: Tensor = jvp(represent, (images,), (direction,))[1]
        return moved

    blocks = directions.split(max(1, AT_ONCE // len(images)))
    squares = torch.stack([vmap(along)(block).square().sum(0) for block in blocks])
    return square_root(squares.sum(0) / probes)


def approximate_risk(features: Tensor, norms: Tensor, constant: float) -> Tensor:
    """Return -sum over images of |d r_i / d X| / (|r_i| + constant), ``[features]``; both arguments ``[n, features]``."""
    return -(norms / (features.abs() + constant)).sum(0)


def jacobian_risk(features: Tensor, gradients: Iterator[Tensor]) -> Tensor:
    """Return sum over images of |r_i| |J^+ e_i|, ``[features]``: the change of the image when feature i alone is removed.

    J^+ is the pseudo-inverse of the Jacobian ``[features, pixels]``. The approximation replaces its column i by
    (d r_i / d X) / |d r_i / d X|^2, which is exact if all features have orthogonal gradients.
    """
    jacobian = torch.cat(list(gradients)).transpose(0, 1)  # [n, features, pixels]
    moves = torch.linalg.pinv(jacobian.double()).norm(dim=1)
    risk: Tensor = (features.abs() * moves.to(features)).sum(0)
    return risk


@dataclass(frozen=True)
class Soteria(Defense):
    """Zero the columns of the last layer's weight gradient that belong to the features of highest risk.

    The upload says nothing about those features; the other gradients, including the head's bias, stay unchanged.
    The ranking runs in eval mode, and the features of a batch are ranked by the sum over its images. The number of
    columns is that of values below the percentile. A feature that is dead in all images has a ratio of zero
    and is zeroed first although its column is zero anyway, so with many dead features fewer others are hidden.

    One backward pass per feature and step makes this the most expensive defense by far on wide heads; use `probes`
    for thousands of steps.

    Percentage of features whose columns are zeroed, and how features are ranked.

    Attributes:
        prune: released 60 (attack of Geiping et al.) and 1 (DLG); GIFD 80, GGL 10.
        rule: ``approximation`` ranks by |d r_i / d X| / (|r_i| + constant), the smallest first, as the release and its
            ports do. ``jacobian`` ranks by what this stands in for, |r_i (d r / d X)^-1_i|, the largest first.
        constant: keeps the ratio of a dead feature finite: released 0.1, ports 1e-10. Only ``approximation`` uses it.
        probes: random directions from which ``approximation`` estimates the gradient norms (ours, for wide heads in a
            federation); 0 computes them exactly, with one backward pass per feature.
    """

    name = "soteria"

    prune: Percent = 60.0
    rule: Literal["approximation", "jacobian"] = "approximation"
    constant: PositiveSize = 0.1
    probes: CountOrZero = 0

    def transform_gradient(self, gradient: Tensors, step: Step, client: Client) -> Tensors:
        """Return the gradient with the risky columns of the head's weight zeroed.

        Takes and returns tensors by name, each of the shape of its parameter; the head's weight is ``[classes, features]``.
        """
        head = find_head(step.model, step.images[:1], {**step.buffers, **step.parameters})
        weight = head.weight_in(gradient, "soteria")
        risk = self._risk(step, head_layer(head), client.generator)
        pruned = smallest(-risk, below_percentile(len(risk), self.prune))
        return {**gradient, head.weight: weight.masked_fill(pruned, 0)}

    def _risk(self, step: Step, layer: str, generator: torch.Generator) -> Tensor:
        p, images = self, step.images
        model = copy.deepcopy(step.model).eval()
        state = {**step.buffers, **step.parameters}
        if p.rule == "approximation" and p.probes:
            represent = partial(representation, model, state, layer=layer)
            features = represent(images)
            norms = estimated_norms(represent, images, p.probes, generator)
            return approximate_risk(features, norms, p.constant)
        features, gradients = feature_gradients(model, state, images, layer)
        if p.rule == "jacobian":
            return jacobian_risk(features, gradients)
        norms = torch.cat([block.norm(dim=2) for block in gradients]).T
        return approximate_risk(features, norms, p.constant)

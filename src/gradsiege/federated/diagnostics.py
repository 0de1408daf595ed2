"""The effect of a defense on the uploaded model: on its channels, their spectra, and its explanations.

If a study sets `explained`, `observe` writes these diagnostics for its first victims beside the observation. "Before" is
the model after local training, "after" the uploaded model; a defense that acts during training changes nothing
between the two. Only figures read the file; no attack does.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor, nn

from gradsiege import artifacts
from gradsiege.defenses.base import Client
from gradsiege.defenses.grad_cam import channel_coefficients, class_activation_map, convolutions
from gradsiege.metrics.deletion_insertion import area_under, blurred, replacement_curve
from gradsiege.protocol.local_update import Tensors

EXPLANATION = "explanation"
STEPS = 32

Uploaded = tuple[Tensors, Tensors]


def faithfulness(model: nn.Module, image: Tensor, label: int, saliency: Tensor) -> Tensors:
    """Return the deletion and insertion curves of a map, ``[STEPS + 1]`` each.

    Args:
        model: the classifier, in eval mode.
        image: ``[c, h, w]`` in [0, 1]; deletion replaces its pixels by the mean of the training images.
        label: the class whose probability the curves follow.
        saliency: the map, ``[h, w]``.
    """

    @torch.no_grad()
    def probability(images: Tensor) -> Tensor:
        probabilities: Tensor = model(images).softmax(1)[:, label]
        return probabilities

    mean = dict(model.named_buffers())["normalisation.mean"]
    constant = mean[:, None, None].expand_as(image)
    return {
        "deletion": replacement_curve(probability, image, constant, saliency, STEPS),
        "insertion": replacement_curve(probability, blurred(image), image, saliency, STEPS),
    }


def spectrum(kernels: Tensor) -> Tensor:
    """Return the mean power of each spatial frequency of kernels ``[..., k, k]``, frequency zero in the centre."""
    power = torch.fft.fft2(kernels).abs().square()
    centred: Tensor = torch.fft.fftshift(power.flatten(0, -3).mean(0))
    return centred


def channels(before: nn.Module, after: nn.Module) -> Tensors:
    """Return, per convolution, the change of each channel and the spectra of the changed kernels.

    ``change.<layer>`` is the l2 norm of the difference, ``[channels]`` in weight units. ``spectrum.before.<layer>`` and
    ``spectrum.after.<layer>`` are ``[k, k]``, means over the changed channels, or over all channels if none changed.
    """
    changes: Tensors = {}
    uploaded = convolutions(after)
    for layer, old in convolutions(before).items():
        new = uploaded[layer].weight.detach()
        change = (new - old.weight.detach()).flatten(1).norm(dim=1)
        shown = change != 0 if bool(change.any()) else torch.ones_like(change, dtype=torch.bool)
        changes[f"change.{layer}"] = change
        changes[f"spectrum.before.{layer}"] = spectrum(old.weight.detach()[shown])
        changes[f"spectrum.after.{layer}"] = spectrum(new[shown])
    return changes


def products(before: Tensors, after: Tensors) -> Tensors:
    """Return <after, before>, |after|^2 and |before|^2 of every output channel of the update, ``products.<name>`` ``[out, 3]``.

    These few numbers suffice to compute the cosine of the two over any subset of channels.

    >>> update = {"w": torch.tensor([[1.0, 2.0], [0.0, 3.0]])}
    >>> products(update, {"w": torch.tensor([[2.0, 0.0], [0.0, 1.0]])})["products.w"].tolist()
    [[2.0, 4.0, 5.0], [3.0, 1.0, 9.0]]
    """
    sums = {}
    for name, old in before.items():
        rows, uploaded = old.flatten(1) if old.dim() > 1 else old[:, None], after[name]
        new = uploaded.flatten(1) if uploaded.dim() > 1 else uploaded[:, None]
        parts = [(new * rows).sum(1), new.square().sum(1), rows.square().sum(1)]
        sums[f"products.{name}"] = torch.stack(parts, 1)
    return sums


def explain(client: Client, before: Uploaded, after: Uploaded) -> Tensors:
    """Return all diagnostics of this module for the first image of a client, by name.

    Maps are ``[h, w]``, values of a layer are ``[channels]`` or ``[kernel, kernel]``.

    Args:
        client: the client with its state before local training.
        before: update and buffers after local training.
        after: uploaded update and buffers.
    """
    image, label = client.images[0], int(client.labels[0])
    explained: Tensors = {}
    models = []
    for moment, (update, buffers) in (("before", before), ("after", after)):
        model = copy.deepcopy(client.model).eval()
        model.load_state_dict({**client.local_parameters(update), **buffers})
        explained[f"map.{moment}"] = class_activation_map(model, image, label)
        curves = faithfulness(model, image, label, explained[f"map.{moment}"])
        for name, curve in curves.items():
            explained[f"{name}.{moment}"] = curve
            explained[f"{name}_area.{moment}"] = area_under(curve)
        models.append(model)
    for layer, alpha in channel_coefficients(models[0], image, label).items():
        explained[f"coefficient.{layer}"] = alpha
    return explained | channels(*models) | products(before[0], after[0])


def save_explanations(path: Path, explanations: list[Tensors]) -> None:
    """Write the explanations of several victims, each tensor ``[victims, ...]``; without victims, write no tensors."""
    names = explanations[0] if explanations else {}
    stacked = {name: torch.stack([victim[name] for victim in explanations]) for name in names}
    artifacts.write_tensors(path, stacked, EXPLANATION)

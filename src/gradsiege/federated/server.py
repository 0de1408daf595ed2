"""The server's part of FedAvg: average the updates and the buffers, and measure the global model."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from gradsiege.protocol.local_update import Tensors

# Images that pass through the network at once. Of larger activations the system gives and takes back every page anew: with 250
# images a small network takes twice as long, and 300 MB more.
AT_ONCE = 50


def weighted_mean(items: list[Tensors], weights: list[int]) -> Tensors:
    """Return the mean of tensor dictionaries, weighted by the clients' image counts.

    >>> two = [{"w": torch.tensor([1.0])}, {"w": torch.tensor([4.0])}]
    >>> weighted_mean(two, [2, 1])["w"]
    tensor([2.])
    """
    total = sum(weights)
    mean: Tensors = {}
    for name, first in items[0].items():
        if not first.is_floating_point():
            mean[name] = first
            continue
        parts = [item[name] * (weight / total) for item, weight in zip(items, weights, strict=True)]
        mean[name] = torch.stack(parts).sum(0)
    return mean


@torch.no_grad()
def evaluate(
    model: nn.Module, parameters: Tensors, buffers: Tensors, images: Tensor, labels: Tensor
) -> dict[str, float]:
    """Return accuracy, macro- and micro-averaged F1 and mean cross-entropy of the global model on the test images.

    images: ``[n, c, h, w]`` in [0, 1]; labels: ``[n]``. All results but the loss lie in [0, 1].
    """
    model.eval()
    state = {**parameters, **buffers}
    logits = torch.cat([functional_call(model, state, (part,)) for part in images.split(AT_ONCE)])
    predicted = logits.argmax(1).numpy()
    return {
        "accuracy": float((predicted == labels.numpy()).mean()),
        "macro_f1": macro_f1(labels.numpy(), predicted),
        "micro_f1": micro_f1(labels.numpy(), predicted),
        "loss": float(nn.functional.cross_entropy(logits, labels)),
    }


def macro_f1(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Return the unweighted mean of the per-class F1 scores over the classes present in either array.

    >>> round(macro_f1(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])), 4)
    0.7333
    """
    hits, counted = _counts(truth, predicted)
    return float((2.0 * hits / counted).mean())


def micro_f1(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Return F1 of the counts of all classes together, which for one label per image is the accuracy.

    Shadow's release reports this number (arXiv 2506.15711). Unlike `macro_f1` it says nothing about rare classes.

    >>> micro_f1(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]))
    0.75
    """
    hits, counted = _counts(truth, predicted)
    return float(2.0 * hits.sum() / counted.sum())


def _counts(truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return by present class the number of hits, and of images of it plus guesses of it: F1 is twice the first over the second."""
    classes = np.union1d(truth, predicted)[:, None]
    hits = ((truth == classes) & (predicted == classes)).sum(1)
    return hits, (truth == classes).sum(1) + (predicted == classes).sum(1)

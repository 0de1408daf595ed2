"""Similarity of generated and real images: Frechet distance, and k-nearest-neighbour precision and recall.

The published measures look through networks trained on ImageNet: FID through Inception, precision and recall through VGG16.
This module uses two others. A small convolutional network with fixed random weights is always available. AlexNet is used where its weights,
which LPIPS uses, are installed; its measures have AlexNet in their names. Both compare generators of this study with
each other, at equal numbers of images, and with nothing else. They are therefore never called FID.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gradsiege.arithmetic import square_root
from gradsiege.metrics import deep_features
from gradsiege.metrics.absent import Absent

EXTRACTOR = "random convolutions (seed 0), 3 levels x 8 channels, mean and deviation: 48 numbers"
ALEXNET = "ImageNet's AlexNet, last convolution, mean over positions: 256 numbers"
LEVELS, CHANNELS = 3, 8


def random_features(images: Tensor) -> Tensor:
    """Return ``[n, 48]``: mean and deviation of 8 random 3x3 filters at three scales, of images in [0, 1]."""
    generator = torch.Generator().manual_seed(0)
    x, statistics = 2 * images - 1, []
    for _ in range(LEVELS):
        fan_in = 9 * x.shape[1]
        weight = torch.randn((CHANNELS, x.shape[1], 3, 3), generator=generator) / fan_in**0.5
        x = F.leaky_relu(F.conv2d(x, weight, padding=1), 0.2)
        statistics += [x.mean((2, 3)), x.std((2, 3))]
        x = F.avg_pool2d(x, 2)
    return torch.cat(statistics, 1).double()


def alexnet_features(images: Tensor) -> Tensor | Absent:
    """Return ``[n, 256]``: the mean of AlexNet's last convolution, after its ReLU, of images in [0, 1]; or why there is none."""
    network = deep_features.load("alex")
    if isinstance(network, Absent):
        return network
    size = deep_features.chunk(images)
    with torch.no_grad():
        features = [network.taps(some)[-1].mean((2, 3)) for some in images.split(size)]
    return torch.cat(features).double()


def frechet_distance(first: Tensor, second: Tensor) -> float:
    """Return |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) of feature rows ``[n, d]`` (Heusel et al., NeurIPS 2017).

    >>> rows = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]], dtype=torch.float64)
    >>> round(frechet_distance(rows, rows), 9), round(frechet_distance(rows, rows + 3), 9)
    (0.0, 18.0)
    """
    mean = (first.mean(0) - second.mean(0)).square().sum()
    covariances = torch.cov(first.T), torch.cov(second.T)
    root = _root(covariances[0])
    cross = square_root(torch.linalg.eigvalsh(root @ covariances[1] @ root).clamp(min=0)).sum()
    return max(0.0, float(mean + covariances[0].trace() + covariances[1].trace() - 2 * cross))


def _root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    root: Tensor = vectors * square_root(values.clamp(min=0)) @ vectors.T
    return root


def precision_recall(real: Tensor, generated: Tensor, neighbours: int = 3) -> tuple[float, float]:
    """Return (precision, recall) of feature rows ``[n, d]`` (Kynkaanniemi et al., NeurIPS 2019, equation 2).

    Precision is the share of generated rows within the k-th-neighbour radius of some real row; recall is the share of
    real rows within the radius of some generated one.

    >>> line = torch.arange(6.0)[:, None]
    >>> precision_recall(line, line), precision_recall(line, line + 100)
    ((1.0, 1.0), (0.0, 0.0))
    """
    return _covered(generated, real, neighbours), _covered(real, generated, neighbours)


def _covered(rows: Tensor, manifold: Tensor, neighbours: int) -> float:
    within = torch.cdist(manifold, manifold)
    neighbours = min(neighbours, len(manifold) - 1)
    radii = within.kthvalue(neighbours + 1, dim=1).values
    return float((torch.cdist(rows, manifold) <= radii).any(1).double().mean())


def compare(real: Tensor, generated: Tensor) -> dict[str, float]:
    """Return all measures of two sets of images in [0, 1], features in units of the real ones' deviation.

    Both sets are ``[n, c, h, w]``.
    """
    reference = random_features(real)
    scale = reference.std(0).clamp(min=1e-6)
    real_rows, rows = reference / scale, random_features(generated) / scale
    precision, recall = precision_recall(real_rows, rows)
    return {
        "frechet_distance": frechet_distance(real_rows, rows),
        "precision": precision,
        "recall": recall,
    }


def compare_by_alexnet(
    real: Tensor, generated: Tensor, untrained: Tensor, training: Tensor
) -> dict[str, float | str]:
    """Return the measures of generated images that AlexNet's features give, for a card; or the reason why there are none.

    Args:
        real: held-out images ``[n, c, h, w]`` in [0, 1].
        generated, untrained, training: images of the trained generator, of the untrained one, and of the training set.
    """
    seen = [alexnet_features(images) for images in (real, generated, untrained, training)]
    rows = [features for features in seen if isinstance(features, Tensor)]
    if len(rows) < len(seen):
        return {"extractor_alexnet": str(seen[0])}
    precision, recall = precision_recall(rows[0], rows[1])
    return {
        "extractor_alexnet": ALEXNET,
        "frechet_distance_alexnet": frechet_distance(rows[0], rows[1]),
        "precision_alexnet": precision,
        "recall_alexnet": recall,
        "frechet_distance_alexnet_untrained": frechet_distance(rows[0], rows[2]),
        "frechet_distance_alexnet_of_training_images": frechet_distance(rows[0], rows[3]),
    }

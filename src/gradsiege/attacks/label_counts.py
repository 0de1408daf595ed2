"""Labels with duplicates, counted from the gradient of the last layer's bias: b = mean of (p - onehot(y)) over a client's images.

After Wainakh et al., PoPETs 2022, without auxiliary data: each image of class c adds about -1/B to b_c and little elsewhere.
"""

from __future__ import annotations

import torch
from torch import Tensor

TINY = 1e-30


def counts(bias: Tensor, images: int) -> Tensor:
    """Return `images` labels of each bias gradient ``[victims, classes]``, sorted, ``[victims, images]``; its scale does not matter.

    What an image adds is the sum of all negative entries over the number of images.

    >>> counts(torch.tensor([[0.1, -0.6, -0.2, 0.1]]), 4)
    tensor([[1, 1, 1, 2]])
    """
    return torch.stack([_greedy(row, images, -row[row < 0].sum() / images) for row in bias])


def counts_of_partial(bias: Tensor, rows: Tensor, images: int) -> Tensor:
    """Return `images` labels of each bias gradient ``[victims, classes]`` of which some entries were not received.

    An entry that is exactly zero was not received: sparsification sends the largest alone. The missing ones are completed from
    the rows of the weight, see `completed`. A bias that was received whole is counted by `counts`.

    Args:
        bias: mean gradients of a step, so that an image adds -1 / images to the entry of its class.
        rows: what is about proportional to the bias, such as the rows' products with typical features, ``[victims, classes]``.
        images: per victim.

    >>> rows = torch.tensor([[0.1, -9.0, 0.0, -2.0, 0.3]])
    >>> counts_of_partial(torch.tensor([[0.0, -0.3, 0.0, 0.0, 0.0]]), rows, 4)
    tensor([[1, 1, 3, 3]])
    >>> counts_of_partial(torch.tensor([[0.0, -0.13, 0.0, 0.0, 0.0]]), rows, 3)
    tensor([[1, 2, 3]])
    """
    if bool((bias != 0).all()):
        return counts(bias, images)
    return torch.stack(
        [
            _greedy(completed(received, row, images), images, bias.new_tensor(1 / images))
            if bool((received == 0).any())
            else counts(received[None], images)[0]
            for received, row in zip(bias, rows, strict=True)
        ]
    )


def completed(bias: Tensor, rows: Tensor, images: int) -> Tensor:
    """Return the bias gradient of one client, ``[classes]``, with estimates in place of the entries that are exactly zero.

    Two things are known of what was not sent: no entry is larger in magnitude than the least one that was sent, and all negative
    entries together are near -(1 - D / C), D of C classes being present with probabilities near 1 / C. The rows share out what
    the received entries lack of this sum, and say which classes are absent: theirs are positive, and below a share of 1 / C.

    >>> completed(torch.tensor([0.0, -0.4, 0.0, 0.0]), torch.tensor([1.0, -9.0, -2.0, 0.5]), 4)
    tensor([ 0.0278, -0.4000, -0.1000,  0.0139])
    """
    received, classes = bias != 0, len(bias)
    magnitudes = bias[received].abs()
    limit = float(magnitudes.min()) if len(magnitudes) else torch.inf
    present = torch.where(received, bias, rows) < 0
    total = 1 - min(images, int(present.sum())) / classes
    lacking = max(0.0, total - float(bias.clamp(max=0).sum().abs()))
    missing = ~received & present
    share = rows.abs() / rows[missing].abs().sum().clamp_min(TINY)
    absent = rows / rows.abs().max().clamp_min(TINY) * min(limit, 1 / classes)
    estimate = torch.where(missing, -(lacking * share).clamp(max=limit), absent)
    return torch.where(received, bias, estimate)


def _greedy(bias: Tensor, images: int, impact: Tensor) -> Tensor:
    """Return sorted labels: every class with a negative entry once; then the class that is least after its images were taken out."""
    left = bias.clone()
    negative = (bias < 0).nonzero().flatten()
    order = negative[bias[negative].argsort()][:images]
    left[order] += impact
    labels = order.tolist()
    while len(labels) < images:
        label = int(left.argmin())
        left[label] += impact
        labels.append(label)
    return torch.tensor(sorted(labels), device=bias.device)

"""Assignment of the reconstructions of a batch to its victims.

A gradient does not contain the order of the images of a batch. If every reconstruction could pick
its best victim (or the reverse), two reconstructions could claim one victim, and scores would improve
with the batch size by luck alone. Here each victim gets exactly one reconstruction, by one
stated cost, before any metric is computed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gradsiege.metrics._images import check_pair

ASSIGNMENT_COST = "mse"
"""The cost whose total the assignment minimises, by its name in `registry.METRICS`."""


def squared_error_matrix(reconstructions: Tensor, truths: Tensor) -> Tensor:
    """Mean squared error between every reconstruction and every truth of a batch.

    Args:
        reconstructions: [B, C, H, W] in [0, 1]; failed ones hold NaN or infinity.
        truths: [B, C, H, W] in [0, 1].

    Returns:
        float64 [B, B], entry [i, j] for reconstruction i and truth j, in [0, 1]. The row of a
        failed reconstruction is 1, the largest cost there is.

    Raises:
        TypeError, ValueError: See `gradsiege.metrics._images.check_images`.

    >>> grey = torch.tensor([0.0, 0.5]).reshape(2, 1, 1, 1)
    >>> squared_error_matrix(grey, grey + 0.5).tolist()
    [[0.25, 1.0], [0.0, 0.25]]
    """
    finite = check_pair(reconstructions, truths)
    size = len(truths)
    costs = torch.ones(size, size, dtype=torch.float64, device=truths.device)
    rows, columns = reconstructions[finite].double().flatten(1), truths.double().flatten(1)
    # The shorter form |x|^2 + |y|^2 - 2xy would lose its digits by cancellation between nearly equal images.
    distances = torch.cdist(rows, columns, compute_mode="donot_use_mm_for_euclid_dist")
    costs[finite] = distances.square() / columns.shape[1]
    return costs


def assign(reconstructions: Tensor, truths: Tensor) -> Tensor:
    """Return the order that pairs the reconstructions with their truths.

    ``reconstructions[assign(reconstructions, truths)]`` is paired with ``truths``. The order is the
    permutation with the smallest total `squared_error_matrix` (linear assignment; Kuhn 1955, solved
    by SciPy's algorithm of Crouse 2016). It is deterministic, and always a bijection:
    reconstructions that all collapsed onto one victim are still spread over all of them.

    Args:
        reconstructions: [B, C, H, W] in [0, 1]; failed ones hold NaN or infinity.
        truths: [B, C, H, W] in [0, 1].

    Returns:
        int64 [B], a permutation: entry j is the index of the reconstruction of truth j.

    Raises:
        TypeError, ValueError: See `gradsiege.metrics._images.check_images`.

    >>> truths = torch.tensor([0.0, 0.4, 0.9]).reshape(3, 1, 1, 1)
    >>> assign(truths[[2, 0, 1]], truths).tolist()
    [1, 2, 0]
    """
    from scipy.optimize import linear_sum_assignment

    costs = squared_error_matrix(reconstructions, truths).cpu().numpy()
    _, order = linear_sum_assignment(costs.T)  # rows must be truths for the order to follow them
    return torch.as_tensor(order, dtype=torch.int64, device=truths.device)

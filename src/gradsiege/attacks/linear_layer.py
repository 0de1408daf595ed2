"""The inputs of a linear layer before a ReLU, exactly, from the gradient of a batch (Dimitrov et al., SPEAR, NeurIPS 2024).

Z = W X + b has the gradients dL/dW = D X^T and dL/db = D 1 with D = dL/dZ, ``[m, batch]``. Of rank b, dL/dW = L R (theorem 3.1), and
D = L Q, X^T = Q^-1 R for an unknown Q ``[b, b]`` (theorem 3.2). ReLUs leave zeros in D: b - 1 rows of L where a column of D is
zero have that column of Q for their null vector (theorem 3.3). Random rows give candidates, of which the right ones leave far more
zeros in L q than chance; dL/db fixes their lengths. A solution is right where D is zero exactly where W X + b closes the ReLU.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from gradsiege.arithmetic import square_root

# Share of a column's root mean square below which an entry counts as zero; above rounding in float32, far below the others.
ZERO = 1e-3
# Least share of zeros in a column that is believed; a wrong one has b - 1 zeros and few by chance.
LEAST_ZEROS = 0.1
# Share of the ReLUs that a right solution explains; the rest are slopes that happen to be small.
EXPLAINED = 0.99
# Singular values below this share of the largest one are rounding.
RANK = 1e-5
CHUNK = 512
# Rows, and columns of Q, that differ by this share of their length alone are the same.
SAME = 1e-3


@dataclass(frozen=True)
class Layer:
    """A linear layer with a bias before a ReLU, and its gradient of a batch.

    Attributes:
        weight: W, ``[m, n]``.
        bias: b, ``[m]``.
        weight_gradient: dL/dW, ``[m, n]``.
        bias_gradient: dL/db, ``[m]``.
    """

    weight: Tensor
    bias: Tensor
    weight_gradient: Tensor
    bias_gradient: Tensor


@dataclass(frozen=True)
class LayerInputs:
    """A solution, images in no particular order; none where no solution was found.

    Attributes:
        inputs: X, ``[images, n]`` in float64.
        slopes: D, ``[images, m]`` in float64.
        explained: share of the ReLUs that are closed where D is zero and open elsewhere, 1 at the truth.
    """

    inputs: Tensor
    slopes: Tensor
    explained: float


def layer_inputs(
    layer: Layer, images: int, generator: torch.Generator, tries: int = 65536
) -> LayerInputs:
    """Return the inputs of a linear layer, as many as the gradient has ranks.

    A batch of b needs about 2^b / b tries where half of the ReLUs are closed. An image whose loss has no gradient, or a copy of
    another, adds no rank.

    Args:
        layer: the layer and its gradient.
        images: of the batch, at most min(m, n).
        generator: draws rows.
        tries: random choices of rows.

    >>> slope, inputs = torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0, 5.0]])
    >>> layer = Layer(torch.ones(2, 2), torch.zeros(2), slope @ inputs, slope[:, 0])
    >>> layer_inputs(layer, 1, torch.Generator()).inputs
    tensor([[3.0000, 5.0000]], dtype=torch.float64)
    """
    gradient = layer.weight_gradient.double().cpu()
    u, s, vh = torch.linalg.svd(gradient, full_matrices=False)
    rank = min(images, int((s > RANK * s[0]).sum())) if s[0] > 0 else 0
    left, right = u[:, :rank], s[:rank, None] * vh[:rank]
    best = LayerInputs(
        gradient.new_zeros(0, gradient.shape[1]), gradient.new_zeros(0, len(gradient)), 0.0
    )
    for columns in _column_sets(left, generator, tries) if rank else ():
        found = _solved(layer, left, right, columns)
        best = max(best, found, key=lambda solution: solution.explained)
        if best.explained > EXPLAINED:
            break
    return best


def _solved(layer: Layer, left: Tensor, right: Tensor, columns: Tensor) -> LayerInputs:
    """Return the solution that unit columns of Q ``[rank, rank]`` lead to."""
    lengths = torch.linalg.lstsq(
        left @ columns, layer.bias_gradient.double().cpu()[:, None]
    ).solution
    q = columns * lengths[:, 0]
    inputs, slopes = torch.linalg.solve(q, right), (left @ q).T
    levels = inputs @ layer.weight.double().cpu().T + layer.bias.double().cpu()
    sizes = square_root(slopes.square().mean(1, keepdim=True))
    agree = (levels > 0) == (slopes.abs() > ZERO * sizes)
    # A unit that is closed for every image, or one that no later layer uses, has no slope at all.
    used = (slopes.abs() > ZERO * sizes).any(0)
    return LayerInputs(inputs, slopes, float(agree[:, used].double().mean()))


def _column_sets(left: Tensor, generator: torch.Generator, tries: int) -> Iterator[Tensor]:
    """Yield independent unit columns of Q ``[rank, rank]``, the sparsest of more and more candidates."""
    rank = left.shape[1]
    if rank == 1:
        yield left.new_ones(1, 1)
        return
    # Units that are closed for every image say nothing, and would count as zeros of any column.
    left = left[left.norm(dim=1) > ZERO * (rank / len(left)) ** 0.5]
    candidates, scores = [], []
    for first in range(0, tries, CHUNK):
        count = min(CHUNK, tries - first)
        rows = torch.rand(count, len(left), generator=generator).argsort(1)[:, : rank - 1]
        _, sizes, vectors = torch.linalg.svd(left[rows], full_matrices=True)
        zeros = _zeros(left, vectors[:, -1]).sum(1)
        # Rows that are dependent, where two images are closed at once, have any mixture of both for a null vector.
        right = (zeros > max(rank, LEAST_ZEROS * len(left))) & (sizes[:, -1] > SAME * sizes[:, 0])
        candidates.append(vectors[right, -1])
        scores.append(zeros[right])
        order = torch.cat(scores).argsort(descending=True, stable=True)
        chosen = _independent(left, torch.cat(candidates)[order], rank)
        if len(chosen) == rank:
            yield torch.stack(chosen, 1)


def _zeros(left: Tensor, null: Tensor) -> Tensor:
    """Return where L q is zero for each of the vectors q ``[n, rank]``: flags ``[n, m]``."""
    slopes = null @ left.T
    flags: Tensor = slopes.abs() < ZERO * square_root(slopes.square().mean(1, keepdim=True))
    return flags


def _polished(left: Tensor, column: Tensor) -> Tensor:
    """Return the null vector of all rows where L q is zero, instead of b - 1 of them.

    Half of the rows that count as zero are rounding alone; slopes that are merely small lie far above that half.
    """
    sizes = (left @ column).abs()
    rounding = sizes[_zeros(left, column[None])[0]].median()
    rows = left[sizes <= 10 * rounding]
    polished: Tensor = torch.linalg.svd(rows, full_matrices=True).Vh[-1]
    return polished


def _independent(left: Tensor, candidates: Tensor, rank: int) -> list[Tensor]:
    """Return the first candidates ``[n, rank]``, polished, that are independent of those before them, at most `rank`."""
    kept: list[Tensor] = []
    basis: list[Tensor] = []
    for candidate in candidates:
        if len(kept) == rank:
            break
        column = _polished(left, candidate)
        rest = column.clone()
        for other in basis:
            rest = rest - (rest @ other) * other
        if rest.norm() > SAME:
            kept.append(column)
            basis.append(rest / rest.norm())
    return kept

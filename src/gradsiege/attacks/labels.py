"""Labels from the last layer's update; none of these rules ever sees a true label.

For one image with head input h, probabilities p and label y the gradient of ``z = W h + b`` is (p - onehot(y)) h^T for W
and p - onehot(y) for b, whose only negative entry is the true class. The conclusions from W alone depend on the
sign of h: behind a ReLU or a sigmoid no feature is negative, behind a layer norm or a variational bottleneck about half of
them are. docs/LABELS.md says which rule finds how many labels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from gradsiege.attacks.label_counts import counts, counts_of_partial
from gradsiege.errors import StudyError, UsageError, nearest
from gradsiege.models.head import Head, head_of
from gradsiege.models.names import given_name
from gradsiege.protocol.local_update import Tensors
from gradsiege.protocol.observation import Observation

TINY = 1e-30
# More than both other hints together, which are cosines and skewnesses of at most one.
BIAS_VOTE = 2.5


def head_of_update(update: Tensors) -> Head:
    """Return the head that an update suggests where there is no network to ask: its last matrix, with the vector after it.

    Its features are taken to be non-negative, as they are behind a ReLU.

    >>> update = {"fc.weight": torch.zeros(1, 3, 5), "fc.bias": torch.zeros(1, 3)}
    >>> head_of_update(update).parameters
    ('fc.weight', 'fc.bias')
    """
    matrices = [name for name, value in update.items() if value.dim() == 3]
    if not matrices:
        raise StudyError(
            "labels are read off the last linear layer's update, and this update has no matrix; grant the "
            "labels: in Python by gradsiege.ThreatModel(labels='given'), or in the study file by 'labels: given' of the threat model"
        )
    weight = matrices[-1]
    bias = weight.removesuffix("weight") + "bias"
    return Head(weight, bias if bias in update else None)


def _received(update: Tensors, head: Head) -> Head:
    """Return the head without its bias if the update lacks it: a frozen bias tells as little as none."""
    return head if head.bias in update else replace(head, bias=None)


def _weight(update: Tensors, head: Head) -> Tensor:
    """Return the update of W, ``[victims, classes, features]``."""
    if head.weight not in update:
        raise StudyError(
            f"labels are read off the update of {given_name(head.weight)!r}, which is not matched here; grant the "
            "labels: in Python by gradsiege.ThreatModel(labels='given'), or in the study file by 'labels: given' of the threat model"
        )
    return update[head.weight]


def _distinct(scores: Tensor, images: int, rule: str) -> Tensor:
    """Return the `images` classes of least score, sorted, ``[victims, images]``."""
    if images > scores.shape[-1]:
        raise StudyError(
            f"label_rule {rule!r} gives every image a class of its own: {images} images are more than the "
            f"{scores.shape[-1]} classes; choose 'automatic' or 'bias_corrected', or fewer images"
        )
    return scores.topk(images, largest=False).indices.sort(-1).values


def row_sum(update: Tensors, images: int, head: Head | None = None) -> Tensor:
    """Return the `images` classes with the smallest row sums, sorted, ``[victims, images]``.

    For one image and non-negative features the row sum of the true class alone is negative, hence exact (Zhao
    et al., iDLG, 2020, equation 6). For more images it assumes distinct labels.

    >>> gradient = {"head.weight": torch.tensor([[[0.2, 0.1], [-0.5, -0.3], [0.3, 0.2]]])}
    >>> row_sum(gradient, 1)
    tensor([[1]])
    """
    sums = _weight(update, head or head_of_update(update)).sum(-1)
    return _distinct(sums, images, "row_sum")


def row_minimum(update: Tensors, images: int, head: Head | None = None) -> Tensor:
    """Return the `images` classes with the smallest row minimum, sorted, ``[victims, images]``.

    Yin et al., GradInversion, CVPR 2021, equation 7: distinct labels, non-negative features.

    >>> gradient = {"head.weight": torch.tensor([[[0.2, 0.1], [-0.5, 0.3], [-0.1, 0.2]]])}
    >>> row_minimum(gradient, 2)
    tensor([[1, 2]])
    """
    minima = _weight(update, head or head_of_update(update)).amin(-1)
    return _distinct(minima, images, "row_minimum")


def bias_corrected(update: Tensors, images: int, head: Head | None = None) -> Tensor:
    """Return `images` labels with duplicates from the head's bias gradient, sorted, ``[victims, images]``.

    Every class with a negative gradient is counted once; then the class that is most negative after its counted images
    were taken out is counted, until there are B labels (`label_counts`).

    >>> gradient = {"head.bias": torch.tensor([[0.1, -0.6, -0.2, 0.1]]), "head.weight": torch.zeros(1, 4, 1)}
    >>> bias_corrected(gradient, 4)
    tensor([[1, 1, 1, 2]])
    """
    head = head or head_of_update(update)
    return counts(head.bias_in(update, "label_rule 'bias_corrected'"), images)


def projection(update: Tensors, images: int, head: Head | None = None) -> Tensor:
    """Return `images` labels from W and b together, whatever the sign of the features, sorted, ``[victims, images]``.

    For one image the matrix [W b] of the gradients is the product of p - onehot(y) and [h 1]. Multiplied by [m 1], where m are
    the typical features, it is (p - onehot(y)) (h m + 1), with noise averaged out over all features; the least entry is the
    label, since non-negative features have h m >= 0. Signed ones need not: there p - onehot(y) is the first left singular
    vector of [W b] up to its length and sign (`_oriented`). For more images b is counted as in `bias_corrected`; entries of it that
    were not received are completed from the rows of W (`label_counts`), which stand for all of it where the layer has no bias
    or the update lacks it, as that of a frozen bias does.

    >>> bias = torch.tensor([[0.2, -0.5, 0.3]])
    >>> weight = bias[..., None] * torch.tensor([-1.0, 0.5])
    >>> projection({"fc.weight": weight, "fc.bias": bias}, 1, Head("fc.weight", "fc.bias", signed=True))
    tensor([[1]])
    """
    head = _received(update, head or head_of_update(update))
    weight = _weight(update, head)
    if images > 1:
        rows = _by_rows(weight, head)
        if head.bias is None:
            return counts(rows, images)
        return counts_of_partial(update[head.bias], rows, images)
    bias = weight.new_zeros(weight.shape[:-1]) if head.bias is None else update[head.bias]
    if head.signed:
        return _oriented(weight, bias, head.typical).argmin(-1, keepdim=True)
    return (_by_rows(weight, head) + bias).argmin(-1, keepdim=True)


def _by_rows(weight: Tensor, head: Head) -> Tensor:
    """Return the product of W's rows with the typical features, or their sums where these are not known."""
    return weight.sum(-1) if head.typical is None else weight @ head.typical.to(weight)


def _oriented(weight: Tensor, bias: Tensor, typical: Tensor | None) -> Tensor:
    """Return the first left singular vector u ``[victims, classes]`` of [W b], with its sign.

    Three hints vote on the sign: the cosine of u and b; that of W^T u and the typical features; and the skewness of u, since
    one entry of p - onehot(y) lies far below all others. A bias gradient that no defense has touched lies along u, and then
    outvotes the others; the farther it lies from u, the less it says.
    """
    rows = torch.cat([weight, bias[..., None]], -1)
    rows = rows / rows.abs().amax((-2, -1), keepdim=True).clamp_min(TINY)
    u = torch.linalg.eigh(rows @ rows.mT).eigenvectors[..., -1]
    apart = F.normalize(u - u.mean(-1, keepdim=True), dim=-1)
    votes = BIAS_VOTE * _cosine(bias, u) ** 3 - (apart**3).sum(-1)
    if typical is not None:
        votes += _cosine((rows[..., :-1].mT @ u[..., None])[..., 0], typical.to(u))
    sign: Tensor = torch.where(votes < 0, -1, 1)[..., None]
    oriented: Tensor = sign * u
    return oriented


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    """Return the cosine of two vectors along the last dimension; zero if one of them is."""
    product: Tensor = F.normalize(a, dim=-1) * F.normalize(b, dim=-1)
    return product.sum(-1)


def ordered(inferred: Tensor, given: Tensor) -> Tensor:
    """Return the inferred labels ``[victims, images]``, each at a place where the given one is the same, if there is any.

    What GIFD's released code does with the true labels, for which a threat model must grant them. The labels that
    were inferred wrongly fill the places left, in their order.

    >>> ordered(torch.tensor([[1, 4, 7]]), torch.tensor([[7, 2, 1]]))
    tensor([[7, 4, 1]])
    """
    rows = []
    for guesses, wanted in zip(inferred.tolist(), given.tolist(), strict=True):
        left = list(guesses)
        row = [left.pop(left.index(label)) if label in left else None for label in wanted]
        rows.append([left.pop(0) if label is None else label for label in row])
    return torch.tensor(rows)


Rule = Callable[[Tensors, int, Head], Tensor]
RULES: dict[str, Rule] = {
    "row_sum": row_sum,
    "row_minimum": row_minimum,
    "bias_corrected": bias_corrected,
    "projection": projection,
}


def infer(
    update: Tensors, images: int, rule: str = "automatic", head: Head | None = None
) -> Tensor:
    """Return inferred labels ``[victims, images]``.

    A non-finite update yields some label; its victim is recorded as failed before this is asked.

    Args:
        update: ``[victims, *shape]`` for each parameter: the mean gradient of a local step.
        images: per victim.
        rule: a key of `RULES`, or ``automatic``, which is `projection`.
        head: of the network; where it is not given, `head_of_update`.

    Raises:
        UsageError: there is no such rule.
    """
    clean = {name: torch.nan_to_num(value) for name, value in update.items()}
    chosen = "projection" if rule == "automatic" else rule
    if chosen not in RULES:
        raise UsageError(f"label_rule {rule!r} is unknown; {nearest(rule, [*RULES, 'automatic'])}")
    return RULES[chosen](clean, images, head or head_of_update(clean))


def inferred(seen: Observation, rule: str = "automatic") -> Tensor:
    """Return labels ``[victims, images]`` inferred from an observation, whose network says what its head receives.

    An update is the sum of its local steps' gradients. Where images are counted, the rules are given the mean of the steps.
    """
    head = head_of(seen.model, {**seen.parameters, **seen.buffers})
    update, images = seen.update, seen.images_per_client
    if images > 1 and seen.training is not None:
        known = [name for name in head.parameters if name in update]
        update = {name: update[name] / seen.training.steps for name in known}
    return infer(update, images, rule, head)

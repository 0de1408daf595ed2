"""CENSOR keeps the length of every tensor's update and gives it an orthogonal direction (Zhang et al., NDSS 2025)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call

from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.protocol.local_update import Tensors

VERSION = 1
REQUIRES = ("disclosure",)
TINY = 1e-12


def norms_and_orthogonality_distance(candidate: Tensors, observed: Tensors) -> Tensor:
    """Return the mean over tensors of log(|c| / |o|)^2 + cos(c, o)^2: zero if the lengths are equal and the angle is right.

    >>> seen = {"a": torch.tensor([3.0, 4.0])}
    >>> float(norms_and_orthogonality_distance({"a": torch.tensor([4.0, -3.0])}, seen))
    0.0
    >>> float(norms_and_orthogonality_distance({"a": torch.tensor([3.0, 4.0])}, seen))
    1.0
    """
    parts = []
    for name, value in observed.items():
        guess = candidate[name]
        squares, wanted = guess.square().sum() + TINY, value.square().sum() + TINY
        ratio = (squares / wanted).log() / 2
        parts.append(ratio.square() + (guess * value).sum().square() / (squares * wanted))
    return torch.stack(parts).mean()


def label_by_orthogonality(plan: AttackPlan) -> Tensor:
    """Return the label of a single image, ``[victims, 1]``, from the upload of the head's bias.

    The true gradient of the bias is p - onehot(y), and the upload o is orthogonal to it: o[y] = p . o. The attacker takes p
    of a grey image, which is close as long as the model is unsure.
    """
    seen = plan.knowledge.observation
    upload = seen.update[plan.head.bias_for("censor.norms_and_orthogonality")]
    grey = torch.full((1, *seen.image_shape), 0.5, device=upload.device, dtype=upload.dtype)
    state = {**seen.parameters, **seen.buffers}
    logits: Tensor = functional_call(plan.knowledge.model(), state, (grey,))
    expected = upload @ logits.softmax(-1)[0]
    return (upload - expected[:, None]).abs().argmin(-1, keepdim=True)


def norms_and_orthogonality(plan: AttackPlan) -> AttackPlan:
    """Match the received lengths and right angles: two equations per tensor, all the information in a faithful upload.

    A few dozen equations cannot determine thousands of pixels, so expect no recognisable image;
    the label of a single image does leak. As released the directions are not orthogonal: only the lengths hold, and
    a plain attack on the received direction is stronger.
    """
    informed = plan.with_distance(norms_and_orthogonality_distance)
    if plan.images_per_client == 1 and plan.disclosure.get("arm") == "faithful":
        return informed.with_labels(label_by_orthogonality(plan))
    return informed

"""CENSOR: upload random directions orthogonal to the update (Zhang et al., NDSS 2025, arXiv 2501.15718)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gradsiege.arithmetic import square_root
from gradsiege.defenses.base import Arm, Client, Defense
from gradsiege.protocol.local_update import Tensors, apply_update, loss
from gradsiege.ranges import Count, CountOrZero, Rate

VERSION = 2
ARMS = ("faithful", "as_released")
RELEASED_ROUNDS = 10


def orthogonal(value: Tensor, direction: Tensor) -> Tensor:
    """Return `direction` without its part along `value`, at the length of `value`.

    The result is orthogonal to `value` up to rounding. For a tensor of one coordinate it is zero.

    >>> orthogonal(torch.tensor([3.0, 4.0]), torch.tensor([1.0, 0.0]))
    tensor([ 4., -3.])
    """
    g, u = value.flatten().double(), direction.flatten().double()
    square = g @ g
    if len(g) == 1 or square == 0:
        return torch.zeros_like(value)
    rest = u - (u @ g) / square * g
    turned: Tensor = (rest / rest.norm() * square_root(square)).view(value.shape).to(value.dtype)
    return turned


def released(value: Tensor, direction: Tensor) -> Tensor:
    """Return the direction of the released code, which divides the projection coefficient by |g| instead of |g|^2.

    With u of unit length, u - (u.g / |g|) g keeps the part (u.g)(1 - |g|) / |g| along g. It is orthogonal only for |g| = 1;
    for a longer g this part has the opposite sign.

    >>> released(torch.tensor([3.0, 4.0]), torch.tensor([1.0, 0.0]))
    tensor([-1.5811, -4.7434])
    """
    length = value.norm()
    unit = direction / direction.norm()
    rest = unit - (unit * value).sum() / length.clamp_min(torch.finfo(value.dtype).tiny) * value
    scaled: Tensor = rest / rest.norm().clamp_min(torch.finfo(value.dtype).tiny) * length
    return scaled


def _double(tensors: Tensors) -> Tensors:
    return {
        name: value.double() if value.is_floating_point() else value
        for name, value in tensors.items()
    }


@dataclass(frozen=True)
class Censor(Defense):
    """Replace every tensor by a random one of its length: of several candidates the one that lowers the client's loss most.

    Faithful arm: every candidate is orthogonal to the update, and the best of them is uploaded even if none
    lowers the loss. As released: candidates are not orthogonal (`released`), the true update is uploaded if none
    lowers the loss, and always after the first ten rounds. Either way the length of every tensor is that of the
    true update.

    The loss is that of all the client's images at theta_t - step * candidate, in eval mode. To first order an orthogonal
    candidate does not change it: at the released step the candidates differ by about 1e-8, less than single precision
    resolves, so losses are computed in double. The released candidates differ by their part along the update, and the
    choice among them prefers those that keep most of it.

    The defaults are the released constants.

    Attributes:
        arm: faithful, or as released.
        trials: random candidates.
        step: learning rate with which each is tried on the client's own loss.
        rounds: how many rounds are defended. None: all of them in the faithful arm, the first 10 (epochs) as released.
    """

    name = "censor"

    trials: Count = 20
    step: Rate = 1e-4
    rounds: CountOrZero | None = None
    arm: Arm = "faithful"

    def __post_init__(self) -> None:
        """Take the released number of rounds as released, where none is given."""
        super().__post_init__()
        if self.rounds is None and self.arm == "as_released":
            object.__setattr__(self, "rounds", RELEASED_ROUNDS)

    def transform_update(self, update: Tensors, client: Client) -> Tensors:
        """Return the best of the random candidates.

        Takes and returns tensors by name, each of the shape of its parameter.
        """
        if self.rounds is not None and client.round >= self.rounds:
            return update
        draw = orthogonal if self.arm == "faithful" else released
        loss_after = self._objective(client)
        best, least = None, float("inf")
        if self.arm == "as_released":
            unmoved = {name: torch.zeros_like(value) for name, value in update.items()}
            best, least = update, loss_after(unmoved)
        for _ in range(self.trials):
            candidate = {
                name: draw(value, torch.randn(value.shape, generator=client.generator))
                for name, value in update.items()
            }
            loss = loss_after(candidate)
            if best is None or loss < least:
                best, least = candidate, loss
        assert best is not None
        return best

    def _objective(self, client: Client) -> Callable[[Tensors], float]:
        """Return the function from a candidate to the client's loss after a step along it."""
        model = copy.deepcopy(client.model).double().eval()
        parameters, buffers = _double(client.parameters), _double(client.buffers)
        images = client.images.double()

        @torch.no_grad()
        def loss_after(candidate: Tensors) -> float:
            moved = apply_update(parameters, candidate, self.step)
            return float(loss(model, moved, buffers, images, client.labels)[0])

        return loss_after

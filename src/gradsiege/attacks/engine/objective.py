"""The function that every attack minimises, for one element: one victim and one restart."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.func import grad_and_value, vmap

from gradsiege.attacks.engine.recipe import Stage
from gradsiege.attacks.engine.regularizers import Candidate
from gradsiege.protocol.local_update import LocalTraining, Tensors, local_update
from gradsiege.protocol.observation import Observation

Evaluation = tuple[Tensor, Tensor]
Evaluator = Callable[[Tensor, Tensor, Tensors], Evaluation]


def element_cost(
    model: nn.Module, observation: Observation, training: LocalTraining, stage: Stage
) -> Callable[[Tensor, Tensor, Tensors], tuple[Tensor, Tensor]]:
    """Return ``cost(x, labels, observed) -> (total, matching loss)`` for one element.

    The candidate's update is the client's own local update, differentiated: the gradient at theta_t for FedSGD, the
    unrolled local steps for FedAvg.
    """

    def cost(x: Tensor, labels: Tensor, observed: Tensors) -> tuple[Tensor, Tensor]:
        candidate = Candidate(normalised=x, images=stage.space.images(x))
        update, _ = local_update(
            model, observation.parameters, observation.buffers, candidate.images, labels, training
        )
        matching = stage.distance(update, observed)
        total = matching
        for weight, regularizer in stage.regularizers:
            total = total + weight * regularizer(candidate)
        return total, matching

    return cost


def evaluator(cost: Callable[..., tuple[Tensor, Tensor]], chunk: int | None = None) -> Evaluator:
    """Return ``evaluate(x, labels, observed) -> (gradients, matching losses)`` over a batch of elements.

    ``x`` is ``[n, images, c, h, w]``, labels ``[n, images]``, every observed tensor ``[n, *shape]``.
    """
    batched = vmap(grad_and_value(cost, has_aux=True), chunk_size=chunk)

    def evaluate(x: Tensor, labels: Tensor, observed: Tensors) -> Evaluation:
        gradients, (_, matching) = batched(x, labels, observed)
        return gradients, matching

    return evaluate

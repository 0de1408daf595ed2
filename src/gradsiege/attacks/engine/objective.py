"""The function that every attack minimises, for one element: one victim and one restart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor, nn
from torch.func import grad_and_value, vmap

from gradsiege.attacks.engine.recipe import Stage
from gradsiege.attacks.engine.regularizers import Candidate
from gradsiege.attacks.engine.variables import Variables
from gradsiege.protocol.local_update import LocalTraining, Tensors, local_update
from gradsiege.protocol.observation import Observation

Cost = Callable[[Variables, Tensor, Tensors, Tensor], tuple[Tensor, Tensor]]
Evaluation = tuple[Variables, Tensor]


@dataclass
class Target:
    """What the elements are matched against, all ``[n, ...]``; `consensus` changes during the run."""

    labels: Tensor
    observed: Tensors
    consensus: Tensor


def assumed_training(stage: Stage, training: LocalTraining) -> LocalTraining:
    """Return the local work as the attacker models it."""
    if stage.update_model == "unroll":
        return training
    return replace(training, name="fedsgd", batch_size=training.images, epochs=1)


def element_cost(
    model: nn.Module, observation: Observation, training: LocalTraining, stage: Stage
) -> Cost:
    """Return ``cost(x, labels, observed, consensus) -> (total, matching loss)`` for one element.

    The candidate's update is the client's own local update, differentiated: the gradient at theta_t for FedSGD, the
    unrolled local steps for FedAvg.
    """
    work = assumed_training(stage, training)

    def cost(
        x: Variables, labels: Tensor, observed: Tensors, consensus: Tensor
    ) -> tuple[Tensor, Tensor]:
        normalised, images = stage.space.decode(x, labels)
        matched = stage.space.labels(x, labels)
        candidate = Candidate(normalised, images, matched, observed, x)
        update, _ = local_update(
            model,
            observation.parameters,
            observation.buffers,
            candidate.images,
            candidate.labels,
            work,
        )
        matching = stage.distance(update, observed)
        total = matching
        for weight, regularizer in stage.regularizers:
            total = total + weight * regularizer(candidate)
        if stage.group is not None:
            difference = candidate.normalised - consensus
            total = total + stage.group.weight * (difference.square().sum() + 1e-20).sqrt()
        return total, matching

    return cost


def evaluator(cost: Cost, chunk: int | None = None) -> Callable[[Variables, Target], Evaluation]:
    """Return ``evaluate(x, target) -> (gradients, matching losses)`` over a batch of elements."""
    batched = vmap(grad_and_value(cost, has_aux=True), chunk_size=chunk)

    def evaluate(x: Variables, target: Target) -> Evaluation:
        gradients, (_, matching) = batched(x, target.labels, target.observed, target.consensus)
        return gradients, matching

    return evaluate

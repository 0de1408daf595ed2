"""How far the update of every candidate is from every received one, by the distance of an attack's plan.

All victims of an observation share the global model, so that a candidate's update is computed once for all of them. Distances are
taken in float64: a likelihood per coordinate is a mean over millions of them, and candidates differ in its seventh digit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import vmap

from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.attacks.objectives.distances import Distance, ProductDistance
from gradsiege.attacks.variables import Variables
from gradsiege.errors import ThreatModelError
from gradsiege.models import ModelSpec
from gradsiege.priors.resumable import UNSAVED, Checkpointer
from gradsiege.protocol.local_update import (
    Differentiate,
    LocalTraining,
    Objective,
    Tensors,
    as_rows,
    functional_gradient,
    gradient,
    local_update,
    loss,
)
from gradsiege.protocol.observation import stacked

# Bytes of the updates that are compared at once: the float64 copies of them that a distance makes are counted. The number of
# candidates in a step depends on nothing else, so that a run that is left goes on alike on any machine.
BYTES = 2**28
COPIES = 4


@dataclass(frozen=True)
class Candidates:
    """Images, each with the labels that it is tried with.

    Attributes:
        images: ``[n, c, h, w]`` in [0, 1].
        places: ``[tries]``, the image of each try; labels: ``[tries]``, its label.
    """

    images: Tensor
    places: Tensor
    labels: Tensor

    @classmethod
    def labelled(cls, images: Tensor, labels: Tensor) -> Candidates:
        """Return one try per image, with its label ``[n]``."""
        return cls(images, torch.arange(len(images), device=images.device), labels)

    @classmethod
    def with_each(cls, images: Tensor, labels: Tensor) -> Candidates:
        """Return a try of every image with each of the labels ``[k]``, image after image.

        >>> tried = Candidates.with_each(torch.zeros(2, 1, 4, 4), torch.tensor([3, 5]))
        >>> tried.places.tolist(), tried.labels.tolist()
        ([0, 0, 1, 1], [3, 5, 3, 5])
        """
        places = torch.arange(len(images), device=images.device)
        return cls(images, places.repeat_interleave(len(labels)), labels.repeat(len(images)))


@dataclass(frozen=True)
class Round:
    """One round of all victims: the global model that they started from, and what they sent."""

    model: nn.Module
    parameters: Tensors
    buffers: Tensors
    training: LocalTraining
    observed: Tensors
    distance: Distance
    objective_of: Callable[[Tensors, Variables], Objective] | None
    batched: bool

    @classmethod
    def of(cls, plan: AttackPlan) -> Round:
        """Return the round that a plan matches.

        Raises:
            ThreatModelError: the protocol is not granted.
        """
        seen = plan.knowledge.observation
        if seen.training is None:
            raise ThreatModelError(
                "comparing updates needs the local protocol, which is not granted"
            )
        some = next(iter(seen.parameters.values()))
        return cls(
            model=seen.model.build().to(some.device, some.dtype),
            parameters=seen.parameters,
            buffers=seen.buffers,
            training=seen.training,
            observed={name: value.double() for name, value in seen.update.items()},
            distance=plan.recipe.phases[0].distance,
            objective_of=plan.recipe.phases[0].loss,
            # The layers of a network of one's own may not work under `vmap`.
            batched=isinstance(seen.model, ModelSpec),
        )

    def updates(self, images: Tensor, labels: Tensor, objective: Objective = loss) -> Tensors:
        """Return the update of a client with one image, for each of ``images [n, c, h, w]``, ``labels [n]``: ``[n, *shape]``."""
        if self.batched:
            update = partial(self._update, functional_gradient, objective)
            return dict(vmap(update)(images, labels))
        pairs = zip(images, labels, strict=True)
        return stacked([self._update(gradient, objective, image, label) for image, label in pairs])

    def _update(
        self, differentiate: Differentiate, objective: Objective, image: Tensor, label: Tensor
    ) -> Tensors:
        update, _ = local_update(
            self.model,
            self.parameters,
            self.buffers,
            image[None],
            label[None],
            self.training,
            differentiate=differentiate,
            objective=objective,
        )
        return {name: update[name].detach().double() for name in self.observed if name in update}

    def distances(self, images: Tensor, labels: Tensor, wanted: Tensor | None = None) -> Tensor:
        """Return the distance of every update from every received one, float64 ``[victims, n]``; infinite where it is not finite.

        Args:
            images: ``[n, c, h, w]``; labels: ``[n]``.
            wanted: bool ``[victims, n]``, the pairs that are looked at; others may stay infinite, which saves their comparison.
        """
        if self.objective_of is None:
            table = compared(self.distance, self.updates(images, labels), self.observed, wanted)
        else:
            rows = range(self.victims)
            table = torch.cat(
                [
                    self._distances_of(row, images, labels, None if wanted is None else wanted[row])
                    for row in rows
                ]
            )
        return table.nan_to_num(torch.inf, torch.inf)

    @property
    def victims(self) -> int:
        """Number of received updates."""
        return len(next(iter(self.observed.values())))

    def _distances_of(
        self, victim: int, images: Tensor, labels: Tensor, wanted: Tensor | None
    ) -> Tensor:
        """Return one row of `distances`, where what the attacker differentiates depends on the received update."""
        assert self.objective_of is not None
        if wanted is not None and not bool(wanted.all()):
            row = labels.new_full((1, len(labels)), torch.inf, dtype=torch.float64)
            if bool(wanted.any()):
                row[:, wanted] = self._distances_of(victim, images[wanted], labels[wanted], None)
            return row
        some = next(iter(self.parameters.values()))
        received = {name: value[victim : victim + 1] for name, value in self.observed.items()}
        objective = self.objective_of(
            {name: value[0].to(some.dtype) for name, value in received.items()}, {}
        )
        return compared(self.distance, self.updates(images, labels, objective), received)


def compared(
    distance: Distance, candidates: Tensors, observed: Tensors, wanted: Tensor | None = None
) -> Tensor:
    """Return the distance of each of n updates ``[n, *shape]`` from each of m received ones ``[m, *shape]``: ``[m, n]``.

    Pairs outside of ``wanted [m, n]`` may stay infinite.

    >>> from gradsiege.attacks.objectives.distances import squared_l2
    >>> candidates = {"w": torch.tensor([[0.0, 0.0], [3.0, 4.0]])}
    >>> compared(squared_l2, candidates, {"w": torch.tensor([[0.0, 0.0]])}).tolist()
    [[0.0, 25.0]]
    """
    if isinstance(distance, ProductDistance):
        # Inner products of all with all are one matrix product per tensor.
        pairs = [(as_rows(candidates[name]), as_rows(value)) for name, value in observed.items()]
        return distance.combine(
            torch.stack([theirs @ ours.mT for ours, theirs in pairs], -1),
            torch.stack([ours.square().sum(1) for ours, _ in pairs], -1)[None],
            torch.stack([theirs.square().sum(1) for _, theirs in pairs], -1)[:, None],
        )
    of_all = vmap(distance, in_dims=(0, None))
    some = next(iter(observed.values()))
    table = some.new_full((len(some), len(next(iter(candidates.values())))), torch.inf)
    for row in range(len(some)):
        received = {name: value[row] for name, value in observed.items()}
        if wanted is None or bool(wanted[row].all()):
            table[row] = of_all(candidates, received)
        elif bool(wanted[row].any()):
            chosen = {name: value[wanted[row]] for name, value in candidates.items()}
            table[row, wanted[row]] = of_all(chosen, received)
    return table


def tries_at_once(parameters: Tensors) -> int:
    """Return the number of candidates whose updates are compared in one step.

    >>> tries_at_once({"w": torch.zeros(1024, 1024)})
    8
    """
    coordinates = sum(value.numel() for value in parameters.values())
    return max(1, BYTES // (COPIES * 8 * coordinates))


def distances(
    plans: Sequence[AttackPlan],
    candidates: Candidates,
    checkpointer: Checkpointer = UNSAVED,
    wanted: Tensor | None = None,
) -> Tensor:
    """Return the distance of every try's update from every received one, float64 ``[victims, tries]`` on the CPU.

    Args:
        plans: of each round of the same images, whose mean is returned.
        candidates: the tries.
        checkpointer: checkpoints, between steps of some tries each.
        wanted: bool ``[victims, tries]``, the pairs that are looked at; the distance of others may be infinite.
    """
    rounds = [Round.of(plan) for plan in plans]
    tries, size = len(candidates.places), tries_at_once(rounds[0].parameters)
    victims = plans[0].knowledge.observation.victims
    table = torch.full((victims, tries), torch.inf, dtype=torch.float64)
    steps = -(-tries // size)
    # Nothing is drawn; a checkpoint holds a generator all the same.
    for number in checkpointer.steps(steps, "attack", {"distances": table}, torch.Generator()):
        part = slice(number * size, (number + 1) * size)
        images = candidates.images[candidates.places[part]]
        pairs = None if wanted is None else wanted[:, part].to(images.device)
        labels = candidates.labels[part]
        of_rounds = [round_.distances(images, labels, pairs) for round_ in rounds]
        table[:, part] = torch.stack(of_rounds).mean(0).cpu()
    return table

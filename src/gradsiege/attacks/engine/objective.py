"""The function that every attack minimises, for one element: one victim and one restart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor, nn

from gradsiege.arithmetic import square_root
from gradsiege.attacks.objectives.regularizers import Candidate
from gradsiege.attacks.recipe import Phase
from gradsiege.attacks.variables import Variables
from gradsiege.errors import StudyError
from gradsiege.protocol.local_update import (
    Differentiate,
    LocalTraining,
    Objective,
    Tensors,
    detached,
    functional_gradient,
    local_update,
    loss,
)
from gradsiege.protocol.observation import Observation

# Update models; the surrogate's variable has its name.
SURROGATE, DETACHED = "surrogate", "detached"


@dataclass
class Target:
    """What the elements are matched against, all ``[n, ...]``; `consensus` changes during the run.

    `statistics` holds the private batch's statistics at every batch norm, empty unless they are granted.
    """

    labels: Tensor
    observed: Tensors
    consensus: Tensor
    statistics: Tensors

    def tensors(self) -> tuple[Tensor, Tensors, Tensor, Tensors]:
        """Return the fields in the order in which a cost takes them.

        Labels ``[n, images]``, observed tensors ``[n, ...]``, consensus ``[n, images, c, h, w]``, statistics ``[n, ...]``.
        """
        return self.labels, self.observed, self.consensus, self.statistics


Cost = Callable[[Variables, Tensor, Tensors, Tensor, Tensors], tuple[Tensor, Tensor]]
Evaluation = tuple[Variables, Tensor]
Evaluate = Callable[[Variables, Target], Evaluation]


@dataclass(frozen=True)
class Problem:
    """Everything that one phase of an attack minimises over; an engine turns it into an `Evaluate`."""

    model: nn.Module
    observation: Observation
    training: LocalTraining
    phase: Phase

    @property
    def work(self) -> LocalTraining:
        """The local work as the attacker models it."""
        if self.phase.update_model in ("unroll", DETACHED):
            return self.training
        images = self.training.images
        return replace(self.training, name="fedsgd", batch_size=images, epochs=1)

    @property
    def shares_weights(self) -> bool:
        """Whether the updates of all elements are taken at theta_t."""
        return self.phase.update_model != SURROGATE and self.phase.evaluated_at == "global"

    @property
    def ranks_by_objective(self) -> bool:
        """Whether iterates are compared by the whole objective instead of the matching loss."""
        return self.phase.iterate == "least_objective"

    def loss(self, observed: Tensors, x: Variables) -> Objective:
        """Return the objective whose gradient is the candidate's update, given the element's observed one and its variables.

        observed, x: of one element, without its dimension: ``[...]``, not ``[n, ...]``.
        """
        return loss if self.phase.loss is None else self.phase.loss(observed, x)

    def candidate(
        self, x: Variables, labels: Tensor, observed: Tensors, statistics: Tensors
    ) -> Candidate:
        """Decode one element.

        All of one element: labels ``[images]``; the candidate's images are ``[images, c, h, w]``.
        """
        normalised, images = self.phase.space.decode(x, labels)
        matched = self.phase.space.labels(x, labels)
        return Candidate(normalised, images, matched, observed, x, statistics)

    def penalty(self, candidate: Candidate, consensus: Tensor) -> Tensor:
        """Return the weighted regularizers and the pull towards the restarts' consensus.

        consensus: ``[images, c, h, w]``; the result is a scalar.
        """
        total = candidate.normalised.new_zeros(())
        for weight, regularizer in self.phase.regularizers:
            total = total + weight * regularizer(candidate)
        if self.phase.group is not None:
            difference = candidate.normalised - consensus
            total = total + self.phase.group.weight * square_root(difference.square().sum() + 1e-20)
        return total

    def point(self, x: Variables, observed: Tensors) -> Tensors:
        """Return the weights at which the candidate's update is taken: theta_t, the upload, or the surrogate point.

        The surrogate lies on the line from theta_t to theta_local, w = theta_t - a lr update with a in (0, 1) optimised
        beside the images (Zhu et al., surrogate model extension, ICML 2023, section 4); here a = sigmoid(x).
        """
        if self.shares_weights:
            return self.observation.parameters
        way: Tensor | float = self.training.learning_rate
        if self.phase.update_model == SURROGATE:
            way = x[SURROGATE].sigmoid() * way
        # A parameter that is not matched has no observed way to go.
        return {
            name: value - way * observed[name] if name in observed else value
            for name, value in self.observation.parameters.items()
        }


def element_cost(problem: Problem, differentiate: Differentiate = functional_gradient) -> Cost:
    """Return ``cost(x, labels, observed, consensus, statistics) -> (total, loss)`` for one element.

    The loss ranks iterates: it is the matching loss, or the total again where the phase keeps the least objective.
    The candidate's update is the client's own local update, differentiated: the gradient at theta_t for FedSGD, the
    unrolled local steps for FedAvg.

    Raises:
        StudyError: the update is to be detached, and nothing else has a gradient.
    """
    if problem.phase.update_model == DETACHED:
        differentiate = detached(differentiate)
        if not problem.phase.regularizers:
            raise StudyError(
                "update_model: detached leaves an attack without regularizers nothing to follow; choose a recipe that "
                "has some, or another update_model"
            )

    def cost(
        x: Variables, labels: Tensor, observed: Tensors, consensus: Tensor, statistics: Tensors
    ) -> tuple[Tensor, Tensor]:
        candidate = problem.candidate(x, labels, observed, statistics)
        update, _ = local_update(
            problem.model,
            problem.point(x, observed),
            problem.observation.buffers,
            candidate.images,
            candidate.labels,
            problem.work,
            differentiate=differentiate,
            objective=problem.loss(observed, x),
        )
        matching = problem.phase.distance(update, observed)
        total = matching + problem.penalty(candidate, consensus)
        return total, total if problem.ranks_by_objective else matching

    return cost


def with_surrogate(phase: Phase, x: Variables) -> Variables:
    """Add the position of the surrogate point, midway at first, to the variables ``[n, ...]`` of a phase that has one."""
    if phase.update_model != SURROGATE:
        return x
    some = next(iter(x.values()))
    return {**x, SURROGATE: some.new_zeros(len(some))}

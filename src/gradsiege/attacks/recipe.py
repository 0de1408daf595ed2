"""A recipe describes the optimisation, in phases: space, distance, weighted regularizers, optimizer, iterations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from gradsiege.attacks.objectives.distances import Distance
from gradsiege.attacks.objectives.regularizers import Regularizer
from gradsiege.attacks.optimizers.gradient import Optimizer
from gradsiege.attacks.spaces.space import Again, Space
from gradsiege.attacks.variables import Variables
from gradsiege.protocol.local_update import Objective, Tensors

UpdateModel = Literal["unroll", "gradient", "surrogate", "detached"]


@dataclass(frozen=True)
class GroupConsistency:
    """Pull every restart towards the mean image of its victim's restarts (Yin et al., CVPR 2021, equation 11).

    The mean is plain, without registration, as in the ports that are public; it is taken at iteration `first`
    and every `every` iterations from then on. Before, and with one restart, nothing is pulled.
    """

    weight: float
    first: int = 500
    every: int = 100


@dataclass(frozen=True)
class Phase:
    """One optimisation: ``distance(update(x), observed) + sum of weight * regularizer(x)``.

    Attributes:
        noise: deviation, in units of the current step size, of Langevin noise on the gradient that the optimizer is fed; 0 for
            none.
        group: group consistency between the restarts of a victim.
        update_model: how the attacker models the client's local work: ``unroll`` the local steps, or take in their place
            the ``gradient`` of all images at theta_t, or at a ``surrogate`` point on the way to theta_local; ``detached``
            are unrolled steps without a derivative (a defect, see `local_update.detached`).
        evaluated_at: the weights of the candidate's update, the ``global`` ones that the client started from, or, as the
            code released with TIP does it, the ``defended`` ones that it uploaded.
        patience: an element stops after so many iterations without a better matching loss; None for never.
        iterate: what the phase ends with, its iterate of ``least`` matching loss, the one of the ``least_objective``, with
            regularizers, or its ``last`` one. Restarts and phases are compared by matching loss in any case; with
            ``least_objective`` the trace and `patience` follow the objective.
        again: makes the phase's starting points of the recipe's own and of the images that matched best so far,
            ``[n, images, c, h, w]``, instead of going on from the phase before; finds so far are forgotten.
        loss: maps an element's observed update and variables to the objective whose gradient is the candidate's update; None
            for the clients' own loss. An attacker takes another one where it knows the gradient at an inner layer, or searches for
            what a client drew.
        unit: what a counter's distance has to be measured in: ``nats`` per coordinate where the phase's prior is a density, or
            any ``free`` unit, in which the plain cosine is usual.
    """

    space: Space
    distance: Distance
    regularizers: tuple[tuple[float, Regularizer], ...]
    optimizer: Optimizer
    iterations: int
    noise: float = 0.0
    group: GroupConsistency | None = None
    update_model: UpdateModel = "unroll"
    evaluated_at: Literal["global", "defended"] = "global"
    patience: int | None = None
    iterate: Literal["least", "least_objective", "last"] = "least"
    again: Again | None = None
    loss: Callable[[Tensors, Variables], Objective] | None = None
    unit: Literal["free", "nats"] = "free"

    @property
    def evaluations(self) -> int:
        """Number of candidate updates per element; a search by populations evaluates several per iteration."""
        population: int | None = getattr(self.optimizer, "population", None)
        return self.iterations + 1 if population is None else self.iterations * population


@dataclass(frozen=True)
class Recipe:
    """A list of phases; each continues from the best variables of the one before.

    Attributes:
        keep: return the ``least`` matching loss over all phases, or that of the ``last`` phase.
        restart: whose images are returned: those of the restart with the ``least`` loss, or of the ``last`` restart
            whatever its loss (a defect of released code), or the ``mean`` of those that did not fail, which for draws from a
            posterior is its mean; the loss that is reported stays the least one.
        label_rule: how labels are inferred where they are not granted, a key of `labels.RULES` or ``automatic``.
        ordered_labels: infer the labels, then put them in the order of the granted ones (an oracle of released code).
    """

    phases: tuple[Phase, ...]
    keep: Literal["least", "last"] = "least"
    restart: Literal["least", "last", "mean"] = "least"
    label_rule: str = "automatic"
    ordered_labels: bool = False

    def with_phases(self, **changes: Any) -> Recipe:
        """Return the recipe with fields of every phase changed."""
        return replace(self, phases=tuple(replace(phase, **changes) for phase in self.phases))

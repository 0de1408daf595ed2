"""A recipe says what is optimised: spaces, a distance, weighted regularizers, an optimizer, iterations, in stages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gradsiege.attacks.engine.optimizer import Optimizer
from gradsiege.attacks.engine.regularizers import Regularizer
from gradsiege.attacks.engine.spaces import Pixels, Space
from gradsiege.attacks.engine.variables import Variables
from gradsiege.models.head import Head, head_of
from gradsiege.protocol.local_update import Tensors
from gradsiege.protocol.observation import Observation
from gradsiege.protocol.threat_model import ThreatModel

Distance = Callable[[Tensors, Tensors], Tensor]
Again = Callable[[Variables, Tensor], Variables]
UpdateModel = Literal["unroll", "gradient", "surrogate", "detached"]


@dataclass(frozen=True)
class TrainedPrior:
    """A prior that the attacker trained on auxiliary images."""

    name: str
    weights: dict[str, Tensor]
    card: dict[str, object]


@dataclass(frozen=True)
class Knowledge:
    """All that an attack gets: the stripped observation, its threat model, its prior, and further ones if it has several."""

    observation: Observation
    threat: ThreatModel
    prior: TrainedPrior | None = None
    further: tuple[TrainedPrior, ...] = ()

    def trained(self, *names: str) -> TrainedPrior | None:
        """Return the first prior of one of these kinds, or None."""
        held = (self.prior, *self.further)
        return next((prior for prior in held if prior is not None and prior.name in names), None)

    @property
    def device(self) -> torch.device:
        """Where the attack runs: where its observation lies."""
        return next(iter(self.observation.update.values())).device

    @cached_property
    def head(self) -> Head:
        """The last linear layer of the global model, found by its structure."""
        seen = self.observation
        return head_of(seen.model, {**seen.parameters, **seen.buffers})

    def model(self) -> nn.Module:
        """Return the architecture of the global model, its weights left at their initial values."""
        return self.observation.model.build()

    def pixels(self) -> Pixels:
        """Return the pixel space of the private images."""
        return Pixels(*self.pixel_arguments())

    def pixel_arguments(self) -> tuple[tuple[int, int, int, int], Tensor, Tensor]:
        """Return (shape of one element, channel mean, channel deviation)."""
        buffers = self.observation.buffers
        return (
            (self.observation.images, *self.observation.image_shape),
            buffers["normalisation.mean"],
            buffers["normalisation.deviation"],
        )


@dataclass(frozen=True)
class GroupConsistency:
    """Pull every restart towards the mean image of its victim's restarts (Yin et al., CVPR 2021, equation 11).

    The mean is plain, without registration, as in the ports that are public; it is taken at iteration `first`
    and every `every` iterations from then on.
    """

    weight: float
    first: int = 500
    every: int = 100


@dataclass(frozen=True)
class Stage:
    """One optimisation: ``distance(update(x), observed) + sum of weight * regularizer(x)``.

    Attributes:
        noise: deviation of Langevin noise in units of the current step size; 0 for none.
        group: group consistency between the restarts of a victim.
        update_model: how the attacker models the client's local work: ``unroll`` the local steps, or take in their place
            the ``gradient`` of all images at theta_t, or at a ``surrogate`` point on the way to theta_local; ``detached``
            are unrolled steps without a derivative (a defect, see `local_update.detached`).
        evaluated_at: the weights of the candidate's update, the ``global`` ones that the client started from, or, as the
            code released with TIP does it, the ``defended`` ones that it uploaded.
        patience: an element stops after so many iterations without a better matching loss; None for never.
        iterate: what the stage ends with, its iterate of ``least`` matching loss or its ``last`` one.
        again: makes the stage's starting points of the recipe's own and of the images that matched best so far,
            ``[n, images, c, h, w]``, in the place of going on from the stage before; finds so far are forgotten.
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
    iterate: Literal["least", "last"] = "least"
    again: Again | None = None

    @property
    def evaluations(self) -> int:
        """How many candidate updates one element costs: a search by populations evaluates many an iteration."""
        population: int | None = getattr(self.optimizer, "population", None)
        return self.iterations + 1 if population is None else self.iterations * population


@dataclass(frozen=True)
class Recipe:
    """A list of stages; each continues from the best variables of the one before.

    Attributes:
        keep: return the ``least`` matching loss over all stages, or that of the ``last`` stage.
        restart: whose images are returned: those of the restart with the ``least`` loss, or of the ``last`` restart
            whatever its loss (a defect of released code; the loss that is reported stays the least one).
        label_rule: how labels are inferred where they are not granted, a key of `labels.RULES` or ``automatic``.
        ordered_labels: infer the labels, then put them in the order of the granted ones (an oracle of released code).
    """

    stages: tuple[Stage, ...]
    keep: Literal["least", "last"] = "least"
    restart: Literal["least", "last"] = "least"
    label_rule: str = "automatic"
    ordered_labels: bool = False

    def but(self, **changes: Any) -> Recipe:
        """Return the recipe with fields of every stage changed."""
        return replace(self, stages=tuple(replace(stage, **changes) for stage in self.stages))

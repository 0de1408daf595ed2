"""An attack that is about to run, and the ways in which an informed attacker may change it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from gradsiege.attacks import labels
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.objectives.distances import Distance
from gradsiege.attacks.recipe import Phase, Recipe
from gradsiege.errors import ThreatModelError
from gradsiege.models.head import Head
from gradsiege.protocol.local_update import Tensors
from gradsiege.protocol.observation import Observation
from gradsiege.protocol.simulation import Simulate

View = Callable[[Tensors, Tensors], tuple[Tensors, Tensors]]


@dataclass(frozen=True)
class Viewed:
    """A distance between two updates after a view has transformed them: ``distance(*view(candidate, observed))``.

    A view is a pure function of one element. It derives all that it needs from the observed update, so that every engine can
    run it.
    """

    distance: Distance
    view: View

    def __call__(self, candidate: Tensors, observed: Tensors) -> Tensor:
        """Return the distance of one element."""
        return self.distance(*self.view(candidate, observed))


def kept_channels(received: Tensors, matched: Tensors) -> Tensors:
    """Return which output channels of each tensor are matched, ``[victims, out]`` each; empty if all are.

    >>> received = {"a": torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), "b": torch.tensor([[5.0]])}
    >>> kept_channels(received, {"a": torch.tensor([[[1.0, 2.0], [0.0, 0.0]]])})
    {'a': tensor([[ True, False]]), 'b': tensor([[False]])}
    >>> kept_channels(received, received)
    {}
    """
    channels = {}
    for name, value in received.items():
        there = (value != 0).flatten(2).any(2) if value.dim() > 2 else value != 0
        view = matched.get(name)
        if view is None:
            channels[name] = torch.zeros_like(there)
            continue
        left = (view != 0).flatten(2).any(2) if view.dim() > 2 else view != 0
        channels[name] = left | ~there
    return {} if all(bool(flags.all()) for flags in channels.values()) else channels


@dataclass(frozen=True)
class AttackPlan:
    """The knowledge of an attack, its recipe, and the processing of the images that it finds.

    Attributes:
        finish: maps the images found, ``[victims, images, c, h, w]`` in [0, 1], to the returned ones.
        averaged: number of rounds, each with independent noise, that the update is the mean of.
        simulate: runs a client under the disclosed defense on images of the attacker, for a counter that learns from it.
        seed: names that seed all randomness of the attack.
        granted: every granted round of the victims, in order, for a counter that reads them together; the first alone, unless
            the attack matches several.
    """

    knowledge: Knowledge
    recipe: Recipe
    finish: Callable[[Tensor], Tensor] = lambda images: images
    averaged: int = 1
    simulate: Simulate | None = None
    seed: tuple[object, ...] = ()
    granted: tuple[Observation, ...] = ()

    @property
    def disclosure(self) -> dict[str, Any]:
        """The granted public parameters of the defense, and its name."""
        return self.knowledge.observation.disclosure or {}

    @property
    def update(self) -> Tensors:
        """The updates that will be matched, ``[victims, *shape]`` for each parameter."""
        return self.knowledge.observation.update

    @property
    def head(self) -> Head:
        """The network's last linear layer."""
        return self.knowledge.head

    @property
    def images_per_client(self) -> int:
        """Private images per victim."""
        return self.knowledge.observation.images_per_client

    @property
    def knows_labels(self) -> bool:
        """Whether the labels are granted, so that none has to be inferred."""
        granted = self.knowledge.observation.labels is not None
        return self.knowledge.threat.has_labels and granted

    def _seeing(self, **changes: Any) -> AttackPlan:
        observation = replace(self.knowledge.observation, **changes)
        return replace(self, knowledge=replace(self.knowledge, observation=observation))

    def matching(self, update: Tensors) -> AttackPlan:
        """Match another update, of the same shapes; parameters that it lacks are not matched at all."""
        if not update:
            raise ThreatModelError(
                f"nothing of the update is left to match after the counter of {self.disclosure['defense']}; "
                "attack a model with other layers"
            )
        return self._seeing(update=update)

    def without(self, names: Iterable[str]) -> AttackPlan:
        """Match all parameters but these."""
        dropped = set(names)
        return self.matching({k: v for k, v in self.update.items() if k not in dropped})

    def with_labels(self, better: Tensor | None = None) -> AttackPlan:
        """Set labels ``[victims, images]``: the granted ones, else `better` ones, else inferred ones."""
        if self.knows_labels:
            return self
        seen = self.knowledge.observation
        return self._seeing(labels=labels.inferred(seen) if better is None else better)

    def map_phases(self, change: Callable[[Phase], Phase]) -> AttackPlan:
        """Change every phase of the recipe."""
        phases = tuple(change(phase) for phase in self.recipe.phases)
        return replace(self, recipe=replace(self.recipe, phases=phases))

    def with_distance(self, distance: Distance) -> AttackPlan:
        """Compare updates by this distance instead of the recipe's."""
        return self.map_phases(lambda phase: replace(phase, distance=distance))

    def with_view(self, view: View) -> AttackPlan:
        """Compare updates after the view, by the recipe's own distance."""
        return self.map_phases(lambda phase: replace(phase, distance=Viewed(phase.distance, view)))

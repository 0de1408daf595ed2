"""The base of attacks that choose among images instead of optimising, and what they have in common."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal

import torch
from torch import Tensor

from gradsiege.attacks import several_rounds
from gradsiege.attacks.base import Attack
from gradsiege.attacks.conditions import Completed, Conditions
from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.matching import Seed, plan_of
from gradsiege.attacks.objectives.distances import cosine
from gradsiege.attacks.optimizers.gradient import Adam
from gradsiege.attacks.recipe import Phase, Recipe
from gradsiege.attacks.variables import wide
from gradsiege.errors import StudyError
from gradsiege.priors.resumable import UNSAVED, Checkpointer
from gradsiege.protocol.reconstruction import Reconstruction
from gradsiege.protocol.simulation import Simulate

PLAIN_FINISH = next(part.default for part in fields(AttackPlan) if part.name == "finish")


@dataclass(frozen=True, kw_only=True)
class Lookup(Attack):
    """Base of attacks that choose among images instead of optimising. A subclass defines `look_up` and `evaluations`.

    A counter changes which parts of an update are compared, how, and how labels are inferred, as in every other attack.
    Nothing is random: equal calls choose equal images.
    """

    iterations: Literal[1] = 1
    restarts: Literal[1] = 1
    update_model: Literal["unroll"] = "unroll"
    evaluated_at: Literal["global"] = "global"
    patience: None = None

    def recipe(self, knowledge: Knowledge) -> Recipe:
        """Return the comparison by the cosine over all tensors, which a counter may change; no step is taken."""
        phase = Phase(
            space=knowledge.pixels(),
            distance=cosine,
            regularizers=(),
            optimizer=Adam(0.0),
            iterations=0,
        )
        return Recipe((phase,))

    def look_up(
        self,
        knowledge: Knowledge,
        checkpointer: Checkpointer = UNSAVED,
        simulate: Simulate | None = None,
        seed: Seed = (),
    ) -> Reconstruction:
        """Return the chosen images.

        Args:
            knowledge: all inputs of the attacker.
            checkpointer: checkpoints, between steps of some candidates each.
            simulate, seed: run a client under the disclosed defense, for a counter that learns from simulated clients.
        """
        raise TypeError(f"{type(self).__name__} chooses nothing: define `look_up`")

    def evaluations(self, knowledge: Knowledge) -> int:
        """Return the number of candidate updates that a victim's own is compared with."""
        raise TypeError(f"{type(self).__name__} does not say what it costs: define `evaluations`")

    def plans(
        self, knowledge: Knowledge, simulate: Simulate | None = None, seed: Seed = ()
    ) -> list[AttackPlan]:
        """Return the plan for every round that is compared, changed by the counter.

        Raises:
            StudyError: a counter that changes the images found.
        """
        rounds = several_rounds.seen_by(knowledge.observation, self.rounds)
        granted = several_rounds.granted(knowledge.observation, self.rounds)
        plans = [
            plan_of(self, replace(knowledge, observation=seen), simulate, seed, granted)
            for seen in rounds
        ]
        if plans[0].finish is not PLAIN_FINISH:
            raise StudyError(
                f"{self.counter} changes the images that an attack finds, and {self.name} returns an image as it is given; "
                "leave the counter out"
            )
        return plans

    def run(self, knowledge: Knowledge, how: Conditions) -> Completed:
        """Look the images up."""
        chosen = self.look_up(knowledge, Checkpointer(how.progress), how.simulate, how.seed)
        return Completed(chosen, self.evaluations(knowledge))


def refuse_batches(attack: str, knowledge: Knowledge) -> None:
    """Refuse clients with several images, of which a candidate would be a whole batch.

    Raises:
        StudyError: a client has several images.
    """
    images = knowledge.observation.images_per_client
    if images != 1:
        raise StudyError(
            f"{attack} compares the update of one image, not of {images}: observe clients of one image, or in the study file name such "
            "protocols in the attack's 'only'"
        )


def answer(
    images: Tensor, labels: Tensor, losses: Tensor, candidate_losses: Tensor | None = None
) -> Reconstruction:
    """Return chosen images as the result of an attack; NaN where the loss is not finite.

    Args:
        images: ``[victims, images, c, h, w]`` in [0, 1]; labels: ``[victims, images]``.
        losses: ``[victims]``, of the chosen images.
        candidate_losses: as in `Reconstruction`.
    """
    losses = losses.cpu().float()
    images = images.cpu()
    zeros = torch.zeros(len(losses), dtype=torch.int64)
    return Reconstruction(
        images=torch.where(wide(losses.isfinite(), images), images, torch.nan),
        labels=labels.cpu(),
        matching_loss=losses,
        restart=zeros,
        iteration=zeros.clone(),
        trace=[(0, losses[:, None])],
        candidate_losses=candidate_losses,
    )

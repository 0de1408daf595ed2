"""An attack of any kind runs by one method, which says what it cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from gradsiege.attacks.base import Learned
from gradsiege.attacks.conditions import Conditions
from gradsiege.attacks.engine.autotune import EnginePolicy
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.lookup.base import answer
from gradsiege.attacks.recipes.inverting_gradients import InvertingGradients
from gradsiege.errors import MissingError
from gradsiege.priors.resumable import UNSAVED, Checkpointer
from gradsiege.protocol.reconstruction import Reconstruction
from gradsiege.protocol.simulation import Simulate

POLICY = EnginePolicy("loop")


@dataclass(frozen=True)
class Grey(Learned):
    """A learned attack as a plug-in might have it: it answers with grey images."""

    name = "grey"

    def learn(
        self,
        knowledge: Knowledge,
        simulate: Simulate,
        seed: tuple[object, ...],
        checkpointer: Checkpointer = UNSAVED,
    ) -> Reconstruction:
        seen = knowledge.observation
        images = torch.full((seen.victims, 1, *seen.image_shape), 0.5)
        labels = torch.zeros(seen.victims, 1, dtype=torch.int64)
        return answer(images, labels, torch.ones(seen.victims))


def test_an_attack_that_matches_counts_its_candidate_updates(defended: Any) -> None:
    knowledge = defended("none").knowledge
    completed = InvertingGradients(iterations=3, restarts=2).run(
        knowledge, Conditions(("test",), POLICY)
    )
    assert completed.evaluations == 2 * (3 + 1), "the starting point is one"
    assert [choice["engine"] for choice in completed.notes["engines"]] == ["loop"]


def test_a_learned_attack_of_somebody_else_runs_by_the_same_method(defended: Any) -> None:
    knowledge = defended("none").knowledge
    conditions = Conditions(("test",), POLICY, simulate=lambda images, labels, generator: {})
    completed = Grey(iterations=7).run(knowledge, conditions)
    assert bool((completed.reconstruction.images == 0.5).all())
    assert (completed.evaluations, completed.notes) == (7, {"device": "cpu"})
    with pytest.raises(MissingError, match="grey learns from simulated clients"):
        Grey().run(knowledge, Conditions(("test",), POLICY))

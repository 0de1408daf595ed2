"""An objective that is never a number is a failure with its reason, in every way of choosing the result; others are untouched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest
import torch
from small_classifiers import small
from torch import Tensor

import gradsiege as gs
from gradsiege.attacks.base import Attack
from gradsiege.attacks.engine.stuck import REASON
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.objectives.distances import squared_l2
from gradsiege.attacks.objectives.regularizers import Candidate
from gradsiege.attacks.optimizers.gradient import Adam
from gradsiege.attacks.recipe import Phase, Recipe


def never(candidate: Candidate) -> Tensor:
    return candidate.images.mean() * torch.nan


def at_dark_images(candidate: Candidate) -> Tensor:
    """Infinite where the first pixel is below one half; so some starts are stuck, others not."""
    return (
        torch.where(candidate.images.flatten()[0] < 0.5, torch.inf, 0.0) * candidate.images.mean()
    )


@dataclass(frozen=True)
class Penalised(Attack):
    """An attack with a term that breaks it."""

    name = "penalised"

    term: Literal["never", "dark", "none"] = "never"
    iterate: Literal["least", "last"] = "least"
    good_first: bool = False

    def recipe(self, knowledge: Knowledge) -> Recipe:
        """Return one phase with the term, or a sound one before it."""
        terms = {"never": ((1.0, never),), "dark": ((1.0, at_dark_images),), "none": ()}[self.term]
        space, step, steps = knowledge.pixels(), Adam(0.001), self.iterations
        broken = Phase(space, squared_l2, terms, step, steps, iterate=self.iterate)
        sound = Phase(space, squared_l2, (), step, steps)
        return Recipe((sound, broken) if self.good_first else (broken,))


@pytest.fixture(scope="module")
def seen() -> gs.Observation:
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return gs.observe(small(), images, [0, 1])


@pytest.mark.parametrize("iterate", ["least", "last"])
def test_an_objective_that_is_never_finite_fails_every_victim(
    seen: gs.Observation, iterate: Literal["least", "last"]
) -> None:
    result = Penalised(iterations=3, iterate=iterate)(seen)
    assert result.failures == {0: REASON, 1: REASON}
    assert bool(result.images.isnan().all())
    assert bool(torch.as_tensor(result.matching_loss).isposinf().all())


def test_a_later_phase_that_breaks_leaves_the_earlier_result(seen: gs.Observation) -> None:
    result = Penalised(iterations=3, good_first=True)(seen)
    assert not result.failures
    sound = Penalised(iterations=3, term="none")(seen)
    assert torch.equal(result.images, sound.images)


def test_a_restart_that_breaks_leaves_the_others(seen: gs.Observation) -> None:
    result = Penalised(iterations=3, restarts=6, term="dark")(seen)
    assert not result.failures
    assert bool(result.images.isfinite().all())
    assert bool((result.images.flatten(1)[:, 0] >= 0.49).all())


def test_a_sound_attack_at_its_best_at_the_start_is_no_failure(seen: gs.Observation) -> None:
    @dataclass(frozen=True)
    class Diverging(Penalised):
        name = "diverging"

        def recipe(self, knowledge: Knowledge) -> Recipe:
            uphill = Phase(
                knowledge.pixels(),
                squared_l2,
                ((1e6, lambda candidate: candidate.images.square().sum()),),
                Adam(0.5),
                self.iterations,
            )
            return Recipe((uphill,))

    result = Diverging(iterations=2)(seen)
    assert not result.failures
    assert bool(result.images.isfinite().all())


def test_an_evaluation_says_the_reason(seen: gs.Observation) -> None:
    rows = gs.evaluate(small(), torch.rand(1, 3, 16, 16), [0], attacks=[Penalised(iterations=2)])
    assert rows.reason.tolist() == [REASON]
    assert rows.psnr.isna().all()

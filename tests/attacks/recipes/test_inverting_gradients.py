"""Inverting Gradients: the whole attack against a textbook loop of the paper's formulas, which returns its last iterate."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from textbook import Textbook, gradients, run, scene
from torch import Tensor

from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.recipes.inverting_gradients import InvertingGradients
from gradsiege.attacks.reconstruct import reconstruct, starting_points
from gradsiege.protocol.threat_model import ThreatModel

SEED = ("s",)
STRONG = {"total_variation": 0.1, "learning_rate": 1.0}
# The first step is so large that the start matches best.
FAR = {"total_variation": 3.0, "learning_rate": 3.0, "iterations": 2}


def textbook(attack: InvertingGradients, knowledge: Knowledge, start: Tensor) -> Textbook:
    model, seen, _ = scene()
    mean, deviation = (value.view(1, 3, 1, 1) for value in knowledge.pixel_arguments()[1:])
    observed = {name: value[0] for name, value in seen.update.items()}

    def losses(x: Tensor) -> tuple[Tensor, Tensor]:
        candidate = gradients(model, x * deviation + mean)
        product = sum((candidate[name] * value).sum() for name, value in observed.items())
        ours = sum(value.square().sum() for value in candidate.values())
        theirs = sum(value.square().sum() for value in observed.values())
        matching = 1 - product / (ours.sqrt() * theirs.sqrt())
        variation = (x[..., 1:] - x[..., :-1]).abs().mean()
        variation = variation + (x[..., 1:, :] - x[..., :-1, :]).abs().mean()
        return matching + attack.total_variation * variation, matching

    def rate(iteration: int) -> float:
        passed = iteration / attack.iterations
        return (
            attack.learning_rate
            * (0.1 if passed >= 3 / 8 else 1)
            * (0.1 if passed >= 5 / 8 else 1)
            * (0.1 if passed >= 7 / 8 else 1)
        )

    box = ((0 - mean) / deviation, (1 - mean) / deviation)

    def signal(slope: Tensor, iteration: int) -> Tensor:
        return slope.sign() if attack.signed else slope

    return run(start, losses, attack.iterations, rate, signal, box)


@pytest.mark.parametrize("settings", [{}, STRONG, {**STRONG, "signed": False}, FAR])
def test_the_attack_is_the_release_s_loop(settings: dict[str, Any]) -> None:
    attack = InvertingGradients(**{"iterations": 8, "restarts": 2, **settings})
    knowledge = Knowledge(scene()[1], ThreatModel(id="t"))
    recipe = attack.recipe(knowledge)
    starts = starting_points(recipe.phases[0], 1, 2, SEED)["x"].double()
    runs = [textbook(attack, knowledge, start) for start in starts]
    found = reconstruct(knowledge, recipe, 2, SEED)
    best = min(range(2), key=lambda restart: runs[restart].matching[-1])
    _, mean, deviation = knowledge.pixel_arguments()
    expected = runs[best].iterates[-1] * deviation.view(3, 1, 1) + mean.view(3, 1, 1)
    assert int(found.restart[0]) == best
    assert int(found.iteration[0]) == attack.iterations
    assert float(found.matching_loss[0]) == pytest.approx(runs[best].matching[-1], abs=1e-9)
    torch.testing.assert_close(found.images[0], expected.clamp(0, 1), rtol=0, atol=1e-7)


def test_the_last_iterate_is_kept_where_another_matches_better() -> None:
    """In the last of its cases the test before tells the two apart."""
    knowledge = Knowledge(scene()[1], ThreatModel(id="t"))
    attack = InvertingGradients(**FAR)
    start = starting_points(attack.recipe(knowledge).phases[0], 1, 1, SEED)["x"][0].double()
    matching = textbook(attack, knowledge, start).matching
    assert min(matching[:-1]) < matching[-1]

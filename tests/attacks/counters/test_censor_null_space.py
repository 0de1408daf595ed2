"""CENSOR's uploads of several rounds: their null space is the gradient, and the released ones spread along it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from gradsiege import defenses
from gradsiege.attacks import counters, several_rounds
from gradsiege.attacks.counters import anchors, censor
from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.attacks.counters.stacked_directions import (
    DOUBT,
    STACK,
    NullSpace,
    SpreadAlong,
    whitened,
)
from gradsiege.attacks.engine.engines import ENGINES
from gradsiege.attacks.engine.objective import Problem, Target
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.matching import plan_of
from gradsiege.attacks.recipes.auxiliary_lookup import AuxiliaryLookup
from gradsiege.attacks.recipes.inverting_gradients import InvertingGradients
from gradsiege.defenses.base import Client
from gradsiege.defenses.censor import orthogonal, released
from gradsiege.errors import ThreatModelError
from gradsiege.federated.later_rounds import later_rounds, progress_of
from gradsiege.models import build
from gradsiege.protocol.observation import Observation
from gradsiege.protocol.threat_model import ThreatModel

Scenes = Callable[..., Any]
ROUNDS = 12
# Of so many candidates one lowers the loss; with few of them the released client may send the gradient itself.
SETTINGS = {"trials": 20, "rounds": 1000}


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def planted(size: int, count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A gradient and uploads that are orthogonal to it."""
    truth = drawn(size, seed=seed)
    uploads = [orthogonal(truth, drawn(size, seed=seed + 1 + k)) for k in range(count)]
    return truth, torch.stack(uploads)


@pytest.mark.parametrize("count", [9, 10, 30])
def test_as_many_rounds_as_coordinates_leave_the_line_of_the_gradient_alone(count: int) -> None:
    """The distance is then that of a candidate's part across the gradient, exactly, whatever the uploads were."""
    truth, uploads = planted(10, count)
    rows = whitened(uploads, torch.zeros(count))
    assert len(rows) == min(count, 10)
    unit = truth / truth.norm()
    assert (rows @ unit).square().sum() < 1e-9
    other = drawn(10, seed=99)
    other /= other.norm()
    across = 1 - (other @ unit) ** 2
    expected = 10 / 2 * across / DOUBT**2
    torch.testing.assert_close((rows @ other).square().sum(), expected, rtol=1e-2, atol=0)


def test_fewer_rounds_exclude_their_own_directions_alone() -> None:
    _, uploads = planted(10, 4)
    basis = torch.linalg.qr(uploads.T).Q
    other = drawn(10, seed=99)
    other /= other.norm()
    expected = 10 / 2 * (basis.T @ other).square().sum() / DOUBT**2
    found = (whitened(uploads, torch.zeros(4)) @ other).square().sum()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=0)


def test_drifting_gradients_leave_half_a_nat_per_round() -> None:
    """t has the covariance that the distance takes, so that twice the distance is chi^2 with a degree per round."""
    size, count, repeats = 300, 12, 60
    share = torch.linspace(0, 0.4, count).double()
    total = 0.0
    for repeat in range(repeats):
        truth = drawn(size, seed=repeat)
        truth /= truth.norm()
        drifted = truth + share[:, None] * drawn(count, size, seed=1000 + repeat) / math.sqrt(size)
        uploads = torch.stack(
            [orthogonal(g, drawn(size, seed=5000 + 20 * repeat + k)) for k, g in enumerate(drifted)]
        )
        candidate = truth + DOUBT * drawn(size, seed=9000 + repeat) / math.sqrt(size)
        candidate /= candidate.norm()
        total += float((whitened(uploads, share) @ candidate).square().sum())
    assert abs(total / repeats - count / 2) < 4 * math.sqrt(count / 2 / repeats)


def test_the_law_of_released_directions_is_theirs() -> None:
    """Weighted by the law, uniform directions have the mean t^2 of released ones, and the weights' mean is one."""
    length, size, draws = 4.0, 4, 3000
    truth = torch.zeros(size).double()
    truth[0] = length
    law = SpreadAlong(1)

    def density(direction: Tensor) -> Tensor:
        seen = {"g": truth, "g" + STACK: length * direction[None]}
        count = truth.numel() + direction.numel()
        return (-law({"g": truth}, seen) * count).exp() / (length - 1)

    uniform = torch.nn.functional.normalize(drawn(draws, size), dim=1)
    weights = torch.stack([density(direction) for direction in uniform])
    spread = torch.stack(
        [released(truth, drawn(size, seed=100 + k))[0] / length for k in range(draws)]
    )
    assert abs(float(weights.mean()) - 1) < 0.05
    expected = float(spread.square().mean())
    assert expected > 2 / size
    assert abs(float((weights * uniform[:, 0].square()).mean()) - expected) < 0.05


def test_the_clients_choice_tells_a_gradient_from_its_opposite() -> None:
    truth = drawn(30)
    truth *= 6 / truth.norm()
    chosen = []
    for number in range(8):
        several = [released(truth, drawn(30, seed=100 * number + k)) for k in range(20)]
        chosen.append(max(several, key=lambda upload: float(upload @ truth)))
    seen = {"g": truth, "g" + STACK: torch.stack(chosen)}
    right, wrong = (SpreadAlong(20)({"g": sign * truth}, seen) for sign in (1, -1))
    assert right < wrong
    blind = [SpreadAlong(1)({"g": sign * truth}, seen) for sign in (1, -1)]
    torch.testing.assert_close(*blind)


def test_the_label_is_the_largest_entry_of_the_null_vector() -> None:
    for label in range(10):
        probabilities = drawn(10, seed=label).softmax(0)
        truth = probabilities - torch.nn.functional.one_hot(torch.tensor(label), 10)
        uploads = torch.stack([orthogonal(truth, drawn(10, seed=50 + k)) for k in range(8)])
        assert censor.label_of_null_vector(uploads[None]).tolist() == [label]


# ---- on clients of several rounds ----


def several(scene: Any, arm: str, count: int = ROUNDS) -> Observation:
    """The scene's clients in `count` rounds, of which each is defended."""
    seen = scene.seen
    defense = defenses.build("censor", SETTINGS, arm)
    network = build(seen.model)
    generator = torch.Generator().manual_seed(7)
    clients = [
        Client(network, seen.parameters, seen.buffers, x, y, seen.training, generator, rounds=1000)
        for x, y in zip(scene.truth, scene.labels, strict=True)
    ]
    updates = [{k: v[i] for k, v in seen.update.items()} for i in range(len(clients))]
    sent = updates, [seen.buffers] * len(clients)
    later = later_rounds(clients, defense, sent, count - 1, ("test",))
    progress = progress_of(clients[0], count - 1)
    return replace(seen, later=later, progress=progress, disclosure=defense.disclosure())


def scene_of(defended: Scenes, arm: str) -> Any:
    scene = defended("censor", SETTINGS, arm=arm).double()
    return replace(scene, seen=several(scene, arm))


def plans(scene: Any, rounds: str) -> list[AttackPlan]:
    attack = InvertingGradients(iterations=2, counter="censor.null_space", rounds=rounds)
    granted = ThreatModel(id="several", disclosure=True, rounds=ROUNDS)
    every = several_rounds.granted(scene.seen, rounds)
    return [
        plan_of(attack, Knowledge(seen, granted), granted=every)
        for seen in several_rounds.seen_by(scene.seen, rounds)
    ]


def losses(plan: AttackPlan, images: Tensor, engine: str = "loop") -> Tensor:
    seen = plan.knowledge.observation
    assert seen.labels is not None
    assert seen.training is not None
    _, mean, deviation = plan.knowledge.pixel_arguments()
    x = {"x": (images - mean[:, None, None]) / deviation[:, None, None]}
    target = Target(seen.labels, seen.update, torch.zeros_like(images), {})
    problem = Problem(build(seen.model).double(), seen, seen.training, plan.recipe.phases[0])
    return ENGINES[engine](problem)(x, target)[1]


@pytest.mark.parametrize("arm", ["faithful", "as_released"])
def test_the_truth_matches_best_and_engines_agree(arm: str, defended: Scenes) -> None:
    scene = scene_of(defended, arm)
    (first,) = plans(scene, "average")
    each = plans(scene, "joint")
    assert len(each) == ROUNDS
    for plan in (first, each[1]):
        plan = plan.with_labels(scene.labels)
        right, wrong = (losses(plan, images) for images in (scene.truth, scene.truth.flip(0)))
        assert (right < wrong).all()
        for engine in ("vmap", "factored"):
            torch.testing.assert_close(losses(plan, scene.truth, engine), right)


def test_labels_come_from_all_rounds_together(defended: Scenes) -> None:
    scene = scene_of(defended, "faithful")
    (plan,) = plans(scene, "average")
    assert torch.equal(plan.knowledge.observation.labels, scene.labels)


def test_the_drift_is_that_of_the_gradient(defended: Scenes) -> None:
    scene = scene_of(defended, "faithful")
    rounds = scene.seen.rounds()
    drift = anchors.drifts(rounds, 0)
    away = anchors.drifts(rounds, 3)
    for name, value in drift.items():
        assert value.shape == (ROUNDS,)
        assert value[0] == 0
        assert away[name][3] == 0
    assert all(value[1:].min() > 0 for name, value in drift.items() if name.endswith("weight"))


def test_the_share_of_an_anchor_is_what_it_says() -> None:
    truth, uploads = planted(6, 3)
    seen = {"g": truth, "g" + STACK: whitened(uploads, torch.zeros(3))}
    other = {"g": drawn(6, seed=99)}
    torch.testing.assert_close(NullSpace(0.25)(other, seen), NullSpace()(other, seen) / 4)


def test_a_single_round_is_refused(defended: Scenes) -> None:
    scene = defended("censor", {"trials": 2})
    attack = InvertingGradients(iterations=2)
    plan = AttackPlan(scene.knowledge, attack.recipe(scene.knowledge))
    with pytest.raises(ThreatModelError, match="rounds: average"):
        counters.apply("censor.null_space", plan)


def test_a_lookup_reads_the_stack_too(defended: Scenes) -> None:
    from gradsiege.attacks.lookup.distances import Candidates, distances

    scene = scene_of(defended, "as_released")
    attack = AuxiliaryLookup(counter="censor.null_space", rounds="average")
    granted = ThreatModel(id="several", disclosure=True, rounds=ROUNDS)
    found = attack.plans(Knowledge(scene.seen, granted))
    candidates = Candidates.labelled(scene.truth[:, 0], scene.labels[:, 0])
    table = distances(found, candidates)
    assert table.argmin(1).tolist() == [0, 1]

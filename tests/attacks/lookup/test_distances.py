"""Distances of candidates' updates: a float64 reference, one computation for all victims, and no influence of the steps' size."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from lookups import CLASSES, observed, pictures
from torch import Tensor

import gradsiege as gs
from gradsiege.attacks.counters.noise import GaussianLikelihood, LaplaceLikelihood
from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.attacks.counters.views import on_support
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.lookup import distances as module
from gradsiege.attacks.lookup.distances import Candidates, compared, distances
from gradsiege.attacks.objectives.distances import cosine
from gradsiege.attacks.recipes.auxiliary_lookup import AuxiliaryLookup
from gradsiege.errors import ThreatModelError
from gradsiege.models import ModelSpec, build
from gradsiege.protocol.local_update import LocalTraining, loss, split_state
from gradsiege.protocol.observation import Observation, stacked
from gradsiege.protocol.threat_model import ThreatModel, strip

LABELS = torch.tensor([0, 2, 1])
OTHERS = pictures(7, 1)
OTHER_LABELS = torch.arange(7) % CLASSES
SEVERAL_STEPS = LocalTraining("fedavg", 1, 1, 3, 0.2, "eval")


def plan_for(seen: Observation, distance: Any = cosine) -> AttackPlan:
    knowledge = Knowledge(strip(seen, ThreatModel(id="t")), ThreatModel(id="t"))
    return AttackPlan(knowledge, AuxiliaryLookup().recipe(knowledge)).with_distance(distance)


def exact_update(seen: Observation, image: Tensor, label: Tensor) -> dict[str, np.ndarray]:
    """The sum of the gradients of the local steps, in double precision, by plain SGD on a copy of the network."""
    assert seen.training is not None
    model = seen.model.build().double()
    state = {k: v.double() if v.is_floating_point() else v for k, v in seen.parameters.items()}
    buffers = {k: v.double() if v.is_floating_point() else v for k, v in seen.buffers.items()}
    start = state
    for _ in range(seen.training.epochs):
        points = {name: value.clone().requires_grad_() for name, value in state.items()}
        value, _ = loss(model, points, buffers, image[None].double(), label[None])
        gradients = torch.autograd.grad(value, list(points.values()))
        rate = seen.training.learning_rate
        state = {
            name: (point - rate * slope).detach()
            for (name, point), slope in zip(points.items(), gradients, strict=True)
        }
    return {
        name: ((start[name] - state[name]) / seen.training.learning_rate).numpy() for name in start
    }


def flat(update: dict[str, Any]) -> np.ndarray:
    return np.concatenate(
        [np.asarray(value, dtype=np.float64).ravel() for value in update.values()]
    )


REFERENCES = {
    "cosine": (cosine, lambda c, o: 1 - c @ o / math.sqrt((c @ c) * (o @ o))),
    "gaussian": (GaussianLikelihood(0.3), lambda c, o: np.mean((c - o) ** 2) / (2 * 0.3**2)),
    "laplace": (LaplaceLikelihood(0.3), lambda c, o: np.mean(abs(c - o)) / 0.3),
}


@pytest.mark.parametrize("training", [None, SEVERAL_STEPS], ids=["one step", "three steps"])
@pytest.mark.parametrize("name", REFERENCES)
def test_distances_are_those_of_a_reference_in_float64(
    name: str, training: LocalTraining | None
) -> None:
    distance, reference = REFERENCES[name]
    seen = observed(
        pictures(3, 0), LABELS, training=training, defense=gs.defenses.Gaussian(sigma=0.2)
    )
    images = torch.cat([pictures(3, 0), OTHERS])
    labels = torch.cat([LABELS, OTHER_LABELS])
    table = distances([plan_for(seen, distance)], Candidates.labelled(images, labels))
    assert table.shape == (3, 10)
    assert table.dtype == torch.float64
    candidates = [flat(exact_update(seen, *pair)) for pair in zip(images, labels, strict=True)]
    received = [flat({k: v[n] for k, v in seen.update.items()}) for n in range(3)]
    expected = [[reference(ours, theirs) for ours in candidates] for theirs in received]
    np.testing.assert_allclose(table.numpy(), expected, rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("name", REFERENCES)
def test_the_comparison_itself_is_in_float64(name: str) -> None:
    """Of float32 updates, whose mean distances float32 sums would round in the seventh digit."""
    distance, reference = REFERENCES[name]
    seen = observed(pictures(2, 0), LABELS[:2], defense=gs.defenses.Gaussian(sigma=50.0))
    compare = module.Round.of(plan_for(seen, distance))
    table = compare.distances(OTHERS, OTHER_LABELS)
    updates = compare.updates(OTHERS, OTHER_LABELS)
    for row in range(2):
        for column in range(7):
            ours, theirs = (
                flat({k: v[n].detach() for k, v in side.items()})
                for side, n in ((updates, column), (seen.update, row))
            )
            assert float(table[row, column]) == pytest.approx(reference(ours, theirs), rel=1e-12)


def test_products_of_all_with_all_are_the_distance_of_each_pair() -> None:
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (
        {
            "a": torch.randn(n, 4, 5, generator=generator).double(),
            "b": torch.randn(n, generator=generator).double(),
        }
        for n in (6, 3)
    )
    table = compared(cosine, ours, theirs)
    for row in range(3):
        for column in range(6):
            pair = [
                {k: v[n] for k, v in side.items()} for side, n in ((ours, column), (theirs, row))
            ]
            assert float(table[row, column]) == pytest.approx(float(cosine(*pair)), abs=1e-14)


@pytest.mark.parametrize("name", REFERENCES)
def test_pairs_that_nobody_looks_at_change_no_other_one(name: str) -> None:
    distance, _ = REFERENCES[name]
    seen = observed(pictures(3, 0), LABELS, defense=gs.defenses.Gaussian(sigma=0.1))
    candidates = Candidates.with_each(OTHERS, torch.arange(3))
    wanted = torch.rand(3, 21, generator=torch.Generator().manual_seed(1)) < 0.3
    wanted[1] = False  # a victim whose label no candidate is tried with
    plans = [plan_for(seen, distance)]
    part = distances(plans, candidates, wanted=wanted)
    torch.testing.assert_close(part[wanted], distances(plans, candidates)[wanted])
    assert part.shape == (3, 21)


def test_a_small_difference_of_likelihoods_survives_a_million_coordinates() -> None:
    """Two candidates whose means differ by one part in ten million: in float32 they are a tie or worse."""
    noise = torch.randn(1, 1_000_000, generator=torch.Generator().manual_seed(0))
    ours = {"w": torch.zeros(2, 1_000_000).double()}
    ours["w"][1, 0] = -0.1 * noise[0, 0].sign()
    table = compared(GaussianLikelihood(1.0), ours, {"w": noise.double()})
    change = (0.1**2 + 2 * 0.1 * float(noise[0, 0].abs())) / 2e6
    assert float(table[0, 1] - table[0, 0]) == pytest.approx(change, rel=1e-6)


@pytest.mark.parametrize("model", ["own", "convnet"])
def test_the_size_of_a_step_changes_nothing(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if model == "own":
        seen = observed(pictures(3, 0), LABELS)
    else:
        spec = ModelSpec("convnet", {"width": 4}, CLASSES, 1, 16)
        parameters, buffers = split_state(build(spec, torch.Generator().manual_seed(0)))
        training = LocalTraining("fedsgd", 1, 1, 1, 0.1, "eval")
        random = torch.Generator().manual_seed(1)
        updates = [
            {k: torch.randn(v.shape, generator=random) for k, v in parameters.items()}
            for _ in range(2)
        ]
        seen = Observation.of_updates(spec, parameters, buffers, stacked(updates), training)
    shape = seen.image_shape
    images = torch.rand(5, *shape, generator=torch.Generator().manual_seed(2))
    tried = Candidates.with_each(images, torch.arange(3))
    whole = distances([plan_for(seen)], tried)
    assert whole.isfinite().all()
    size = sum(value.numel() for value in seen.parameters.values()) * module.COPIES * 8
    monkeypatch.setattr(module, "BYTES", 4 * size)
    assert module.tries_at_once(seen.parameters) == 4
    torch.testing.assert_close(distances([plan_for(seen)], tried), whole, rtol=0, atol=1e-6)
    monkeypatch.setattr(module, "BYTES", 1)
    torch.testing.assert_close(distances([plan_for(seen)], tried), whole, rtol=0, atol=1e-6)


def test_a_candidate_s_update_is_computed_once_for_all_victims(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []
    update = module.local_update
    monkeypatch.setattr(module, "local_update", lambda *a, **k: calls.append(1) or update(*a, **k))
    distances(
        [plan_for(observed(pictures(3, 0), LABELS))], Candidates.labelled(OTHERS, OTHER_LABELS)
    )
    assert len(calls) == len(OTHERS)


def test_only_what_is_matched_is_compared_and_a_view_sees_both_sides() -> None:
    seen = observed(pictures(2, 0), LABELS[:2])
    plan = plan_for(seen)
    tried = Candidates.labelled(OTHERS, OTHER_LABELS)
    bias = next(name for name in seen.update if name.endswith("4.bias"))
    alone = distances([plan.matching({bias: seen.update[bias]})], tried)
    update = exact_update(seen, OTHERS[0], OTHER_LABELS[0])[bias]
    received = seen.update[bias][0].double().numpy()
    expected = 1 - update @ received / np.sqrt((update @ update) * (received @ received))
    assert float(alone[0, 0]) == pytest.approx(expected, abs=1e-6)
    half = {name: value.clone() for name, value in seen.update.items()}
    half[bias][:, :2] = 0

    def view(candidate: Any, received: Any) -> Any:
        return on_support(candidate, received, frozenset([bias]))

    masked = distances([plan.matching({bias: half[bias]}).with_view(view)], tried)
    update, received = update[2:], received[2:]
    expected = 1 - update @ received / np.sqrt((update @ update) * (received @ received))
    assert float(masked[0, 0]) == pytest.approx(expected, abs=1e-6)


def test_a_victim_without_a_finite_update_is_infinitely_far() -> None:
    seen = observed(pictures(2, 0), LABELS[:2])
    broken = {name: value.clone() for name, value in seen.update.items()}
    for value in broken.values():
        value[1] = torch.nan
    table = distances(
        [plan_for(replace(seen, update=broken))], Candidates.labelled(OTHERS, OTHER_LABELS)
    )
    assert table[0].isfinite().all()
    assert table[1].isinf().all()


def test_several_rounds_are_compared_by_their_mean() -> None:
    seen = observed(pictures(2, 0), LABELS[:2])
    other = replace(seen, update={name: 2 * value - 1 for name, value in seen.update.items()})
    tried = Candidates.labelled(OTHERS, OTHER_LABELS)
    both, first, second = (
        distances(plans, tried)
        for plans in (
            [plan_for(seen), plan_for(other)],
            [plan_for(seen)],
            [plan_for(other)],
        )
    )
    torch.testing.assert_close(both, (first + second) / 2)


def test_comparing_needs_the_protocol() -> None:
    seen = replace(observed(pictures(1, 0), LABELS[:1]), training=None)
    with pytest.raises(ThreatModelError, match="needs the local protocol"):
        distances([plan_for(seen)], Candidates.labelled(OTHERS, OTHER_LABELS))

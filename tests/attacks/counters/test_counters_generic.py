"""One attacker for any defense: planted defenses get the weights that follow on paper, whatever class they are."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from simulated_clients import with_clients
from torch import Tensor

from gradsiege.attacks import counters, recipes
from gradsiege.attacks.counters.generic import clients
from gradsiege.attacks.counters.generic.additive import Noise
from gradsiege.attacks.counters.generic.laws import Saturation
from gradsiege.attacks.counters.generic.matching import ReliableCosine, learn
from gradsiege.attacks.counters.generic.moments import COUNT, DD, collected
from gradsiege.attacks.counters.generic.reliability import edges_of, learn_part, log_ratio
from gradsiege.attacks.counters.generic.scales import KAPPA, client_scales
from gradsiege.attacks.counters.noise import coordinates
from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.attacks.objectives.distances import cosine
from gradsiege.attacks.recipes.maximum_a_posteriori import MaximumAPosteriori
from gradsiege.errors import MissingError, ThreatModelError
from gradsiege.priors.class_conditional_gaussian import ClassConditionalGaussian
from gradsiege.protocol.local_update import Tensors
from gradsiege.protocol.threat_model import ThreatModel
from gradsiege.seeds import seed_for

Scenes = Callable[..., Any]
NAME = "generic.learned_reliability"
SHAPES = {"conv.weight": (8, 4, 3, 3), "conv.bias": (8,), "head.weight": (5, 40)}


def drawn(count: int = 30, seed: int = 0) -> list[Tensors]:
    """True updates: channels and tensors of unlike scales."""
    generator = torch.Generator().manual_seed(seed)
    scales = {
        name: 10 ** torch.linspace(-1, 0, shape[0]).view(-1, *[1] * (len(shape) - 1))
        for name, shape in SHAPES.items()
    }
    return [
        {
            name: torch.randn(shape, generator=generator, dtype=torch.float64) * scales[name]
            for name, shape in SHAPES.items()
        }
        for _ in range(count)
    ]


def learnt(defend: Callable[[Tensors, int], Tensors], count: int = 30) -> ReliableCosine:
    """What is learned of a planted defense, a function of an update and the number of its client."""
    pairs = [(clean, defend(clean, number)) for number, clean in enumerate(drawn(count))]
    return learn(collected(pairs), torch.zeros((), dtype=torch.float64))


def mean_square() -> float:
    """The mean of g^2 over all coordinates of all clients."""
    flat = torch.cat([value.flatten() for clean in drawn() for value in clean.values()])
    return float(flat.square().mean())


# ---- planted defenses ----


@pytest.mark.parametrize("count", [3, 30])
def test_without_a_defense_every_weight_is_one_and_the_distance_is_the_cosine(count: int) -> None:
    match = learnt(lambda clean, _: clean, count)
    assert match.factor == pytest.approx(1, abs=1e-12)
    for law in match.laws.values():
        assert isinstance(law, dict)
        for part in law.values():
            assert torch.equal(part.tau[:, 1:], torch.ones_like(part.tau[:, 1:]))
    one, other = drawn(2, seed=1)
    assert match(one, other) == pytest.approx(float(cosine(one, other)), abs=1e-12)
    assert match(other, other).abs() < 1e-12


def test_channels_that_are_always_zeroed_are_not_matched_and_all_others_in_full() -> None:
    def zeroed(clean: Tensors, _: int) -> Tensors:
        weight = clean["conv.weight"].clone()
        weight[::2] = 0
        return {**clean, "conv.weight": weight}

    match = learnt(zeroed)
    one, other = drawn(2, seed=1)
    kept = {**one, "conv.weight": zeroed(one, 0)["conv.weight"]}
    assert match(one, zeroed(other, 0)) == pytest.approx(
        match.factor * float(cosine(kept, zeroed(other, 0))), abs=1e-9
    )
    assert match.factor < 1


def test_white_noise_on_a_tensor_weighs_it_by_the_floor_over_the_noise() -> None:
    sigma = 0.5

    def noised(clean: Tensors, number: int) -> Tensors:
        noise = torch.randn(SHAPES["head.weight"], generator=torch.Generator().manual_seed(number))
        return {**clean, "head.weight": clean["head.weight"] + sigma * noise}

    match = learnt(noised)
    law = match.laws["head.weight"]
    assert isinstance(law, Noise)
    floor = KAPPA * mean_square()
    tau = law.weight(torch.ones(1).double(), law.floor)
    # 6,000 draws tell the variance to two parts in a hundred, one standard error.
    assert float(tau[0]) == pytest.approx(floor / (sigma**2 + floor), rel=0.08)
    assert tau.unique().numel() == 1
    clean = match.laws["conv.weight"]
    assert isinstance(clean, dict)
    assert torch.equal(
        clean["received"].tau[:, 1:],
        torch.ones(8, clean["received"].tau.shape[1] - 1).double(),
    )


def test_a_scaled_client_is_scaled_back() -> None:
    def scaled(clean: Tensors, number: int) -> Tensors:
        return {name: value * (0.1 + 0.05 * number) for name, value in clean.items()}

    pairs = [(clean, scaled(clean, number)) for number, clean in enumerate(drawn())]
    expected = torch.tensor([1 / (0.1 + 0.05 * number) for number in range(30)])
    torch.testing.assert_close(client_scales(collected(pairs)), expected.double())
    match = learnt(scaled)
    one, other = drawn(2, seed=1)
    assert match(one, scaled(other, 3)) == pytest.approx(float(cosine(one, other)), abs=1e-9)


def test_signs_are_matched_by_soft_signs_and_the_truth_matches_best() -> None:
    match = learnt(lambda clean, _: {name: value.sign() for name, value in clean.items()})
    assert all(isinstance(law, Saturation) for law in match.laws.values())
    one, other = drawn(2, seed=1)
    seen = {name: value.sign() for name, value in one.items()}
    assert match(one, seen) < 0.5 * cosine(one, seen)
    assert match(one, seen) < match(other, seen) < match({k: -v for k, v in one.items()}, seen)


def test_what_was_not_sent_is_bounded_by_the_least_that_was() -> None:
    def largest(clean: Tensors, _: int) -> Tensors:
        return {
            name: value * (value.abs() >= value.abs().flatten().quantile(0.8))
            for name, value in clean.items()
        }

    match = learnt(largest)
    assert match.bounds == dict.fromkeys(SHAPES, "tensor")
    (one,) = drawn(1, seed=1)
    seen = largest(one, 0)
    lost = (seen["head.weight"] == 0).nonzero()[0]
    limit = seen["head.weight"][seen["head.weight"] != 0].abs().min()

    def with_entry(factor: float) -> float:
        moved = one["head.weight"].clone()
        moved[tuple(lost)] = factor * limit
        return float(match({**one, "head.weight": moved}, seen))

    # Beyond the bound an entry weighs as much as one that was sent; within, little.
    assert with_entry(3.0) - with_entry(1.0) > 20 * abs(with_entry(1.0) - with_entry(0.0))


def test_a_defense_that_says_nothing_leaves_the_plain_cosine() -> None:
    pairs = [(clean, {k: v * 0 for k, v in clean.items()}) for clean in drawn()]
    match = learn(collected(pairs), torch.zeros((), dtype=torch.float64))
    one, other = drawn(2, seed=1)
    assert match(one, other) == pytest.approx(float(cosine(one, other)))


# ---- the moments, once more ----


def by_hand(sums: np.ndarray[Any, Any], prior: np.ndarray[Any, Any], floor: float) -> Any:
    """(tau, eta) ``[channels, cells]`` of one part, in loops."""
    n_clients, n_channels, _ = sums.shape
    feature = np.full((n_clients, n_channels), -np.inf)
    for j in range(n_clients):
        for c in range(n_channels):
            if sums[j, c, DD] > 0:
                feature[j, c] = math.log(sums[j, c, DD] / (sums[j, c, COUNT] * prior[c]))
    known = feature[np.isfinite(feature)]
    bins = min(max(1, round(known.max() - known.min())), 12)
    edges = [known.min() + (known.max() - known.min()) * b / bins for b in range(1, bins)]
    pools: dict[int, list[Any]] = {cell: [] for cell in range(bins + 1)}
    for j in range(n_clients):
        for c in range(n_channels):
            x = feature[j, c]
            cell = 0 if x == -np.inf else 1 + sum(x >= edge for edge in edges)
            unit = np.array([1.0, prior[c], prior[c], prior[c]])
            pools[cell].append(sums[j, c] / unit)
    tau, eta = np.zeros((n_channels, bins + 1)), np.zeros((n_channels, bins + 1))
    # A thin cell takes what its nearest neighbour says; the lower one of two.
    thick = [cell for cell in range(1, bins + 1) if sum(row[0] for row in pools[cell]) >= 30]
    for cell in range(bins + 1):
        source = cell if cell == 0 else min(thick, key=lambda other: (abs(other - cell), other))
        count, gg, gd, dd = np.sum(pools[source], 0)
        correlated = dd > 0 and gd / math.sqrt(gg * dd) >= 3 / math.sqrt(count)
        beta = gd / dd if correlated else 0.0
        residual, variance = (gg - beta * gd) / count, gg / count
        variance = max(1.0, variance) if cell == 0 else variance
        for c in range(n_channels):
            noise, spread = residual * prior[c], variance * prior[c]
            tau[c, cell] = floor * max(0, 1 - noise / spread) / (noise + floor)
            eta[c, cell] = floor * beta / (noise + floor)
    return edges, tau, eta


def test_the_pooled_moments_agree_with_loops_in_numpy() -> None:
    generator = np.random.default_rng(0)
    scale = np.array([0.3, 1.0, 4.0])
    g = generator.normal(size=(40, 3, 12)) * scale[:, None]
    keep = generator.uniform(size=(40, 3, 1)) > 0.2
    d = (0.7 * g + generator.normal(size=g.shape) * generator.choice([0.1, 3.0], (40, 3, 1))) * keep
    sums = np.stack([np.full((40, 3), 12.0), (g**2).sum(2), (g * d).sum(2), (d**2).sum(2)], -1)
    prior = (g**2).mean((0, 2))
    part, _ = learn_part(torch.from_numpy(sums), torch.from_numpy(prior), floor=0.2)
    edges, tau, eta = by_hand(sums, prior, 0.2)
    assert part.edges.tolist() == pytest.approx(edges)
    np.testing.assert_allclose(part.tau, tau, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(part.eta, eta, rtol=1e-9, atol=1e-12)


def test_features_of_the_victim_fall_into_the_bins_of_the_clients() -> None:
    values = log_ratio(torch.tensor([0.0, 1.0, 100.0]), torch.ones(3), torch.ones(3))
    assert values.tolist() == pytest.approx([-math.inf, 0.0, math.log(100)])
    assert len(edges_of(values)) == round(math.log(100)) - 1


# ---- in an attack ----


def plan_of(scene: Any) -> AttackPlan:
    recipe = recipes.build("inverting_gradients", {}, "faithful", 3, scene.knowledge)
    return AttackPlan(scene.knowledge, recipe)


def test_every_disclosed_defense_is_answered_none_included(defended: Scenes) -> None:
    scene = defended("none").double()
    informed = counters.apply(NAME, with_clients(plan_of(scene)))
    distance = informed.recipe.phases[0].distance
    seen = {name: value[0] for name, value in scene.seen.update.items()}
    other = {name: value[1] for name, value in scene.seen.update.items()}
    assert float(distance(other, seen)) == pytest.approx(float(cosine(other, seen)), abs=1e-9)


def test_a_recipe_whose_prior_is_a_density_is_matched_in_nats(defended: Scenes) -> None:
    plan = with_clients(plan_of(defended("gaussian", {"sigma": 0.1})))
    prior = ClassConditionalGaussian().fit(
        torch.rand(20, 3, 16, 16, generator=torch.Generator().manual_seed(1)), torch.arange(20) % 10
    )
    knowledge = replace(plan.knowledge, priors=(*plan.knowledge.priors, prior))
    density = replace(plan, recipe=MaximumAPosteriori().recipe(knowledge))
    free, nats = (
        counters.apply(NAME, given).recipe.phases[0].distance for given in (plan, density)
    )
    assert isinstance(free, ReliableCosine)
    assert isinstance(nats, ReliableCosine)
    number = coordinates({name: value[0] for name, value in plan.update.items()})
    assert nats.nat == pytest.approx(1 / number)
    assert free.nat == pytest.approx(KAPPA / number)
    assert repr(free.laws) == repr(nats.laws)


def test_it_refuses_an_attacker_without_clients_or_images(defended: Scenes) -> None:
    plan = with_clients(plan_of(defended("gaussian")))
    with pytest.raises(MissingError, match="give `simulate`"):
        counters.apply(NAME, replace(plan, simulate=None))
    with pytest.raises(ThreatModelError, match="needs a prior of the kind auxiliary_images"):
        counters.apply(NAME, replace(plan, knowledge=replace(plan.knowledge, priors=())))


def test_clients_draw_afresh_and_never_what_a_victim_drew(
    defended: Scenes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "CLIENTS", 5)
    plan = with_clients(plan_of(defended("gaussian")))
    seeds: list[int] = []

    def recorded(images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensors:
        seeds.append(generator.initial_seed())
        assert plan.simulate is not None
        return plan.simulate(images, labels, generator)

    for averaged in (1, 2):
        seeds.clear()
        list(clients.simulated(replace(plan, simulate=recorded, averaged=averaged), NAME))
        assert len(set(seeds)) == len(seeds) == 5 * averaged
        assert not set(seeds) & {seed_for(0, "client", place) for place in range(100)}


def test_labels_are_read_by_the_rule_that_is_right_for_simulated_clients(
    defended: Scenes,
) -> None:
    """Planted: a defense that turns the head's weight round misleads row sums, not the bias."""
    scene = defended("none")
    plan = with_clients(plan_of(scene))
    weight = plan.head.weight

    def turned(update: Tensors) -> Tensors:
        return {**update, weight: -update[weight]}

    assert plan.simulate is not None
    honest = plan.simulate
    misled = replace(
        plan.matching(turned(plan.update)), simulate=lambda *given: turned(honest(*given))
    )
    blind = misled.with_labels().knowledge.observation.labels
    assert not torch.equal(blind, scene.labels)
    informed = counters.apply(NAME, misled).knowledge.observation
    assert torch.equal(informed.labels, scene.labels)
    granted = replace(
        misled.knowledge,
        observation=replace(misled.knowledge.observation, labels=scene.labels + 1),
        threat=ThreatModel(id="all", labels="given", disclosure=True),
    )
    told = counters.apply(NAME, replace(misled, knowledge=granted)).knowledge.observation
    assert torch.equal(told.labels, scene.labels + 1)

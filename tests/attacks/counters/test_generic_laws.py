"""The laws that the generic counter recognises: planted defenses get the numbers that follow on paper."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from gradsiege.attacks.counters.generic.additive import HeavyNoise, Noise, additive, heavy
from gradsiege.attacks.counters.generic.laws import Saturation
from gradsiege.attacks.counters.generic.lengths import DOUBT, shape_of
from gradsiege.attacks.counters.generic.matching import ReliableCosine, learn
from gradsiege.attacks.counters.generic.moments import collected
from gradsiege.attacks.counters.generic.scales import KAPPA, floor_of
from gradsiege.attacks.objectives.distances import cosine
from gradsiege.defenses.quantization import quantize
from gradsiege.protocol.local_update import Tensors

SHAPES = {"conv.weight": (8, 4, 3, 3), "head.weight": (5, 400)}
Defend = Callable[[Tensors, torch.Generator], Tensors]


def drawn(count: int, seed: int = 0) -> list[Tensors]:
    """True updates of unlike lengths."""
    generator = torch.Generator().manual_seed(seed)
    return [
        {
            name: (0.5 + number % 3) * torch.randn(shape, generator=generator, dtype=torch.float64)
            for name, shape in SHAPES.items()
        }
        for number in range(count)
    ]


def pairs(defend: Defend, count: int = 30) -> list[tuple[Tensors, Tensors]]:
    return [
        (clean, defend(clean, torch.Generator().manual_seed(100 + number)))
        for number, clean in enumerate(drawn(count))
    ]


def learnt(defend: Defend, unit: str = "free") -> ReliableCosine:
    return learn(collected(pairs(defend)), torch.zeros(()).double(), unit)


def affine(clean: Tensors, generator: torch.Generator) -> Tensors:
    """0.25 g and white noise of deviation 2."""
    noise = {
        name: torch.randn(value.shape, generator=generator).double()
        for name, value in clean.items()
    }
    return {name: 0.25 * value + 2 * noise[name] for name, value in clean.items()}


def rounded(clean: Tensors, generator: torch.Generator) -> Tensors:
    """QSGD with 4 levels."""
    return {name: quantize(value, 4, generator) for name, value in clean.items()}


def laplace(clean: Tensors, generator: torch.Generator) -> Tensors:
    """Laplace noise of scale 3."""
    drawn = {
        name: torch.rand(value.shape, generator=generator).double() - 0.5
        for name, value in clean.items()
    }
    return {
        name: value - 3 * drawn[name].sign() * torch.log1p(-2 * drawn[name].abs())
        for name, value in clean.items()
    }


# ---- additive noise ----


def test_gain_and_variance_of_an_affine_map_are_found() -> None:
    evidence = collected(pairs(affine))["head.weight"]
    law, energy = additive(evidence, torch.ones(30).double(), 0.01) or pytest.fail("no law")
    # 60,000 coefficients tell the gain to 2 / sqrt(sum g^2) = 0.005, one standard error.
    assert law.gain == pytest.approx(0.25, abs=0.02)
    assert float(law.variance[0]) == pytest.approx(4, rel=0.03)
    assert not law.relative
    tau = 0.01 * law.gain**2 / (float(law.variance[0]) + 0.01 * law.gain**2)
    gg = sum(float(clean["head.weight"].square().sum()) for clean in drawn(30))
    assert float(energy.ours) == pytest.approx(tau * gg, rel=1e-9)
    assert float(energy.clean) == pytest.approx(gg, rel=1e-12)


def test_rounding_is_noise_in_units_of_the_upload_whatever_arrives_as_zero() -> None:
    """By loops in numpy: the variance of each channel, in units of the upload's mean square, and the weights that follow."""
    given = pairs(rounded)
    evidence = collected(given)["head.weight"]
    law, _ = additive(evidence, torch.ones(30).double(), 0.3) or pytest.fail("no law")
    assert law.gain == 1
    assert law.relative
    left, unit = np.zeros(5), 0.0
    products = sum(float((a["head.weight"] * b["head.weight"]).sum()) for a, b in given)
    slope = products / sum(float(a["head.weight"].square().sum()) for a, _ in given)
    for clean, upload in given:
        g, d = clean["head.weight"].numpy(), upload["head.weight"].numpy()
        left += ((d - slope * g) ** 2).sum(1)
        unit += 400 * (d**2).mean()
    np.testing.assert_allclose(law.variance, left / unit, rtol=1e-9)
    clean, upload = given[3]
    d = upload["head.weight"]
    ours, theirs = law.weighted(clean["head.weight"], d)
    tau = 0.3 / (law.variance * d.square().mean() + 0.3)
    torch.testing.assert_close(ours, tau.sqrt()[:, None] * clean["head.weight"])
    torch.testing.assert_close(theirs, tau.sqrt()[:, None] * d)


@pytest.mark.parametrize("bound", [0.5, 2.0])
def test_a_threshold_is_no_rounding_though_it_leaves_zeros(bound: float) -> None:
    def largest(clean: Tensors, _: torch.Generator) -> Tensors:
        return {name: value * (value.abs() >= bound) for name, value in clean.items()}

    evidence = collected(pairs(largest))
    for tensor in evidence.values():
        assert additive(tensor, torch.ones(30).double(), 0.01) is None
    # One threshold for all tensors: the least entry that was sent bounds the others, up to what the clients happened to have.
    match = learnt(largest)
    assert set(match.bounds.values()) <= {"tensor", "update"}
    assert set(match.bounds) == set(SHAPES)


def test_laplace_noise_is_told_from_gaussian_noise_and_matched_by_its_own_law() -> None:
    evidence = collected(pairs(laplace))
    for tensor in evidence.values():
        law = heavy(tensor)
        assert law is not None
        assert law.scale == pytest.approx(3, rel=0.05)
    for tensor in collected(pairs(affine)).values():
        assert heavy(tensor) is None
    match = learnt(laplace, "nats")
    (one, other), seen = drawn(2, seed=1), laplace(drawn(1, seed=1)[0], torch.Generator())
    number = sum(math.prod(shape) for shape in SHAPES.values())

    scales = {name: law.scale for name, law in match.laws.items() if isinstance(law, HeavyNoise)}
    assert set(scales) == set(SHAPES)

    def nats(candidate: Tensors) -> float:
        return sum(
            float((candidate[name] - seen[name]).abs().sum()) / scales[name] for name in SHAPES
        )

    expected = (nats(other) - nats(one)) / number
    assert float(match(other, seen) - match(one, seen)) == pytest.approx(expected, rel=1e-9)
    # In a free unit the distance stays a cosine.
    assert all(isinstance(law, Noise) for law in learnt(laplace).laws.values())


# ---- nats ----


def test_in_nats_white_noise_weighs_as_its_likelihood_does() -> None:
    """Planted: noise of variance 25. Between candidates of the length of a mean client the match differs by <b - c, d> / V."""

    def noised(clean: Tensors, generator: torch.Generator) -> Tensors:
        return {
            name: value + 5 * torch.randn(value.shape, generator=generator).double()
            for name, value in clean.items()
        }

    match = learnt(noised, "nats")
    given = drawn(30)
    # The length of the clients' root mean square update.
    length = math.sqrt(
        sum(float(v.square().sum()) for clean in given for v in clean.values()) / len(given)
    )

    def at_length(update: Tensors) -> Tensors:
        norm = math.sqrt(sum(float(v.square().sum()) for v in update.values()))
        return {name: value * length / norm for name, value in update.items()}

    one, other = (at_length(update) for update in drawn(2, seed=1))
    seen = noised(one, torch.Generator().manual_seed(9))
    product = sum(float(((one[name] - other[name]) * seen[name]).sum()) for name in SHAPES)
    number = sum(math.prod(shape) for shape in SHAPES.values())
    assert float(match(other, seen) - match(one, seen)) * number == pytest.approx(
        product / 25, rel=0.05
    )


def test_signs_of_a_known_scale_have_the_gain_of_least_squares() -> None:
    def signs(clean: Tensors, _: torch.Generator) -> Tensors:
        return {name: 7 * value.sign() for name, value in clean.items()}

    law = learnt(signs).laws["head.weight"]
    assert isinstance(law, Saturation)
    soft, hard = [], []
    for clean in drawn(30):
        g = clean["head.weight"].numpy()
        ratio = g / np.abs(g).mean()
        soft.append(ratio / np.sqrt(1 + ratio**2))
        hard.append(7 * np.sign(g))
    r, d = np.concatenate(soft).ravel(), np.concatenate(hard).ravel()
    gain = (r @ d) / (r @ r)
    assert law.ours / law.theirs == pytest.approx(gain, rel=1e-9)
    size = np.mean([np.abs(clean["head.weight"].numpy()).mean() for clean in drawn(30)])
    noise = ((d - gain * r) ** 2).mean() * (size / gain) ** 2
    floor = floor_of(collected(pairs(signs)))
    assert law.ours == pytest.approx(math.sqrt(floor / (noise + floor)) * size, rel=1e-6)
    assert floor == pytest.approx(
        KAPPA
        * np.concatenate([v.numpy().ravel() ** 2 for c in drawn(30) for v in c.values()]).mean()
    )


# ---- lengths and angles ----


def turned(clean: Tensors, generator: torch.Generator) -> Tensors:
    """Orthogonal directions of three times the length."""
    uploads = {}
    for name, value in clean.items():
        g, u = value.flatten(), torch.randn(value.numel(), generator=generator).double()
        rest = u - (u @ g) / (g @ g) * g
        uploads[name] = (3 * g.norm() * rest / rest.norm()).view_as(value)
    return uploads


def test_a_turned_tensor_tells_its_length_and_a_right_angle() -> None:
    match = learnt(turned, "nats")
    assert set(match.shapes) == set(SHAPES)
    for shape in match.shapes.values():
        assert shape.slope == pytest.approx(1, abs=1e-9)
        assert shape.shift == pytest.approx(-math.log(3), abs=1e-9)
        assert shape.precision == pytest.approx(1 / DOUBT**2, rel=1e-6)
        assert shape.angle == pytest.approx(1, abs=1e-6)
    one, other = drawn(2, seed=1)
    seen = turned(one, torch.Generator().manual_seed(1))
    assert float(match(one, seen)) == pytest.approx(0, abs=1e-9)

    def by_hand(candidate: Tensors) -> float:
        nats, number = 0.0, 0
        for name, d in seen.items():
            c, n = candidate[name], d.numel()
            angle = float((c * d).sum() ** 2 / (c.square().sum() * d.square().sum()))
            length = math.log(float(3 * c.norm() / d.norm()))
            nats += n * angle / 2 + (length / DOUBT) ** 2 / 2
            number += n
        return nats / number

    assert float(match(other, seen)) == pytest.approx(by_hand(other), rel=1e-6)
    # In a free unit a nat counts as much as a nat of the cosine without a defense.
    free = learnt(turned)
    assert float(free(other, seen)) == pytest.approx(KAPPA * by_hand(other), rel=1e-6)


def test_an_angle_that_is_wider_than_chance_says_so_whatever_its_sign() -> None:
    """Planted: n cos^2 is 16 at the truth, and the sign is drawn; -log of the ratio of the two laws is -(1 - 1/16) n cos^2 / 2."""

    def along(clean: Tensors, generator: torch.Generator) -> Tensors:
        uploads = turned(clean, generator)
        for name, value in clean.items():
            sign = 1 if torch.rand(1, generator=generator) < 0.5 else -1
            share = 4 / math.sqrt(value.numel())
            uploads[name] = math.sqrt(1 - share**2) * uploads[name] + 3 * sign * share * value
        return uploads

    for tensor in collected(pairs(along)).values():
        shape = shape_of(tensor)
        assert shape is not None
        assert shape.angle == pytest.approx(-(1 - 1 / 16), abs=1e-6)


def test_pure_chance_tells_neither_length_nor_angle() -> None:
    def noise(clean: Tensors, generator: torch.Generator) -> Tensors:
        return {
            name: torch.randn(value.shape, generator=generator).double()
            for name, value in clean.items()
        }

    assert all(shape_of(tensor) is None for tensor in collected(pairs(noise)).values())


@pytest.mark.parametrize("defend", [affine, rounded, laplace, turned])
@pytest.mark.parametrize("unit", ["free", "nats"])
def test_every_law_can_be_mapped_over_victims_and_has_a_gradient(defend: Defend, unit: str) -> None:
    match = learnt(defend, unit)
    ones = drawn(3, seed=1)
    uploads = [defend(one, torch.Generator().manual_seed(5)) for one in ones]
    others = drawn(3, seed=2)
    stacked = [
        {name: torch.stack([update[name] for update in updates]) for name in SHAPES}
        for updates in (others, uploads)
    ]
    values = torch.vmap(match)(*stacked)
    expected = torch.stack([match(a, b) for a, b in zip(others, uploads, strict=True)])
    torch.testing.assert_close(values, expected)
    gradients = torch.func.grad(match)(others[0], uploads[0])
    assert all(value.isfinite().all() and value.any() for value in gradients.values())


@pytest.mark.parametrize(("unit", "weight"), [("free", 1.0), ("nats", 0.0)])
def test_beside_a_density_an_update_that_says_nothing_has_no_say(unit: str, weight: float) -> None:
    def replaced(clean: Tensors, generator: torch.Generator) -> Tensors:
        return {
            name: torch.randn(value.shape, generator=generator).double()
            for name, value in clean.items()
        }

    match = learnt(replaced, unit)
    assert not match.shapes
    one, other = drawn(2, seed=9)
    plain = float(cosine(one, other))
    assert plain > 0.5
    assert float(match(one, other)) == pytest.approx(weight * plain)


def test_noise_is_in_units_of_the_upload_only_where_uploads_keep_their_length() -> None:
    def shortened(clean: Tensors, generator: torch.Generator) -> Tensors:
        """QSGD, with levels fine enough to show it, of updates of which the longer two thirds were clipped."""
        length = torch.cat([value.flatten() for value in clean.values()]).norm()
        share = min(1.0, 50.0 / float(length))
        return {name: quantize(share * value, 64, generator) for name, value in clean.items()}

    laws = [law for defend in (rounded, shortened) for law in learnt(defend).laws.values()]
    assert [law.relative for law in laws if isinstance(law, Noise)] == [True, True, False, False]

"""Clipping bounds the length of an upload, keeps its direction, and leaves a short one alone."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradsiege import defenses
from gradsiege.defenses.base import Client
from gradsiege.protocol.local_update import norm


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 1000), st.floats(-3, 3), st.floats(0.01, 10))
def test_an_upload_is_no_longer_than_the_bound(
    bystander: Callable[[int], Client], seed: int, scale: float, bound: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    update = {
        "a": 10**scale * torch.randn(3, 4, generator=generator, dtype=torch.float64),
        "b": torch.randn(7, generator=generator, dtype=torch.float64),
    }
    defense = defenses.build("clipping", {"bound": bound})
    clipped = defense.transform_update(update, bystander(0))
    length = float(norm(update))
    assert float(norm(clipped)) <= bound * (1 + 1e-12)
    assert float(norm(clipped)) == pytest.approx(min(length, bound), rel=1e-12)
    for name, value in update.items():
        torch.testing.assert_close(clipped[name], value * min(1.0, bound / length))


def test_a_short_update_is_left_alone(bystander: Callable[[int], Client]) -> None:
    update = {"a": torch.tensor([0.3, -0.4]), "b": torch.zeros(2)}
    clipped = defenses.build("clipping", {"bound": 0.6}).transform_update(update, bystander(0))
    assert all(torch.equal(clipped[name], value) for name, value in update.items())


def test_an_update_of_zeros_stays_one(bystander: Callable[[int], Client]) -> None:
    clipped = defenses.build("clipping", {}).transform_update({"a": torch.zeros(3)}, bystander(0))
    assert torch.equal(clipped["a"], torch.zeros(3))


def test_a_bound_must_be_positive() -> None:
    with pytest.raises(ValueError, match=r"bound must be a number from 1e-12 to .*, not 0"):
        defenses.build("clipping", {"bound": 0.0})

"""Seeds are hashes of names: stable for ever, and different wherever a name differs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradsiege.seeds import numpy_generator, seed_for, torch_generator

# Any text at all: separators, control characters, half a surrogate pair.
TEXT = st.text(st.characters() | st.sampled_from("\x1f\x1b-\ud800\udce9"))
NAMES = st.lists(st.integers() | TEXT, min_size=1, max_size=4)


def test_a_seed_never_changes() -> None:
    assert seed_for(0, "photos", "victims") == 7829077535892131571


@pytest.mark.parametrize("name", ["\ud800", "caf\udce9", "a\x1fb", "\x1b", "\x00", "é", "🦋"])
def test_any_text_names_a_seed(name: str) -> None:
    assert 0 <= seed_for("photos", name) < 2**63
    assert seed_for(name) != seed_for(*name.split("\x1f"), "")
    assert seed_for("a\x1fb") != seed_for("a", "b")
    assert seed_for("a\x1b-b") != seed_for("a\x1fb")


@given(NAMES)
def test_seeds_fit_both_generators(names: list[object]) -> None:
    seed = seed_for(*names)
    assert 0 <= seed < 2**63
    torch.Generator().manual_seed(seed)
    np.random.default_rng(seed)


@given(NAMES, NAMES)
def test_other_names_give_other_seeds(first: list[object], second: list[object]) -> None:
    same_text = [str(name) for name in first] == [str(name) for name in second]
    assert (seed_for(*first) == seed_for(*second)) == same_text


def test_the_order_counts_and_names_never_run_together() -> None:
    seeds = {seed_for("a", "b"), seed_for("b", "a"), seed_for("ab"), seed_for("a", "b", "")}
    assert len(seeds) == 4


def test_generators_repeat_and_leave_the_global_state_alone() -> None:
    before_torch, before_numpy = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = torch.rand(3, generator=torch_generator("x", 1))
    assert torch.equal(first, torch.rand(3, generator=torch_generator("x", 1)))
    assert not torch.equal(first, torch.rand(3, generator=torch_generator("x", 2)))
    assert numpy_generator("x").random() == numpy_generator("x").random()
    assert torch.equal(before_torch, torch.get_rng_state())
    assert np.array_equal(before_numpy, np.random.get_state()[1])

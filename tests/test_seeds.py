"""Seeds are hashes of names: stable for ever, and different wherever a name differs."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gradsiege.seeds import numpy_generator, seed_for, torch_generator

NAMES = st.lists(
    st.one_of(st.integers(), st.text(st.characters(min_codepoint=32))), min_size=1, max_size=4
)


def test_a_seed_never_changes() -> None:
    assert seed_for(0, "photos", "victims") == 7829077535892131571


@settings(deadline=None)
@given(NAMES)
def test_seeds_fit_both_generators(names: list[object]) -> None:
    seed = seed_for(*names)
    assert 0 <= seed < 2**63
    torch.Generator().manual_seed(seed)
    np.random.default_rng(seed)


@settings(deadline=None)
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

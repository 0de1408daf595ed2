"""Equal accuracy: shown, refuted or unknown, on planted trainings."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gradsiege.analysis.equal_accuracy import compare, settled, together


def runs(mean: float, seeds: int, spread: float) -> pd.Series:
    noise = np.random.default_rng(seeds).normal(0, spread, seeds)
    return pd.Series(mean + noise - noise.mean())


@pytest.mark.parametrize(
    ("change", "seeds", "spread", "wanted"),
    [
        (0.0, 10, 0.02, "equal"),
        (-0.03, 12, 0.02, "equal"),
        # Better by more than the margin is not equal accuracy either: the rule has two sides.
        (0.10, 10, 0.02, "unequal"),
        (-0.10, 10, 0.02, "unequal"),
        (0.0, 9, 0.02, "unknown"),
        (0.0, 10, 0.20, "unknown"),
        (-0.06, 10, 0.03, "unknown"),
        (0.0, 1, 0.0, "unknown"),
    ],
)
def test_a_change_is_equal_only_where_it_is_shown(
    change: float, seeds: int, spread: float, wanted: str
) -> None:
    reference = pd.Series(np.linspace(0.3, 0.6, seeds))
    compared = compare(reference + runs(change, seeds, spread), reference)
    assert compared.equality == wanted
    assert compared.change.estimate == pytest.approx(change)


def test_seeds_are_paired() -> None:
    """Trainings differ by 30 points between seeds, and by nothing within one."""
    reference = pd.Series(np.linspace(0.3, 0.6, 10))
    assert compare(reference + 0.01, reference).equality == "equal"
    shuffled = pd.Series(reference.to_numpy()[::-1])
    assert compare(shuffled, reference).equality == "unknown"


def test_every_reference_must_be_equal() -> None:
    assert together(["equal", "equal"]) == "equal"
    assert together(["equal", "unequal"]) == "unequal"
    assert together(["equal", "unknown"]) == "unknown"


def test_the_accuracy_is_the_mean_of_the_last_three_rounds() -> None:
    accuracy = [0.1, 0.2, 0.5, 0.6, 0.7]
    rows = [
        {"defense": "tip", "seed": seed, "round": turn, "accuracy": value, "status": "complete"}
        for seed in (0, 1)
        for turn, value in enumerate(accuracy)
    ]
    table = settled(pd.DataFrame(rows), ["defense", "seed"])
    assert table["accuracy"].tolist() == pytest.approx([0.6, 0.6])
    short = pd.DataFrame(rows).query("round < 3")
    assert settled(short, ["defense", "seed"])["accuracy"].tolist() == pytest.approx([0.35, 0.35])
    failed = pd.DataFrame(rows).assign(status=["failed"] * 5 + ["complete"] * 5)
    assert settled(failed, ["defense", "seed"])["seed"].tolist() == [1]

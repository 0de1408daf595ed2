"""Trials of settings: the attack first, then points that fill the declared ranges; what was set is never changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated

import pytest

from gradsiege import catalogue
from gradsiege.attacks.base import Attack
from gradsiege.attacks.recipes.gi_pip import GiPip
from gradsiege.attacks.recipes.inverting_gradients import InvertingGradients
from gradsiege.attacks.recipes.label_lookup import LabelLookup
from gradsiege.errors import UsageError
from gradsiege.ranges import Tuned, Weight, tuned
from gradsiege.tuning.trials import radical_inverse, trials_of, tuned_fields

# An attack that optimises nothing has no step and no weight.
WITHOUT = {"auxiliary_lookup", "identification", "label_lookup", "spear"}


@pytest.mark.parametrize("name", sorted(catalogue.entries("attacks")))
def test_every_attack_that_optimises_declares_ranges_that_its_fields_allow(name: str) -> None:
    entry = catalogue.entries("attacks")[name]
    if entry.distribution:
        pytest.skip("belongs to another distribution")
    attack = catalogue.implementation(entry)(iterations=1)
    ends = tuned_fields(attack)
    assert bool(ends) == (name not in WITHOUT)
    # The catalogue reads the same ranges from the source, without importing it.
    read = {key: tuned(kind) for key, (kind, _) in entry.parameters.items() if tuned(kind)}
    assert read == ends
    for settings in trials_of(attack, 7):
        trial = replace(attack, **settings)  # refuses what a field does not allow
        for key, value in list(settings.items()) if settings != trials_of(attack, 1)[0] else []:
            assert ends[key].low <= value <= ends[key].high
        assert type(trial) is type(attack)


def test_every_attack_has_as_many_trials_as_every_other() -> None:
    for name, entry in catalogue.entries("attacks").items():
        if name not in WITHOUT and not entry.distribution:
            settings = trials_of(catalogue.implementation(entry)(iterations=1), 9)
            assert len({tuple(trial.items()) for trial in settings}) == 9, name


def test_a_reader_of_the_list_sees_the_ranges(
    verb: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert verb("list", "attacks") == 0
    printed = capsys.readouterr().out
    assert (
        "    learning_rate: 0.1  (a number from 1e-12 to 1,000,000; tuning chooses from 0.05 to 0.5)"
        in printed
    )


def test_the_first_trial_is_the_attack_as_it_is() -> None:
    attack = InvertingGradients()
    assert replace(attack, **trials_of(attack, 5)[0]) == attack
    assert trials_of(attack, 5)[:3] == trials_of(attack, 3), "more trials add to the same ones"


def test_what_was_set_stays() -> None:
    assert list(tuned_fields(GiPip())) == ["total_variation", "anomaly_score", "learning_rate"]
    control = GiPip(anomaly_score=0.0, learning_rate=0.3)
    assert list(tuned_fields(control)) == ["total_variation"]
    assert all(list(trial) == ["total_variation"] for trial in trials_of(control, 4))


def test_an_attack_without_ranges_has_one_trial() -> None:
    assert trials_of(LabelLookup(), 6) == [{}]


@dataclass(frozen=True)
class ThreeWeights(Attack):
    """Three fields to choose."""

    name = "three_weights"

    first: Annotated[Weight, Tuned(1e-3, 1)] = 0.0
    second: Annotated[Weight, Tuned(1e-3, 1)] = 0.0
    third: Annotated[Weight, Tuned(1e-3, 1)] = 0.0


def test_trials_fill_the_ranges_evenly() -> None:
    """Of 31 points, each third of every range and each quarter of every pair of ranges holds its share."""
    import itertools
    import math

    trials = trials_of(ThreeWeights(), 32)[1:]
    shares = [[math.log10(value) / 3 + 1 for value in trial.values()] for trial in trials]
    for axis in range(3):
        thirds = [sum(int(point[axis] * 3) == third for point in shares) for third in range(3)]
        assert min(thirds) >= 9
    for pair in itertools.combinations(range(3), 2):
        quarters = [tuple(int(point[axis] * 2) for axis in pair) for point in shares]
        assert min(quarters.count(quarter) for quarter in set(quarters)) >= 5
        assert len(set(quarters)) == 4


def test_the_radical_inverse_mirrors_digits() -> None:
    for number in range(200):
        digits = []
        rest = number
        while rest:
            rest, digit = divmod(rest, 3)
            digits.append(digit)
        expected = sum(digit * 3.0 ** -(place + 1) for place, digit in enumerate(digits))
        assert radical_inverse(number, 3) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("count", [0, 65])
def test_no_trial_or_too_many_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"from 1 to 64, not {count}"):
        trials_of(InvertingGradients(), count)


@pytest.mark.parametrize(
    ("among", "message"),
    [
        (
            ["learning_rat"],
            "'learning_rat' of inverting_gradients is unknown.*did you mean 'learning_rate'",
        ),
        (
            ["iterations"],
            "'iterations' of inverting_gradients declares no range.*known: learning_rate, total_variation",
        ),
        (
            "learning_rate",
            r"fields is 'learning_rate'; give a list of names, such as \['learning_rate'\]",
        ),
    ],
)
def test_names_that_choose_nothing_are_refused(among: list[str] | str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        trials_of(InvertingGradients(), 3, among)

"""Counts, times and names in words, for the plan and the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gradsiege.protocol.local_update import LocalTraining
from gradsiege.ranges import counted

NAMES = {
    "inverting_gradients": "Inverting Gradients",
    "modern_inverting_gradients": "Inverting Gradients, modern",
    "maximum_a_posteriori": "Maximum a posteriori",
    "gradinversion": "GradInversion",
    "deep_image_prior": "Deep image prior",
    "learned_inversion": "Learned inversion",
    "label_lookup": "Label lookup",
    "auxiliary_lookup": "Auxiliary lookup",
    "identification": "Identification",
    "control_random": "Random image",
    "control_class_mean": "Class mean",
    "control_aux_draw": "Random picture of the class",
    "control_nearest_aux": "Nearest auxiliary picture",
    "perfect_inversion": "Perfect inversion",
}


def is_or_are(number: int) -> str:
    """Return the verb of a number.

    >>> is_or_are(1), is_or_are(2)
    ('is', 'are')
    """
    return "is" if number == 1 else "are"


def some_of(number: int, whole: int, noun: str) -> str:
    """Return how many of a whole, with its noun.

    >>> some_of(2, 2, "update"), some_of(1, 3, "update")
    ('2 updates', '1 of 3 updates')
    """
    return counted(whole, noun) if number == whole else f"{number} of {counted(whole, noun)}"


def listed(parts: Sequence[str]) -> str:
    """Return items as a sentence lists them.

    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def lasting(seconds: float) -> str:
    """Return a time in the unit that fits.

    >>> lasting(4.2), lasting(140), lasting(9000)
    ('4 s', '2 min', '2.5 h')
    """
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def attacker_in_words(identifier: str) -> str:
    """Return the name of an attacker: that of the attack, and what it knows about the defense.

    >>> attacker_in_words("inverting_gradients+gaussian.likelihood")
    'Inverting Gradients, knows the defense (gaussian: likelihood)'
    """
    attack, _, counter = identifier.partition("+")
    name = NAMES.get(attack, attack.replace("_", " ").capitalize())
    if not counter:
        return name
    defense, _, idea = counter.partition(".")
    return f"{name}, knows the defense ({defense}: {idea.replace('_', ' ')})"


def training_in_words(training: LocalTraining) -> str:
    """Return what a client does.

    >>> training_in_words(LocalTraining("fedavg", 4, 2, 1, 0.1, "eval"))
    '4 pictures, 2 local steps of 2'
    """
    if training.steps == 1:
        return f"{counted(training.images, 'picture')}, 1 local step"
    return f"{counted(training.images, 'picture')}, {training.steps} local steps of {training.batch_size}"


def with_rounds(remarks: Mapping[int, Sequence[str]]) -> list[str]:
    """Return the remarks of all rounds, each once, with its rounds unless it holds for all.

    >>> with_rounds({1: ["faces", "it clips"], 2: ["faces"]})
    ['faces', 'it clips (round 1)']
    """
    rounds: dict[str, list[int]] = {}
    for number, told in remarks.items():
        for words in dict.fromkeys(told):
            rounds.setdefault(words, []).append(number)
    return [
        words
        if len(numbers) == len(remarks)
        else f"{words} (round{'s' * (len(numbers) > 1)} {listed([str(number) for number in numbers])})"
        for words, numbers in rounds.items()
    ]

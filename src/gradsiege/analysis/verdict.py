"""The verdict on a protection, from what is shown about its attackers; nothing is concluded from what was not shown.

A claim about the strongest attacker is either that some attacker does a thing, or that none does. The first is tested for each
of k attackers at alpha / k (Bonferroni), since the strongest of several looks stronger than it is. The second must be shown for all
(an intersection-union test), for each at alpha, or at alpha / k where the reference is the strongest of k.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# A loss of PSNR [dB] against no defense that protects nobody.
NEGLIGIBLE = 1.0
# Margin [dB] within which an attacker is as good as one that has no update.
FLOOR_MARGIN = 1.0
# Share of victims above chance up to which nobody is identified: the ledger's bar of "unrecognisable".
TOLERANCE = 0.1
ALPHA = 0.05
NOBODY = (
    f"no attacker that knows the defense used a method that is shown to come within {NEGLIGIBLE:g} dB of the strongest attack on "
    "no defense"
)

Verdict = Literal[
    "survives", "survives in part", "does not survive", "undecided", "untested", "baseline"
]


@dataclass(frozen=True)
class Shown:
    """What is shown at alpha 0.05 about the attackers of a defense in one place, each fact False where it is not shown.

    Attributes:
        attacked: an attack on no defense beats the floor or identifies more than chance: there is something to protect.
        informed: an attacker that knows the defense has tried, and its method is shown to lose at most `NEGLIGIBLE` against the
            strongest one without a defense or, where none recovers more than the floor there, to identify.
        no_loss: an attacker recovers at most `NEGLIGIBLE` less than the strongest attack on no defense.
        loss: every attacker recovers less than the strongest attack on no defense.
        above_floor: an attacker recovers more than the floor, the best attacker that needs no update beyond its label.
        at_floor: no attacker recovers more than `FLOOR_MARGIN` above the floor.
        identifies: an attacker identifies more victims than a guess within the class that the label gives away.
        anonymous: no attacker identifies more than chance plus `TOLERANCE`.
    """

    attacked: bool = False
    informed: bool = False
    no_loss: bool = False
    loss: bool = False
    above_floor: bool = False
    at_floor: bool = False
    identifies: bool = False
    anonymous: bool = False


def verdict(shown: Shown) -> tuple[Verdict, str]:
    """Return the verdict on a defense and what decides it or is missing.

    >>> verdict(Shown(attacked=True, informed=True, at_floor=True, anonymous=True))[0]
    'survives'
    >>> verdict(Shown(attacked=True, informed=True, at_floor=True))
    ('undecided', 'that nobody is identified is not shown')
    """
    if not shown.attacked:
        return "undecided", "no attack is shown to work here without a defense"
    if shown.no_loss:
        return "does not survive", "an attacker is as good as without a defense"
    # An excess over the floor that is shown to be negligible is none.
    above = shown.above_floor and not shown.at_floor
    if above or shown.identifies:
        leak = " and ".join(
            words
            for words, seen in (
                ("recovers more than the floor", above),
                ("identifies more than chance", shown.identifies),
            )
            if seen
        )
        if shown.loss and not shown.informed:
            return "untested", f"an attacker {leak}, and {NOBODY}"
        if shown.loss:
            return "survives in part", f"an attacker {leak}, and all lose against no defense"
        return "undecided", f"an attacker {leak}; how much all lose against no defense is not shown"
    if not shown.informed:
        return "untested", NOBODY
    missing = [
        words
        for words, seen in (
            (f"that nobody recovers more than {FLOOR_MARGIN:g} dB above the floor", shown.at_floor),
            ("that nobody is identified", shown.anonymous),
        )
        if not seen
    ]
    if missing:
        return "undecided", f"{' and '.join(missing)} is not shown"
    return "survives", "no attacker recovers more than the floor or identifies more than chance"

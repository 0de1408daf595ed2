"""Every way in which a verdict can come out, on the facts alone."""

from __future__ import annotations

from itertools import product

import pytest

from gradsiege.analysis.verdict import Shown, verdict

FULL = Shown(attacked=True, informed=True, at_floor=True, anonymous=True)


def changed(**facts: bool) -> Shown:
    return Shown(**{**FULL.__dict__, **facts})


@pytest.mark.parametrize(
    ("shown", "wanted", "because"),
    [
        (FULL, "survives", "no attacker recovers more than the floor"),
        (changed(anonymous=False), "undecided", "nobody is identified"),
        (changed(at_floor=False), "undecided", "above the floor"),
        (changed(informed=False), "untested", "no attacker that knows the defense used"),
        (changed(identifies=True, loss=True), "survives in part", "identifies more than chance"),
        (changed(above_floor=True, at_floor=False, loss=True), "survives in part", "recovers more"),
        (changed(above_floor=True, at_floor=False), "undecided", "how much all lose"),
        # More than the floor, and shown to be at most a margin more.
        (changed(above_floor=True), "survives", "no attacker recovers more"),
        # A loss that is shown, and is shown to be negligible.
        (changed(no_loss=True, loss=True, above_floor=True), "does not survive", "as good as"),
        # A loss of blind attackers shows nothing: an attacker that knows the defense may lose nothing.
        (
            changed(informed=False, above_floor=True, at_floor=False, loss=True),
            "untested",
            "no attacker that knows the defense used",
        ),
        (changed(informed=False, no_loss=True), "does not survive", "as good as"),
        (changed(attacked=False), "undecided", "no attack is shown to work here"),
        (Shown(attacked=True, informed=True), "undecided", "above the floor"),
    ],
)
def test_each_verdict_and_its_reason(shown: Shown, wanted: str, because: str) -> None:
    judged, why = verdict(shown)
    assert judged == wanted
    assert because in why


def test_nothing_survives_even_in_part_without_an_informed_attacker() -> None:
    names = list(Shown().__dict__)
    for flags in product([False, True], repeat=len(names)):
        facts = dict(zip(names, flags, strict=True)) | {"informed": False}
        assert not verdict(Shown(**facts))[0].startswith("survives"), facts


def test_nothing_survives_by_what_was_not_shown() -> None:
    """Of all combinations of facts only those survive that hold every fact that survival needs, and no leak."""
    names = list(Shown().__dict__)
    for flags in product([False, True], repeat=len(names)):
        facts = dict(zip(names, flags, strict=True))
        needed = all(facts[name] for name in ("attacked", "informed", "at_floor", "anonymous"))
        leaks = any(facts[name] for name in ("no_loss", "identifies"))
        assert (verdict(Shown(**facts))[0] == "survives") == (needed and not leaks), facts

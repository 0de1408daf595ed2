"""The gallery: private pictures beside what the strongest attacker of every situation makes of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gradsiege.auditing.findings import Finding
from gradsiege.auditing.page.images import address
from gradsiege.auditing.page.sentences import number, situation_in_words
from gradsiege.auditing.result import Result
from gradsiege.auditing.words import attacker_in_words
from gradsiege.ranges import counted

MOST = 12


@dataclass(frozen=True)
class Tile:
    """One picture: its address (empty if there is none), alternative text, and what stands below it."""

    source: str
    alt: str
    words: str


@dataclass(frozen=True)
class Strip:
    """The pictures of one situation: the private one and its reconstruction, pair by pair."""

    title: str
    words: str
    pairs: tuple[tuple[Tile, ...], ...]


def gallery(audit: Result) -> list[Strip]:
    """Return a strip per situation with a reconstruction: the first `MOST` pictures, which were chosen class after class."""
    several = len({one.situation.stage for one in audit.findings}) > 1
    return [
        _strip(audit, one, situation_in_words(one, several))
        for one in audit.findings
        if math.isfinite(one.psnr.estimate)
    ]


def _strip(audit: Result, finding: Finding, title: str) -> Strip:
    attacker, threat = finding.attacker
    name = attacker_in_words(attacker)
    situation, table = finding.situation, audit.scores.table
    truths = audit.truths[situation.key]
    guesses = audit.scores.pictures[situation.key, threat, attacker]
    by_attacker = (table["threat_model"] == threat) & (table["attack"] == attacker)
    rows = table[by_attacker & situation.rows_of(table, situation.name)]
    psnr = rows.set_index("picture")["psnr"]
    pairs = []
    for place in range(min(MOST, len(truths))):
        reached = f"{number(float(psnr[place]))} dB"
        shown, told = address(guesses[place]), audit.name_of(place)
        pairs.append(
            (
                Tile(address(truths[place]), f"Private picture: {told}", told),
                Tile(
                    shown,
                    f"Reconstruction of {told}: {reached}",
                    reached if shown else "failed",
                ),
            )
        )
    words = f"Left the private picture, right the reconstruction by {name}. The first {len(pairs)} of {counted(len(truths), 'picture')}."
    return Strip(title, words, tuple(pairs))

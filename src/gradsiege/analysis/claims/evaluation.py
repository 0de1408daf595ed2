"""The verdicts on all claims: one per claim, data set, model and arm that a study measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gradsiege.analysis.claims.claim import Claim
from gradsiege.analysis.claims.comparisons import Part, Tables, comparisons_of, listed, parts_of
from gradsiege.analysis.claims.selection import NotRunError, copied, is_stand_in
from gradsiege.analysis.claims.verdicts import Verdict, together


@dataclass(frozen=True)
class Outcome:
    """The verdict on a claim in one place: data set, model and arm (all empty where it was not run at all).

    Show `said` instead of `verdict`: it marks data that stand in for the claim's own, and numbers that others report.
    """

    claim: Claim
    dataset: str
    model: str
    arm: str
    verdict: Verdict
    why: str
    parts: tuple[Part, ...] = ()
    departures: tuple[str, ...] = ()
    stand_in: bool = False
    copies: bool = False

    @property
    def shown_verdict(self) -> str:
        """The verdict as it is shown everywhere."""
        marks = ["stand-in data"] * self.stand_in + ["copies of its data"] * self.copies
        marks += ["third-party number"] * (self.claim.origin == "third_party")
        return f"{self.verdict} ({', '.join(marks)})" if marks else self.verdict


def evaluate(claims: Iterable[Claim], tables: Tables) -> list[Outcome]:
    """Judge every claim; one that no cell tests is `not run`, with the reason."""
    return [outcome for claim in claims for outcome in _outcomes(claim, tables)]


def _outcomes(claim: Claim, tables: Tables) -> list[Outcome]:
    wanted, parts = comparisons_of(claim), list[Part]()
    reasons: dict[int, str] = {}
    for number, comparison in enumerate(wanted):
        try:
            parts += parts_of(claim, comparison, tables)
        except NotRunError as reason:
            reasons[number] = str(reason)
    if not parts:
        return [Outcome(claim, "", "", "", "not run", listed(reasons.values()))]
    outcomes = []
    for place in dict.fromkeys(part.place for part in parts):
        here = [part for part in parts if part.place == place]
        for arm in dict.fromkeys(part.arm for part in here if part.arm) or [""]:
            tested = [part for part in here if part.arm in ("", arm)]
            missing = [
                reasons.get(number, "it was not run in this place")
                for number, comparison in enumerate(wanted)
                if not any(part.comparison is comparison for part in tested)
            ]
            outcomes.append(_outcome(claim, (*place, arm), tested, missing, tables))
    return outcomes


def _outcome(
    claim: Claim, place: tuple[str, str, str], parts: list[Part], missing: list[str], tables: Tables
) -> Outcome:
    unrun: list[Verdict] = ["not run"] * len(missing[:1])
    verdict = together([part.verdict for part in parts] + unrun)
    why = listed(part.why for part in parts if part.verdict == verdict)
    if verdict == "not run":
        count = len(parts) + len(missing)
        why = f"{len(missing)} of {count} comparisons are missing: {listed(missing)}"
    departures = dict.fromkeys(text for part in parts for text in part.departures.values())
    stand_in = is_stand_in(tables.study, place[0], claim.needs)
    original = "" if stand_in else copied(tables.study, place[0])
    if original:
        departures[f"copies of {original} in other bytes"] = None
    return Outcome(
        claim, *place, verdict, why, tuple(parts), tuple(departures), stand_in, bool(original)
    )

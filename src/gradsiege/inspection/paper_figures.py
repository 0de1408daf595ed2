"""The papers' tables and figures: which of their data and weights are real here, what stands in, and what a person would supply."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gradsiege import catalogue
from gradsiege.analysis.claims.claim import Claim
from gradsiege.errors import GradSiegeError
from gradsiege.inspection import at_hand
from gradsiege.inspection.at_hand import Rows
from gradsiege.inspection.stand_ins import Source, copies, is_there, sources
from gradsiege.report.wording import joined
from gradsiege.study import Study, ledger

NOT_OBTAINED = "numbers not obtained"
# Behind the name of a table or figure, a claim's `place` has the rows, or how they were read.
DETAIL = re.compile(r";| \(|, (?:rows?|round|read|digitised|in words)\b")
TRUNKS = {"lpips": "lpips alex", "lpips_vgg": "lpips vgg"}


@dataclass(frozen=True)
class Shelf:
    """Study files, and the ways to get what is absent, by name; `data` and `weights` are empty for what is at hand."""

    known: Sequence[Source]
    data: dict[str, Rows] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)

    def look(self, claims: Iterable[Claim]) -> None:
        """Look for the data, their copies, and the weights of claims, each once."""
        for claim in claims:
            wanted = {name: (name, dict[str, Any]()) for name in _data_of(claim)}
            for name, item in copies(_data_of(claim), self.known).items():
                wanted[name] = (item.name, item.parameters)
            for name, source in wanted.items():
                if name not in self.data:
                    self.data[name] = _way(name, *source)
            for name in (name for names in _weights_of(claim) for name in names):
                if name not in self.weights:
                    self.weights[name] = _weights_problem(name)

    def to_supply(self) -> Rows:
        """Return how to get all that is absent, each once."""
        weights = [(_title(name), text) for name, text in self.weights.items() if text]
        return [row for way in self.data.values() for row in way] + weights


def rows(study: Study, claims: Path = ledger.FILE) -> Rows:
    """Return a block of rows per paper and published table or figure, and then how to get all that is absent.

    Args:
        study: looked at for stand-ins, besides the study files in the folder of the ledger.
        claims: the ledger of claims.
    """
    try:
        figures = by_figure(ledger.load(claims))
    except GradSiegeError as error:
        return [(str(claims), str(error))]
    known, unread = sources(study, claims.parent, claims)
    shelf, shown = Shelf(known), Rows()
    for (paper, place, source), of_figure in figures.items():
        shelf.look(of_figure)
        obtained = "" if any(map(_valued, of_figure)) else f", {NOT_OBTAINED}"
        shown.append((f"{paper}, {place}", f"{_count(of_figure)}{obtained}; {source}"))
        shown += [("", text) for text in (*_data(of_figure, shelf), *_weights(of_figure, shelf))]
    return shown + unread + shelf.to_supply()


def by_figure(claims: Iterable[Claim]) -> dict[tuple[str, str, str], list[Claim]]:
    """Return the claims by paper, place and source, where a source publishes numbers; results of our arithmetic are left out."""
    figures: dict[tuple[str, str, str], list[Claim]] = {}
    for claim in claims:
        if claim.origin != "derived":
            key = (claim.paper, DETAIL.split(claim.place)[0], claim.source)
            figures.setdefault(key, []).append(claim)
    return {
        key: of_figure
        for key, of_figure in figures.items()
        if any(_valued(claim) or NOT_OBTAINED in claim.place for claim in of_figure)
    }


def _valued(claim: Claim) -> bool:
    return bool(claim.value or claim.points)


def _count(claims: Sequence[Claim]) -> str:
    return f"{len(claims)} claim{'s' * (len(claims) != 1)}"


def _title(name: str) -> str:
    return f"to supply: {name}"


def _way(shown: str, name: str, parameters: dict[str, Any]) -> Rows:
    """Return what of a data set is absent, how to get it, and its terms; nothing if it is there."""
    problem = at_hand.problem(name, parameters)
    return [(_title(shown), problem), *at_hand.remedy(name, parameters)] if problem else []


def _weights_problem(name: str) -> str:
    if name not in TRUNKS.values():
        return at_hand.generator_problem(name)
    state = at_hand.trunk(name.removeprefix("lpips "))
    return "" if state.startswith("present") else state


def _names(item: dict[str, Any]) -> tuple[str, ...]:
    """Return the accepted names of a selected item, any of which will do."""
    given = item.get("name", [])
    return tuple(given) if isinstance(given, list) else (given,)


def _data_of(claim: Claim) -> tuple[str, ...]:
    return _names(claim.needs.dataset or claim.cells.dataset)


def _weights_of(claim: Claim) -> list[tuple[str, ...]]:
    """Return the choices of published weights that a claim needs: of a prior, unless a trained one will do, and of LPIPS."""
    priors, entries = _names(claim.needs.prior), catalogue.entries("priors")
    published = all("weights" in entries[name].parameters for name in priors)
    choices = [priors] if priors and published else []
    return choices + [(TRUNKS[metric],) for metric in claim.tolerance if metric in TRUNKS]


def _data(claims: Sequence[Claim], shelf: Shelf) -> Iterable[str]:
    """Yield a line per choice of data sets that claims of a figure accept."""
    for names in dict.fromkeys(map(_data_of, claims)):
        here = [claim for claim in claims if _data_of(claim) == names]
        choice, count = " or ".join(names), f" ({_count(here)})" if len(here) < len(claims) else ""
        real = [name for name in names if not shelf.data[name]]
        if real:
            yield f"{choice}{count}: real: {joined(real)}"
            continue
        found = copies(names, shelf.known)
        state = [f"stand-in: the copies {name}" for name in found if is_there(found[name])]
        state += _stand_ins(here, shelf.known)
        others = [f"the copies {name}" for name in found if not is_there(found[name])]
        supplied = f"to supply: {', or '.join([choice, *others])}"
        yield f"{choice}{count}: {'; '.join([*(state or ['nothing stands in']), supplied])}"


def _stand_ins(claims: Sequence[Claim], known: Sequence[Source]) -> list[str]:
    by_claim = [[name for source in known for name in source.data(claim)] for claim in claims]
    found = dict.fromkeys(name for names in by_claim for name in names)
    number = sum(bool(names) for names in by_claim)
    share = f", for {number} of {len(claims)}" if number < len(claims) else ""
    return [f"stand-in: {joined(found)}{share}"] if found else []


def _weights(claims: Sequence[Claim], shelf: Shelf) -> Iterable[str]:
    """Yield a line per choice of published weights that claims of a figure need."""
    for names in dict.fromkeys(names for claim in claims for names in _weights_of(claim)):
        needing = [claim for claim in claims if names in _weights_of(claim)]
        choice, real = " or ".join(names), [name for name in names if not shelf.weights[name]]
        others = dict.fromkeys(
            prior
            for source in shelf.known
            for claim in needing
            for prior in source.priors(claim, names)
        )
        state = f"real: {joined(real)}" if real else f"to supply: {choice}"
        if others and not real:
            state = f"stand-in: {joined(others)}; {state}"
        yield f"weights of {choice}: {state}"

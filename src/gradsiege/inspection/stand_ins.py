"""Data and priors of the study files that stand in for those that a published claim was measured with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gradsiege import catalogue
from gradsiege.analysis.claims.claim import Claim, Selector, table_of
from gradsiege.analysis.claims.comparisons import comparisons_of
from gradsiege.analysis.claims.selection import (
    Ids,
    NotRunError,
    choose,
    copied,
    is_stand_in,
)
from gradsiege.datasets.sources import supply
from gradsiege.errors import GradSiegeError
from gradsiege.inspection.at_hand import Rows
from gradsiege.study import Study, load
from gradsiege.study.sections import Dataset


@dataclass(frozen=True)
class Source:
    """A study file that may hold stand-ins."""

    study: Study

    @cached_property
    def plain(self) -> dict[str, Any]:
        """The resolved study file as plain data."""
        return self.study.model_dump(mode="json")

    def chosen(self, claim: Claim) -> Iterator[Ids]:
        """Yield, for each comparison of a claim that the study makes, the ids of its cells by field."""
        for comparison in comparisons_of(claim):
            table, cells = table_of(comparison.metric), comparison.cells
            try:
                chosen = choose(self.plain, table, cells, claim.needs)
                if comparison.against is not None:
                    choose(self.plain, table, cells.changed(comparison.against), Selector())
            except NotRunError:
                continue
            yield chosen

    def data(self, claim: Claim) -> list[str]:
        """Return the ids of the data sets at hand that stand in for a claim's own; only a claim that transfers has any."""
        found = (name for chosen in self.chosen(claim) for name in chosen["dataset"])
        return [
            name
            for name in dict.fromkeys(found if claim.transfers else ())
            if is_stand_in(self.plain, name, claim.needs)
            and is_there(self.study.one("datasets", name))
        ]

    def priors(self, claim: Claim, names: Sequence[str]) -> list[str]:
        """Return the priors that the claim's attacks take in the study, where an attack would accept a named one, too."""
        found = dict[str, None]()
        for identifier in (i for chosen in self.chosen(claim) for i in chosen.get("attack", ())):
            attack = self.study.one("attacks", identifier)
            accepted = catalogue.entries("attacks")[attack.name].requires
            if any(f"prior:{name}" in accepted for name in names):
                used = [self.study.one("priors", prior).name for prior in attack.priors]
                found |= dict.fromkeys(name for name in used if f"prior:{name}" in accepted)
        return [name for name in found if name not in names]


def sources(study: Study, folder: Path, ledger: Path) -> tuple[list[Source], Rows]:
    """Return the study and those below a folder, and a row for every study file there that cannot be read."""
    found, unread = {study.study: Source(study)}, Rows()
    for path in sorted({*folder.rglob("*.yaml")} - {ledger}):
        try:
            read = load(path)
        except GradSiegeError as error:
            unread.append((str(path), f"not searched for stand-ins: {error}"))
        else:
            found.setdefault(read.study, Source(read))
    return [*found.values()], unread


def copies(names: Sequence[str], known: Sequence[Source]) -> dict[str, Dataset]:
    """Return the data sets of study files, by id, that hold one of the named ones in other bytes."""
    return {
        item.id: item
        for source in known
        for item in source.study.datasets
        if copied(source.plain, item.id) in names
    }


def is_there(item: Dataset) -> bool:
    """Whether the files of a data set of a study file are at hand."""
    try:
        return not supply.missing(item.name, item.parameters)
    except GradSiegeError:  # of another distribution, which cannot be imported
        return False

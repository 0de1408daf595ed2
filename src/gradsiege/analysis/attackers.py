"""The attackers of a defense, sorted by what they know, and equal portfolios over the defenses of a table."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import pandas as pd

from gradsiege.analysis.pairs import CELL, PLACE
from gradsiege.analysis.recipes import Recipe, spends
from gradsiege.analysis.worst_case import IDENTIFYING, worst_case

BEST_INFORMED, GENERIC = "best informed counter", "generic"
_PLACE = ["dataset", "model", *PLACE]
# What needs no update beyond its label, by name of attack or control: the class mean of the auxiliary images, a sample of the
# prior, and the auxiliary image that fits the update best. The nearest auxiliary image reads the truth and is not a floor.
FLOORS = {"label_lookup", "auxiliary_lookup", "control_class_mean", "control_aux_draw"}


@dataclass(frozen=True)
class Kinds:
    """What the ids of a study stand for.

    Attributes:
        bare: undefended defenses.
        aware: threat models that disclose the defense.
        floors: attacks and controls that need no update beyond its label. A control that reads the truth is not one.
        counters: attacks with a counter written for the defense; generic: attacks with the counter for any defense.
        recipes: by attack, its method without a counter, by which an informed attack finds its like on no defense; grants: by threat
            model, what it knows beside the defense. Attacks and threat models that do not stand here are of one kind.
    """

    bare: Collection[str]
    aware: Collection[str]
    floors: Collection[str] = ()
    counters: Collection[str] = ()
    generic: Collection[str] = ()
    recipes: Mapping[str, Recipe] = field(default_factory=dict)
    grants: Mapping[str, str] = field(default_factory=dict)

    def alike(self, informed: pd.Series, like: pd.Series) -> bool:
        """Return whether an informed attacker is one of no defense with a counter: the same method, knowing the same beside the defense.

        It must have all priors and about the iterations of its like (`recipes.LEAST_SHARE`), or the one says nothing of the other.
        """
        known, other = (self.grants.get(str(row["threat_model"]), "") for row in (informed, like))
        mine, its = (self.recipes.get(str(row["attack"]), Recipe()) for row in (informed, like))
        return known == other and mine.covers(its) and spends(informed, like)

    def entry(self, attack: str) -> str:
        """Return the entry of a portfolio that an attack fills: every counter written for a defense fills the same one."""
        if attack in self.generic:
            return GENERIC
        return BEST_INFORMED if attack in self.counters else attack


@dataclass(frozen=True)
class Roles:
    """The attackers of one defense setting, at the training stage and protocol of its worst case: rows of the summary.

    Attributes:
        worst: highest PSNR of all attackers; identified: highest identification rate where the worst case stands, of those that
            only identify too.
        undefended: strongest attack on no defense there, floors left out; floor: the strongest floor; control: the
            strongest control, whatever it reads; None if there is none.
        blind: strongest attacker that does not know the defense, floors left out.
        informed: all that do, strongest first; counter, generic: the strongest with a counter of either sort.
        rivals: all attackers that reconstruct, floors left out; bare_rivals: the same on no defense.
        floors, bare_floors: all floors here, and on no defense.
        identifiers, bare_identifiers: all attackers whose identification counts, here and on no defense.
    """

    worst: pd.Series
    identified: pd.Series
    undefended: pd.Series | None
    floor: pd.Series | None
    control: pd.Series | None
    blind: pd.Series | None
    counter: pd.Series | None
    generic: pd.Series | None
    informed: list[pd.Series]
    rivals: list[pd.Series]
    bare_rivals: list[pd.Series]
    floors: list[pd.Series]
    bare_floors: list[pd.Series]
    identifiers: list[pd.Series]
    bare_identifiers: list[pd.Series]


def roles(summary: pd.DataFrame, kinds: Kinds) -> Iterator[Roles]:
    """Yield the roles of every setting with a finished attack.

    summary: table of `analysis.summary`.
    """
    named = worst_case(summary, metric="identified", by=CELL).set_index(list(CELL), drop=False)
    for _, worst in worst_case(summary).iterrows():
        if pd.isna(worst["psnr"]):
            continue
        here = summary[(summary[CELL] == worst[CELL].tolist()).all(axis=1)]
        there = summary[(summary[_PLACE] == worst[_PLACE].tolist()).all(axis=1)]
        bare = there[there["defense"].isin(kinds.bare)]
        rivals, bare_rivals = _rivals(here, kinds), _rivals(bare, kinds)
        informed = [row for row in rivals if row["threat_model"] in kinds.aware]
        blind = [row for row in rivals if row["threat_model"] not in kinds.aware]
        generic = [row for row in informed if row["attack"] in kinds.generic]
        others = [row for row in informed if row["attack"] not in kinds.generic]
        floors = _floors(here, kinds)
        controls = _ranked(here[here["kind"] == "control"])
        yield Roles(
            worst=worst,
            identified=named.loc[tuple(worst[name] for name in CELL)],
            undefended=_first(bare_rivals),
            floor=_first(floors),
            control=_first(controls),
            blind=_first(blind),
            counter=_first(others),
            generic=_first(generic),
            informed=informed,
            rivals=rivals,
            bare_rivals=bare_rivals,
            floors=floors,
            bare_floors=_floors(bare, kinds),
            identifiers=_identifiers(here, kinds),
            bare_identifiers=_identifiers(bare, kinds),
        )


def _ranked(table: pd.DataFrame) -> list[pd.Series]:
    """Return the rows that have a PSNR, the strongest first."""
    known = table[table["psnr"].notna()].astype({"psnr": "float64"})
    return [row for _, row in known.sort_values("psnr", ascending=False, kind="stable").iterrows()]


def _first(rows: list[pd.Series]) -> pd.Series | None:
    return rows[0] if rows else None


def _rivals(table: pd.DataFrame, kinds: Kinds) -> list[pd.Series]:
    apart = table["attack"].isin(kinds.floors)
    return _ranked(table[(table["kind"] == "attack") & ~apart])


def _floors(table: pd.DataFrame, kinds: Kinds) -> list[pd.Series]:
    return _ranked(
        table[table["attack"].isin(kinds.floors) & table["kind"].isin(["attack", "control"])]
    )


def _identifiers(table: pd.DataFrame, kinds: Kinds) -> list[pd.Series]:
    counted = table["kind"].isin(IDENTIFYING) & ~table["attack"].isin(kinds.floors)
    return [row for _, row in table[counted].iterrows()]


def portfolio(summary: pd.DataFrame, kinds: Kinds) -> pd.Series[bool]:
    """Return, for every row of the summary, whether it belongs to the equal portfolio of its place.

    Its place is data set, model, training stage and protocol. The portfolio holds the entries that every defense of the
    place has met; defenses without an informed attacker do not count where others have one, since they are untested.
    """
    attacks = summary[summary["kind"] == "attack"]
    shared = pd.Series(False, index=summary.index)
    for _, part in attacks.groupby(_PLACE, sort=False, observed=True):
        entries = part["attack"].map(kinds.entry)
        knowing = part["threat_model"].isin(kinds.aware)
        counted = part[~part["defense"].isin(kinds.bare)]
        tested = set(counted.loc[knowing.reindex(counted.index), "defense"])
        met = [
            set(entries[group.index])
            for defense, group in counted.groupby("defense", sort=False)
            if defense in tested or not tested
        ]
        common = set.intersection(*met) if met else set(entries)
        shared[part.index] = entries.isin(common)
    return shared

"""Defenses compared at equal accuracy: their leakage to each attacker, paired with no defense, and a verdict on the protection."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from gradsiege.analysis.attackers import Kinds, Roles, portfolio, roles
from gradsiege.analysis.pairs import CELL, IDS, METHOD, Pairs
from gradsiege.analysis.verdict import (
    ALPHA,
    FLOOR_MARGIN,
    NEGLIGIBLE,
    TOLERANCE,
    Shown,
    verdict,
)
from gradsiege.analysis.worst_case import SETTING

ROLES = (
    "no_defense", "floor", "non_adaptive", "generic", "best_informed", "adaptive", "worst_case", "worst_identified",
)  # fmt: skip
MEASURED = [f"{metric}{end}" for metric in ("psnr", "identified") for end in ("", "_low", "_high")]
COUNTED = ["victims", "scenes", "rows", "failed", "psnr_capped"]
__all__ = ["CELL", "IDS", "METHOD", "ROLES", "headline", "shown"]


def shown(who: Roles, pairs: Pairs, kinds: Kinds) -> Shown:
    """Test what `verdict.Shown` holds; see `analysis.verdict` for the levels."""
    rivals, bare = who.rivals, who.bare_rivals
    level, lowest = ALPHA / max(1, len(rivals)), ALPHA / max(1, len(who.floors))
    return Shown(
        attacked=_beats_floors(bare, who.bare_floors, pairs)
        or _identifies(who.bare_identifiers, pairs),
        informed=_able(who, pairs, kinds),
        no_loss=any(pairs.above(row, who.undefended, -NEGLIGIBLE, level) for row in rivals),
        loss=bool(rivals)
        and all(pairs.below(row, who.undefended, 0.0, ALPHA / max(1, len(bare))) for row in rivals),
        above_floor=_beats_floors(rivals, who.floors, pairs),
        at_floor=bool(who.floors)
        and all(pairs.below(row, who.floor, FLOOR_MARGIN, lowest) for row in rivals),
        identifies=_identifies(who.identifiers, pairs),
        anonymous=bool(who.identifiers)
        and all(
            pairs.identification(row, ALPHA)[1] <= row["chance"] + TOLERANCE
            for row in who.identifiers
        ),
    )


def _beats_floors(rivals: list[pd.Series], floors: list[pd.Series], pairs: Pairs) -> bool:
    """Whether one rival is shown to recover more than every floor; nothing is shown without a floor."""
    level = ALPHA / max(1, len(rivals))
    return bool(floors) and any(
        all(pairs.above(row, floor, 0.0, level) for floor in floors) for row in rivals
    )


def _able(who: Roles, pairs: Pairs, kinds: Kinds) -> bool:
    """Whether an informed attacker tried whose method is shown to be about as good as any without a defense.

    A weaker method loses against the strongest one whatever the defense does, so that its loss says nothing of this one. Where no
    method recovers more than the floor without a defense, it must identify there, and attackers that only identify count, too.
    """
    if not _beats_floors(who.bare_rivals, who.bare_floors, pairs):
        knowing = [row for row in who.identifiers if row["threat_model"] in kinds.aware]
        return _identifies(_likes(knowing, who.bare_identifiers, kinds), pairs)
    methods = _likes(who.informed, who.bare_rivals, kinds)
    level = ALPHA / max(1, len(methods))
    return any(pairs.above(row, who.undefended, -NEGLIGIBLE, level) for row in methods)


def _likes(informed: list[pd.Series], bare: list[pd.Series], kinds: Kinds) -> list[pd.Series]:
    """Return the attackers of no defense that an informed one is, but for its counter."""
    return [like for like in bare if any(kinds.alike(row, like) for row in informed)]


def _identifies(rows: list[pd.Series], pairs: Pairs) -> bool:
    level = ALPHA / max(1, len(rows))
    return any(pairs.identification(row, level)[0] > pairs.guess(row) for row in rows)


def headline(
    summary: pd.DataFrame, scores: pd.DataFrame, accuracy: pd.DataFrame, kinds: Kinds
) -> pd.DataFrame:
    """Return one row per attacker that decides about a setting, settings in the order of their rank.

    accuracy: dataset, model, defense, `comparable` (1: accuracy shown equal to no defense, 0: shown unequal, NaN: unknown)
    and further columns, which are handed through. Columns: the ids; `role` (of `ROLES`, several may be adaptive); PSNR and
    identification with limits; the paired differences in PSNR `to_none`, `to_blind`, `to_floor`, `to_control` with limits;
    `in_portfolio`, whether every ranked defense of the place met the attacker; `rank` by the strongest of these among
    comparable settings that are not untested, the most private first; `verdict` and `because`.
    """
    rows, pairs = [], Pairs(scores)
    shared = summary[portfolio(summary, kinds)]
    equal = {tuple(map(str, ids)) for ids in shared[IDS].itertuples(index=False)}
    for who in roles(summary, kinds):
        bare = who.worst["defense"] in kinds.bare
        judged, why = ("baseline", "") if bare else verdict(shown(who, pairs, kinds))
        ranked = [row for row in who.rivals + who.floors if _ids(row) in equal]
        strongest = max((float(row["psnr"]) for row in ranked), default=math.nan)
        for role, row in _listed(who):
            line: dict[str, Any] = {name: who.worst[name] for name in CELL}
            line |= {"role": role, **{name: row[name] for name in METHOD + MEASURED + COUNTED}}
            line |= {"identified_chance": row["chance"], **_compared(row, who, pairs)}
            line |= {"in_portfolio": _ids(row) in equal, "verdict": judged, "because": why}
            rows.append(line | {"strongest": strongest, "worst_psnr": who.worst["psnr"]})
    if not rows:
        return pd.DataFrame()
    return _ranked(pd.DataFrame(rows).merge(accuracy, on=list(SETTING), how="left"))


def _ids(row: pd.Series) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in IDS)


def _compared(row: pd.Series, who: Roles, pairs: Pairs) -> dict[str, float]:
    references = {
        "none": who.undefended,
        "blind": who.blind,
        "floor": who.floor,
        "control": who.control,
    }
    limits: dict[str, float] = {}
    for name, reference in references.items():
        limits |= pairs(row, reference).as_columns(f"to_{name}")
    return limits


def _listed(who: Roles) -> list[tuple[str, pd.Series]]:
    rows = [("no_defense", who.undefended), ("floor", who.floor), ("non_adaptive", who.blind)]
    rows += [("generic", who.generic), ("best_informed", who.counter)]
    rows += [("adaptive", row) for row in who.informed]
    rows += [("worst_case", who.worst), ("worst_identified", who.identified)]
    return [(role, row) for role, row in rows if row is not None]


def _ranked(table: pd.DataFrame) -> pd.DataFrame:
    """Put ranked settings first; then those of unknown, then of unequal accuracy, each by the worst case."""
    places = []
    for _, part in table.groupby(["dataset", "model"], sort=False):
        settings = part.drop_duplicates(list(SETTING))
        untested = settings["verdict"].eq("untested")
        tested = ~untested if not untested.all() else untested
        placed = settings["comparable"].eq(1) & tested & settings["strongest"].notna()
        equal = settings[placed].sort_values("strongest", kind="stable")
        rest = settings[~placed].sort_values("worst_psnr", kind="stable")
        rest = rest.sort_values("comparable", ascending=False, key=_block, kind="stable")
        ranks = [*range(1, len(equal) + 1), *[math.nan] * len(rest)]
        ordered = pd.concat([equal, rest])[list(SETTING)]
        places.append(ordered.assign(rank=ranks))
    order = pd.concat(places, ignore_index=True)
    order["place"] = range(len(order))
    ranked = table.merge(order, on=list(SETTING)).sort_values("place", kind="stable")
    return ranked.drop(columns=["place", "strongest", "worst_psnr"]).reset_index(drop=True)


def _block(comparable: pd.Series[float]) -> pd.Series[float]:
    """Equal before unknown before unequal."""
    return comparable.astype("float64").fillna(0.5)

"""Defenses ranked by their worst case at equal accuracy, and which published protection survives."""

from __future__ import annotations

import pandas as pd

from gradsiege.analysis.equal_accuracy import LEAST_SEEDS, MARGIN
from gradsiege.analysis.verdict import FLOOR_MARGIN, NEGLIGIBLE, TOLERANCE
from gradsiege.ranges import counted
from gradsiege.report.data import Drawn, StudyData
from gradsiege.report.derived import SETTING, attackers
from gradsiege.report.labels import label
from gradsiege.report.protection_words import attempts_note, counter_of, role_of, sentence
from gradsiege.report.wording import (
    DASH,
    INTERVAL,
    fold_constant,
    number,
    percent,
    synthetic_note,
    with_interval,
)

VERSION = 8
TITLE = "Which protection survives: defenses by worst case at equal accuracy"
FOLDED = ["Setting", "No defense", "Floor"]


def draw(data: StudyData) -> Drawn:
    """Tabulate every setting's attackers from no defense to the worst case, with a verdict."""
    table = data.once(attackers)
    if table.empty:
        return Drawn(TITLE, "No defense was attacked.", pd.DataFrame(columns=[*SETTING, "rank"]))
    groups = [part for _, part in table.groupby(SETTING, sort=False)]
    lines = pd.DataFrame([_line(data, part) for part in groups])
    shown, folded = fold_constant(lines, FOLDED)
    apart = tuple(place for place, part in enumerate(groups) if pd.isna(part["rank"].iloc[0]))
    return Drawn(TITLE, _caption(data, table) + folded, table, shown=shown, quiet=apart)


def _line(data: StudyData, part: pd.DataFrame) -> dict[str, str]:
    first, worst = part.iloc[0], role_of(part, "worst_case")
    name = data.name_of("defenses", first["defense"])
    assert worst is not None
    data_and_model = f"{label(first['dataset'])}, {label(first['model'])}"
    reached = _reached(worst, role_of(part, "worst_identified"))
    return {
        "Rank": number(first["rank"], 0),
        "Defense": label(first["defense"], name) + _epsilon(first),
        "Verdict": sentence(data, part),
        "Setting": f"{data_and_model}, {first['training_stage']}, {label(first['protocol'])}",
        "Accuracy, last three rounds": _accuracy(first, name),
        "No defense": _reached(role_of(part, "no_defense")),
        "Floor": _reached(role_of(part, "floor")),
        "Non-adaptive": _reached(role_of(part, "non_adaptive")),
        "Worst case": f"{counter_of(data, worst['attack'])}: {reached}",
    }


def _accuracy(row: pd.Series, name: str) -> str:
    """Accuracy, its change, and whether it is shown to equal that of no defense."""
    text = percent(row["settled_accuracy"], 1)
    if name == "none" or pd.isna(row["accuracy_change"]):
        return text
    change = [100 * row[f"accuracy_change{end}"] for end in ("", "_low", "_high")]
    state = {1.0: "equal", 0.0: "not equal"}.get(row["comparable"], "unknown")
    return f"{text} ({'+' if change[0] > 0 else ''}{with_interval(*change)}; {state}, {counted(int(row['seeds']), 'seed')})"


def _epsilon(row: pd.Series) -> str:
    """Epsilon of one update, for a defense that has an account."""
    if pd.isna(row["epsilon"]):
        return ""
    accounted = f", ε = {number(row['epsilon'])} at δ = {row['delta']:g}"
    if pd.isna(row["epsilon_sound"]):
        return accounted
    empirical = with_interval(*(row[f"epsilon_empirical{end}"] for end in ("", "_low", "_high")))
    replaced = f"{number(row['epsilon_substitution'])} if an image is replaced"
    wrong = "" if row["epsilon_sound"] else ": the account is wrong"
    return f"{accounted} ({replaced}, empirically {empirical}{wrong})"


def _reached(row: pd.Series | None, named: pd.Series | None = None) -> str:
    """PSNR with its interval and the identification rate, which may be another attacker's."""
    if row is None:
        return DASH
    psnr = with_interval(row["psnr"], row["psnr_low"], row["psnr_high"])
    rate = row if named is None else named
    value, _, limits = psnr.partition(" ")
    return f"{value} dB {limits}".rstrip() + f", {percent(rate['identified'])} identified"


def _caption(data: StudyData, table: pd.DataFrame) -> str:
    settings = table.drop_duplicates(SETTING)
    unknown, apart = (
        int(settings["comparable"].isna().sum()),
        int(settings["comparable"].eq(0).sum()),
    )
    return (
        "Defenses of equal accuracy are ranked by their strongest attacker, the most private first. Floor: the best attacker that "
        "needs no update beyond its label; differences are mean paired differences in PSNR on the same victims. Of "
        f"{len(settings)} settings, {unknown} are of unknown and {apart} of unequal accuracy: they follow, unranked. Equal: the "
        f"mean of the last three rounds is shown to be within {100 * MARGIN:g} points of no defense, and of the same clipping "
        f"without noise, over at least {LEAST_SEEDS} seeds. Ranks count only attackers that all ranked defenses met. Each setting "
        "is shown at the training stage and protocol of its worst case, beside the "
        "strongest attack on no defense there. The data of the table hold all informed attackers by name, the "
        "generic counter, attackers that only some defenses met, and the differences to no defense and to the floor. "
        "ε: of one update of a client; empirically: what identification among "
        "the victims needs, with its 95 % limits, to be compared with the account for a replaced image. An account below the lower limit is wrong. "
        f"A protection survives if every attacker is shown to stay within {FLOOR_MARGIN:g} dB of the floor and to identify at "
        f"most {percent(TOLERANCE)} more than chance; it does not survive if one is shown to come within {NEGLIGIBLE:g} dB of "
        "no defense; it survives in part if one is shown to beat the floor or chance, and all to lose against no defense. "
        f"Surviving, whole or in part, needs an informed attacker whose method is shown to come within {NEGLIGIBLE:g} dB of the strongest "
        "one without a defense; without it the defense is untested. "
        f"Where none of this is shown, it is undecided. {INTERVAL}{attempts_note(table)}"
        f"{synthetic_note(data, table['dataset'])}"
    )

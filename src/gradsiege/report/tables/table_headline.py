"""Defenses ranked by their worst case at equal accuracy, and which published protection survives."""

from __future__ import annotations

from collections import Counter

import pandas as pd

from gradsiege.analysis.headline import IDS, MARGIN, NEGLIGIBLE
from gradsiege.report.data import Drawn, StudyData
from gradsiege.report.derived import SETTING, attackers, families
from gradsiege.report.labels import label
from gradsiege.report.wording import (
    DASH,
    INTERVAL,
    counts_note,
    fold_constant,
    joined,
    number,
    percent,
    synthetic_note,
    with_interval,
)

VERSION = 3
TITLE = "Which protection survives: defenses by worst case at equal accuracy"
FOLDED = ["Data, model", "Where", "No defense"]


def draw(data: StudyData) -> Drawn:
    """Tabulate every setting's attackers from no defense to the worst case, with a verdict."""
    table = data.once(attackers)
    if table.empty:
        return Drawn(TITLE, "No defense was attacked.", pd.DataFrame(columns=[*SETTING, "rank"]))
    groups = [part for _, part in table.groupby(SETTING, sort=False)]
    shown, folded = fold_constant(pd.DataFrame([_line(data, part) for part in groups]), FOLDED)
    apart = tuple(place for place, part in enumerate(groups) if not part["comparable"].iloc[0])
    attackers_met = table.rename(columns={"change": "accuracy_change"})
    return Drawn(TITLE, _caption(data, table) + folded, attackers_met, shown=shown, quiet=apart)


def sentence(data: StudyData, part: pd.DataFrame) -> str:
    """What the rows of one setting say of its protection, in words."""
    judged, worst = part["verdict"].iloc[0], _role(part, "worst_case")
    assert worst is not None
    if judged == "baseline":
        return "No defense: what others are measured against."
    hits = _role(part, "worst_identified")
    rate = percent(hits["identified"]) if hits is not None else DASH
    name = label(worst["attack"], data.name_of("attacks", worst["attack"]))
    said = {
        "survives": "Survives: no attacker here gets more than the best control, which needs no gradient",
        "untested": "Untested: blind attackers get no more than the best control; no informed one tried",
        "survives in part": f"Survives in part: {name} loses {_lost(worst)}, but still identifies up to {rate}",
        "does not survive": f"Does not survive: {name} is not shown to lose more than {NEGLIGIBLE:g} dB "
        f"against no defense ({_difference(worst, 'to_none')} dB), and identifies up to {rate}",
        "": f"Not judged: no defense was not attacked in its place; {name} identifies up to {rate}",
    }[judged]
    return f"{said}. {_adaptive(data, part)}"


def _lost(row: pd.Series) -> str:
    low, high = -row["to_none_high"], -row["to_none_low"]
    return f"{with_interval(-row['to_none'], low, high)} dB"


def _adaptive(data: StudyData, part: pd.DataFrame) -> str:
    """What knowing the defense adds, shown or not."""
    informed = part[part["role"] == "adaptive"]
    if informed.empty:
        return "No informed attacker met it."
    best = informed.iloc[0]
    if pd.isna(best["to_blind"]):
        return "What knowing the defense adds is unknown: a blind or an informed attack is missing here."
    name = _counter(data, best["attack"])
    gain = f"{_difference(best, 'to_blind')} dB"
    if best["to_blind_low"] > 0:
        return f"Knowing it adds {gain} ({name})."
    tried = name if len(informed) == 1 else f"the best of {len(informed)}, {name},"
    effort = "; the budget curves show how hard we tried" if _shows_budgets(data) else ""
    return f"No informed attack does better here: {tried} adds {gain}{effort}."


def _shows_budgets(data: StudyData) -> bool:
    """Whether the report holds budget curves with an attack of several budgets on them."""
    budgets = Counter(families(data).values())
    shown = "budget_curves" in data.study.get("figures", ())
    return shown and max(budgets.values(), default=0) > 1


def _difference(row: pd.Series, name: str) -> str:
    sign = "+" if row[name] > 0 else ""
    return sign + with_interval(row[name], row[f"{name}_low"], row[f"{name}_high"])


def _role(part: pd.DataFrame, role: str) -> pd.Series | None:
    found = part[part["role"] == role]
    return None if found.empty else found.iloc[0]


def _counter(data: StudyData, attack: str) -> str:
    """The idea of a counter in words, with what else its id says; the attack itself for one without a counter."""
    for item in data.study.get("attacks", ()):
        if item.get("id") == attack and item.get("counter"):
            defense, _, idea = str(item["counter"]).partition(".")
            rest = attack.partition(f"{defense}.{idea}")[2].strip("-").replace("-", ", ")
            return f"{idea} {rest}".replace("_", " ").strip()
    return label(attack, data.name_of("attacks", attack))


def _line(data: StudyData, part: pd.DataFrame) -> dict[str, str]:
    first, worst, hits = part.iloc[0], _role(part, "worst_case"), _role(part, "worst_identified")
    informed = part[part["role"] == "adaptive"]
    adaptive = "; ".join(
        f"{_counter(data, row['attack'])}: {_reached(row)}" for _, row in informed.iterrows()
    )
    name = data.name_of("defenses", first["defense"])
    gained = informed.iloc[0] if len(informed) else None
    assert worst is not None
    return {
        "Rank": number(first["rank"], 0),
        "Defense": label(first["defense"], name),
        "Verdict": sentence(data, part),
        "Data, model": f"{label(first['dataset'])}, {label(first['model'])}",
        "Where": f"{first['training_stage']}, {label(first['protocol'])}",
        "Accuracy": percent(first["accuracy"], 1) + _change(first, name),
        "No defense": _reached(_role(part, "no_defense")),
        "Non-adaptive": _reached(_role(part, "non_adaptive")),
        "Adaptive, by name": adaptive or DASH,
        "Worst case": _reached(worst, hits),
        "Worst − none [dB]": DASH if name == "none" else _paired(worst, "to_none"),
        "Adaptive − blind [dB]": DASH if gained is None else _paired(gained, "to_blind"),
    }


def _change(row: pd.Series, name: str) -> str:
    if name == "none" or pd.isna(row["change"]):
        return ""
    return f" ({'+' if row['change'] > 0 else ''}{number(100 * row['change'])})"


def _paired(row: pd.Series, name: str) -> str:
    return DASH if pd.isna(row[name]) else _difference(row, name)


def _reached(row: pd.Series | None, named: pd.Series | None = None) -> str:
    """PSNR with its interval and the identification rate, which may be another attacker's."""
    if row is None:
        return DASH
    psnr = with_interval(row["psnr"], row["psnr_low"], row["psnr_high"])
    rate = row if named is None else named
    value, _, limits = psnr.partition(" ")
    return f"{value} dB {limits}".rstrip() + f", {percent(rate['identified'])} identified"


def standing(data: StudyData) -> list[str]:
    """One sentence for each data set and model: which settings survive, by verdict."""
    table = data.once(attackers)
    if table.empty or (table["verdict"] == "baseline").all():
        return []
    said = []
    for (dataset, model), part in table.groupby(["dataset", "model"], sort=False):
        settings = part.drop_duplicates(SETTING)
        equal = settings[settings["comparable"]]
        parts = []
        for word in ("survives", "survives in part", "does not survive", "untested"):
            names = equal.loc[equal["verdict"] == word, "defense"]
            named = [label(one, data.name_of("defenses", one)) for one in names]
            parts += [f"{word}: {joined(named)}"] if named else []
        apart = len(settings) - len(equal)
        tail = f"; {apart} more cost accuracy beyond that" if apart else ""
        if parts:
            said.append(
                f"{label(str(dataset))}, {label(str(model))}: of the defenses within {100 * MARGIN:g} points of the "
                f"undefended accuracy, judged by their strongest attacker, {'; '.join(parts)}{tail}."
            )
    return said


def _once(table: pd.DataFrame) -> pd.DataFrame:
    """Each attack on each setting once: it may stand in several roles, and undefended beside every defense."""
    own = table[table["role"] != "no_defense"]
    return own.drop_duplicates(IDS)


def _caption(data: StudyData, table: pd.DataFrame) -> str:
    apart = table.drop_duplicates(SETTING)["comparable"].eq(False).sum()
    rest = (
        f" {apart} settings lose more or have no accuracy: they follow, unranked." if apart else ""
    )
    return (
        f"Ranked by worst-case PSNR, the most private first, are the defenses whose accuracy is at most {100 * MARGIN:g} "
        f"points below that of no defense.{rest} Each is shown at the training stage and protocol of its worst case, "
        "beside the strongest attack on no defense there. Non-adaptive attackers do not know the defense; adaptive ones are "
        "named by what they do about it. Differences are mean paired differences in PSNR on the same victims. "
        "A protection leaks if its strongest attacker is shown to beat the best control (interval above zero), or to "
        "identify more victims than chance and controls (Wilson limit). Without a leak it survives, with one it survives "
        f"in part where attackers are shown to lose more than {NEGLIGIBLE:g} dB against no defense, and else not. "
        f"{INTERVAL}{counts_note(_once(table))}{synthetic_note(data, table['dataset'])}"
    )

"""What the headline table says of protections, in words."""

from __future__ import annotations

from collections import Counter

import pandas as pd

from gradsiege.analysis.equal_accuracy import MARGIN
from gradsiege.analysis.pairs import IDS
from gradsiege.report.data import StudyData
from gradsiege.report.derived import SETTING, attackers, families
from gradsiege.report.labels import label
from gradsiege.report.wording import DASH, counts_note, joined, percent, with_interval

VERDICTS = ("survives", "survives in part", "does not survive", "undecided", "untested")


def sentence(data: StudyData, part: pd.DataFrame) -> str:
    """What the rows of one setting say of its protection, in words."""
    judged, worst = part["verdict"].iloc[0], role_of(part, "worst_case")
    assert worst is not None
    if judged == "baseline":
        return "No defense: what others are measured against."
    because = part["because"].iloc[0]
    name = label(worst["attack"], data.name_of("attacks", worst["attack"]))
    lost = f"{name} is {difference(worst, 'to_none')} dB from no defense"
    hits = role_of(part, "worst_identified")
    rate = percent(hits["identified"]) if hits is not None else DASH
    return f"{judged.capitalize()}: {because} ({lost}; up to {rate} identified). {_adaptive(data, part)}"


def _adaptive(data: StudyData, part: pd.DataFrame) -> str:
    """What knowing the defense adds, shown or not."""
    informed = part[part["role"] == "adaptive"]
    if informed.empty:
        return "No informed attacker met it."
    best = informed.iloc[0]
    if pd.isna(best["to_blind"]):
        return "What knowing the defense adds is unknown: a blind or an informed attack is missing here."
    name = counter_of(data, best["attack"])
    gain = f"{difference(best, 'to_blind')} dB"
    if best["to_blind_low"] > 0:
        return f"Knowing it adds {gain} ({name})."
    tried = name if len(informed) == 1 else f"the best of {len(informed)}, {name},"
    effort = "; the budget curves show how hard we tried" if _shows_budgets(data) else ""
    return f"No informed attack is shown to do better here: {tried} adds {gain}{effort}."


def _shows_budgets(data: StudyData) -> bool:
    """Whether the report holds budget curves with an attack of several budgets on them."""
    budgets = Counter(families(data).values())
    shown = "budget_curves" in data.study.get("figures", ())
    return shown and max(budgets.values(), default=0) > 1


def difference(row: pd.Series, name: str) -> str:
    """Return a paired difference with its limits, and a plus where it is one."""
    sign = "+" if row[name] > 0 else ""
    return sign + with_interval(row[name], row[f"{name}_low"], row[f"{name}_high"])


def role_of(part: pd.DataFrame, role: str) -> pd.Series | None:
    """Return the first row of a role, or None."""
    rows = part[part["role"] == role]
    return None if rows.empty else rows.iloc[0]


def counter_of(data: StudyData, attack: str) -> str:
    """The idea of a counter in words, with what else its id says; the attack itself for one without a counter."""
    for item in data.study.get("attacks", ()):
        if item.get("id") == attack and item.get("counter"):
            defense, _, idea = str(item["counter"]).partition(".")
            rest = attack.partition(f"{defense}.{idea}")[2].strip("-").replace("-", ", ")
            return f"{idea} {rest}".replace("_", " ").strip()
    return label(attack, data.name_of("attacks", attack))


def standing(data: StudyData) -> list[str]:
    """One sentence for each data set and model: which settings survive, by verdict."""
    table = data.once(attackers)
    if table.empty or (table["verdict"] == "baseline").all():
        return []
    sentences = []
    for (dataset, model), part in table.groupby(["dataset", "model"], sort=False):
        settings = part.drop_duplicates(SETTING)
        kept = settings[settings["comparable"].ne(0)]
        parts = []
        for word in VERDICTS:
            defenses = kept.loc[kept["verdict"] == word, "defense"]
            named = [label(name, data.name_of("defenses", name)) for name in defenses]
            parts += [f"{word}: {joined(named)}"] if named else []
        apart = len(settings) - len(kept)
        tail = (
            f"; {apart} more are shown to cost accuracy beyond {100 * MARGIN:g} points"
            if apart
            else ""
        )
        unknown = kept["comparable"].isna().any()
        equal = "whose accuracy is not shown to differ from" if unknown else "of the accuracy of"
        if parts:
            sentences.append(
                f"{label(str(dataset))}, {label(str(model))}: of the defenses {equal} no defense, judged by their "
                f"strongest attacker, {'; '.join(parts)}{tail}."
            )
    return sentences


def attempts_note(table: pd.DataFrame) -> str:
    """Return the sample size and the failures of the attackers: each once, controls left out.

    An attacker may stand in several roles, and the one on no defense beside every defense.
    """
    attempts = table[(table["role"] != "no_defense") & table["threat_model"].ne("")]
    return counts_note(attempts.drop_duplicates(IDS))

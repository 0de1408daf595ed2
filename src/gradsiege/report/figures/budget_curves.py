"""How hard we tried: what attacks reach with growing budgets, blind and informed, against each defense."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gradsiege.report import style
from gradsiege.report.data import Drawn, StudyData
from gradsiege.report.derived import families
from gradsiege.report.labels import LABELS, label
from gradsiege.report.wording import INTERVAL, counts_note, number, synthetic_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VERSION = 3
TITLE = "How hard we tried: fidelity against the budget of the attack"
PANEL = ["dataset", "model", "training_stage", "protocol", "defense"]
KEPT = ["threat_model", "attack", "evaluations", "psnr", "psnr_low", "psnr_high"]
KEPT += ["identified", "identified_low", "identified_high"]
COUNTS = ["victims", "rows", "failed", "psnr_capped"]
COLUMNS = 3
# Of the counters to one defense, one after the other.
COUNTERS = ("#d55e00", "#0072b2", "#cc79a7", "#e69f00", "#56b4e9")
NEAREST = 1.5  # budgets that are closer than this factor do not both get a number on the axis


def plotted(data: StudyData) -> pd.DataFrame:
    """One row per budget: attacks of at least two budgets, on every defense that they met; controls beside them."""
    summary, family_of = data.summary, families(data)
    table = summary[summary["kind"] == "attack"].assign(family=lambda t: t["attack"].map(family_of))
    budgets = table.groupby([*PANEL, "threat_model", "family"])["iterations"].transform("nunique")
    table = table[budgets > 1][[*PANEL, "family", *KEPT, "iterations", *COUNTS]]
    table["informed"] = [
        bool(_counter(data, str(name))) or data.adaptive(str(threat))
        for name, threat in zip(table["attack"], table["threat_model"], strict=True)
    ]
    controls = summary[summary["kind"] == "control"]
    best = controls.groupby(PANEL)["psnr"].max().rename("control_psnr").reset_index()
    merged = table.merge(best, on=PANEL, how="left")
    return merged.sort_values([*PANEL, "family", "iterations"], kind="stable", ignore_index=True)


def _counter(data: StudyData, attack: str) -> str:
    for item in data.study.get("attacks", ()):
        if item.get("id") == attack:
            return str(item.get("counter") or "")
    return ""


def draw(data: StudyData) -> Drawn:
    """Draw PSNR against iterations, one panel per defense setting."""
    table = plotted(data)
    # A family is a long text; the ids of its attacks name it as well.
    measured = table.drop(columns="family")
    if table.empty:
        reason = "no attack of the study ran with several budgets (`sweep: {iterations: [...]}`)."
        return Drawn(TITLE, reason.capitalize(), measured, style.nothing_to_draw(reason))
    groups = _in_order(data, table)
    with style.study_style():
        columns = min(COLUMNS, len(groups))
        figure, axes = style.panels(-(-len(groups) // columns), columns, style.WIDTH, 2.3)
        flat = [panel for row in axes for panel in row]
        drawn = table[["psnr", "psnr_low", "psnr_high", "control_psnr"]].to_numpy(dtype=float)
        ends = float(np.nanmin(drawn)) - 1, float(np.nanmax(drawn)) + 1
        for place, (panel, part) in enumerate(zip(flat, groups, strict=False)):
            _curves(panel, part, data, table)
            panel.set_ylim(*ends)
            panel.set_title(_title(data, part, table), fontsize=8)
            panel.set_ylabel("PSNR [dB]" if place % columns == 0 else "")
            panel.set_xlabel("Iterations" if place + columns >= len(groups) else "")
        for panel in flat[len(groups) :]:
            panel.set_axis_off()
        style.legend_below(figure, flat, columns=2)
    return Drawn(TITLE, _caption(data, table), measured, figure, alt=_alt(data, table))


def _in_order(data: StudyData, table: pd.DataFrame) -> list[pd.DataFrame]:
    """One frame per panel, defenses in the order of the study file."""
    order = data.in_order("defenses", table["defense"])
    ranked = table.assign(rank=table["defense"].map(order.index))
    sort = [*PANEL[:-1], "rank"]
    return [part for _, part in ranked.sort_values(sort, kind="stable").groupby(sort, sort=False)]


def _title(data: StudyData, part: pd.DataFrame, table: pd.DataFrame) -> str:
    """The defense, with whatever else differs between panels."""
    first = part.iloc[0]
    parts = [label(first["defense"], data.name_of("defenses", first["defense"]))]
    for name in PANEL[:-1]:
        if table[name].nunique() > 1:
            known = data.name_of("models", first[name]) if name == "model" else None
            parts.append(label(str(first[name]), known))
    return ", ".join(parts)


def _curves(panel: Axes, part: pd.DataFrame, data: StudyData, table: pd.DataFrame) -> None:
    """Blind attacks in grey, informed ones in colour; both with their intervals."""
    from matplotlib.ticker import NullLocator, ScalarFormatter

    colours = _colours(data)
    for (family, _), curve in part.groupby(["family", "threat_model"], sort=False):
        informed = bool(curve["informed"].iloc[0])
        error = [curve["psnr"] - curve["psnr_low"], curve["psnr_high"] - curve["psnr"]]
        colour = colours[str(family)] if informed else style.MUTED
        panel.errorbar(
            curve["iterations"],
            curve["psnr"],
            yerr=[side.fillna(0.0).clip(lower=0.0) for side in error],
            color=colour,
            marker="o" if informed else "s",
            markersize=3.5,
            capsize=2.0,
            linewidth=1.4,
            elinewidth=0.9,
            label=_name(data, curve),
            zorder=3 if informed else 2,
        )
    panel.axhline(
        part["control_psnr"].iloc[0],
        color=style.MUTED,
        linewidth=0.9,
        linestyle=(0, (3, 2)),
        zorder=1,
    )
    panel.set_xscale("log")
    panel.set_xticks(_ticks(part["iterations"]))
    budgets = table["iterations"]
    panel.set_xlim(budgets.min() / NEAREST, budgets.max() * NEAREST)
    panel.xaxis.set_major_formatter(ScalarFormatter())
    panel.xaxis.set_minor_locator(NullLocator())


def _colours(data: StudyData) -> dict[str, str]:
    """By family: a counter's colour is its place among those of its defense, which never share a panel with others."""
    colours: dict[str, str] = {}
    of_defense: dict[str, list[str]] = {}
    for family in dict.fromkeys(families(data).values()):
        item = json.loads(family)
        if counter := item.get("counter"):
            known = of_defense.setdefault(str(counter).partition(".")[0], [])
            colours[family] = COUNTERS[len(known) % len(COUNTERS)]
            known.append(family)
        else:
            colours[family] = style.colour(str(item["name"]))
    return colours


def _ticks(budgets: pd.Series[Any]) -> list[int]:
    """The budgets of a panel, from the largest, without those whose numbers would overlap."""
    kept: list[int] = []
    for budget in sorted({int(value) for value in budgets}, reverse=True):
        if not kept or kept[-1] >= NEAREST * budget:
            kept.append(budget)
    return kept[::-1]


def _name(data: StudyData, curve: pd.DataFrame) -> str:
    """Attack and counter, without the budget, which is the axis."""
    first = curve.iloc[0]
    item: Mapping[str, Any] = next(
        attack for attack in data.study["attacks"] if attack.get("id") == first["attack"]
    )
    name = label(str(item["name"]))
    parts = [name]
    if item.get("counter"):
        defense, _, idea = str(item["counter"]).partition(".")
        parts.append(f"{LABELS.get(defense, defense)}: {idea.replace('_', ' ')}")
    if item.get("rounds", "first") != "first":
        parts.append(f"{item['rounds']} rounds")
    if len(parts) > 1:
        return ", ".join(parts)
    return f"{name}, informed" if bool(first["informed"]) else f"{name}, blind"


def _caption(data: StudyData, table: pd.DataFrame) -> str:
    return (
        "Mean PSNR of attacks that were run with several budgets, each run complete with a step schedule of its own. Grey: the "
        "attacker does not know the defense; colour: what an informed one does. Dashed: the best control, which needs no "
        "gradient. A flat curve at the control is a defense that more work does not break; one that still rises was not "
        f"tried hard enough. {INTERVAL}{counts_note(table)}{synthetic_note(data, table['dataset'])}"
    )


def _alt(data: StudyData, table: pd.DataFrame) -> str:
    sentences = []
    for part in _in_order(data, table):
        name = label(part["defense"].iloc[0], data.name_of("defenses", part["defense"].iloc[0]))
        ends = [
            f"{'informed' if curve['informed'].iloc[0] else 'blind'} {number(curve['psnr'].iloc[0])} to "
            f"{number(curve['psnr'].iloc[-1])} dB"
            for _, curve in part.groupby(["family", "threat_model"], sort=False)
        ]
        sentences.append(f"{name}: {', '.join(ends)}")
    return "Line charts of PSNR against iterations. " + "; ".join(sentences) + "."

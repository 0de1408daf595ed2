"""Shadow's published changes of PSNR, SSIM and F1 redrawn, beside what this study measured for the same comparisons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gradsiege.analysis.claims.claim import Claim
from gradsiege.report import style
from gradsiege.report.claim_words import SHOWN
from gradsiege.report.data import Drawn, StudyData
from gradsiege.report.labels import label
from gradsiege.report.published_points import NO_LEDGER, setting_of, sources
from gradsiege.report.wording import number, synthetic_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VERSION = 2
REQUIRES = ("federate", "observe", "score")
TITLE = "What Shadow changes, published and ours"
PAPER = "Shadow"
RULES = ("difference_sign", "at_least")
IDS = ["dataset", "model", "defense", "training_stage", "protocol", "threat_model", "attack"]
COLUMNS = [
    "source",
    "metric",
    "claim",
    "setting",
    *IDS,
    "arm",
    *(f"metric_change{end}" for end in ("", "_low", "_high")),
]
COLUMNS += ["units", "bar", "claim_verdict"]
ROW, MOST_ROWS = 0.19, 14  # inches per row; rows of ours in a panel, the rest is in the data file


def claims_of(data: StudyData) -> list[Claim]:
    """The claims that hold a published change, or the bar below which a change must not fall."""
    return [c for c in data.claims if c.paper == PAPER and c.rule in RULES and c.value]


def plotted(data: StudyData) -> pd.DataFrame:
    """One row per published change (with its tolerance as limits; `bar` for "at least"), then one row per comparison of ours.

    A comparison that tests several claims, such as those on chest and eye images, stands once.
    """
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for claim in claims_of(data):
        for name, value in claim.value.items():
            metric = str(name)
            size = -value if claim.direction == "lower" else value
            slack = claim.tolerance_of(metric)
            rows["published", claim.id, metric] = {
                "source": "published", "metric": metric, "claim": claim.id,
                "setting": setting_of(claim), "metric_change": size,
                "metric_change_low": size - slack, "metric_change_high": size + slack, "bar": claim.rule == "at_least",
            }  # fmt: skip
    wanted = {claim.id for claim in claims_of(data)}
    for outcome in data.outcomes:
        for part in outcome.parts if outcome.claim.id in wanted else ():
            metric = str(part.comparison.metric)
            change, ids = part.interval, dict(part.ids)
            where = ", ".join(label(ids[name]) for name in ("dataset", "model"))
            rows.setdefault(
                ("measured", metric, *ids.values(), outcome.arm),
                {"source": "measured", "metric": metric, "claim": outcome.claim.id, "setting": where, **ids, "arm": outcome.arm}
                | {"metric_change": change.estimate, "metric_change_low": change.low, "metric_change_high": change.high}
                | {"units": change.units, "bar": False, "claim_verdict": outcome.shown_verdict},
            )  # fmt: skip
    return pd.DataFrame([*rows.values()], columns=COLUMNS)


def draw(data: StudyData) -> Drawn:
    """Draw one panel per metric: published changes above on their own ground, ours below, the zero line through both."""
    table = plotted(data)
    if table.empty:
        return Drawn(TITLE, NO_LEDGER.capitalize(), table, style.nothing_to_draw(NO_LEDGER))
    groups = [(metric, _rows_shown(rows)) for metric, rows in table.groupby("metric", sort=False)]
    sizes = [len(rows) + 1.2 for _, rows in groups]
    with style.study_style():
        height = ROW * sum(sizes) + 0.55 * len(groups) + 0.2
        figure = style.new_figure(style.WIDTH, height, layout="constrained")
        axes = figure.subplots(len(groups), 1, squeeze=False, gridspec_kw={"height_ratios": sizes})
        for panel, (metric, rows) in zip(axes[:, 0], groups, strict=True):
            _forest(panel, rows, str(metric), data)
    return Drawn(TITLE, _caption(data, table), table, figure, alt=_alt(table))


def _rows_shown(rows: pd.DataFrame) -> pd.DataFrame:
    measured = rows[rows["source"] == "measured"].head(MOST_ROWS)
    return pd.concat([rows[rows["source"] == "published"], measured])


def _forest(panel: Axes, rows: pd.DataFrame, metric: str, data: StudyData) -> None:
    """Published values as hollow diamonds with their tolerance, ours as filled points with their interval."""
    name, factor, _, _, unit = SHOWN[metric]
    published = int((rows["source"] == "published").sum())
    panel.axhspan(-0.6, published - 0.5, color=style.TINT, zorder=0)
    panel.axvline(0, color=style.MUTED, linewidth=0.8)
    names = []
    for place, (_, row) in enumerate(rows.iterrows()):
        ours = row["source"] == "measured"
        attack = "" if pd.isna(row["attack"]) else data.name_of("attacks", str(row["attack"]))
        shade = style.colour(attack or "shadow") if ours else style.INK
        value = factor * row["metric_change"]
        limits = [
            [value - factor * row["metric_change_low"]],
            [factor * row["metric_change_high"] - value],
        ]
        known = not np.isnan(row["metric_change_low"])
        shape: Any = {"color": shade, "marker": "o" if ours else "D", "capsize": 0 if ours else 3}
        shape |= {"markerfacecolor": shade if ours else style.PAPER, "markersize": 4.5}
        shape |= {"elinewidth": 1.1, "linestyle": ""}
        if row["bar"]:
            shape["marker"] = ">"  # everything from here to the right is as claimed
        panel.errorbar([value], [place], xerr=limits if known and not row["bar"] else None, **shape)
        names.append(_name(row, data))
    panel.set_yticks(range(len(rows)), names, fontsize=6.5)
    panel.set_ylim(len(rows) - 0.4, -0.6)
    panel.grid(visible=True, axis="x")
    panel.grid(visible=False, axis="y")
    unit = f" [{unit.strip()}]" if unit.strip() else ""
    panel.set_title(f"Change of {name} under Shadow{unit}".replace("[%]", "[points]"))


def _name(row: pd.Series, data: StudyData) -> str:
    if row["source"] == "published":
        return f"Published: {row['setting']}"
    attack = "" if pd.isna(row["attack"]) else str(row["attack"])
    told = [label(attack, data.name_of("attacks", attack)) if attack else "", str(row["setting"])]
    told += ["" if pd.isna(row["protocol"]) else label(str(row["protocol"]))]
    told += [row["arm"].replace("_", " ")] if row["arm"] else []
    return "Ours: " + ", ".join(filter(None, told))


def _caption(data: StudyData, table: pd.DataFrame) -> str:
    ours = table[table["source"] == "measured"]
    longest = int(ours.groupby("metric").size().max()) if len(ours) else 0
    more = (
        f" At most {MOST_ROWS} rows of ours per panel; all are in the data file."
        if longest > MOST_ROWS
        else ""
    )
    meaning = (
        "Filled: ours, mean paired differences to no defense with 95 % intervals (BCa over victims; t over seeds for F1 and accuracy)."
        if len(ours)
        else "This study has no comparison of its own to set beside them."
    )
    return (
        f"Tinted, hollow: published changes ({sources(claims_of(data))}), obtained on the paper's own data, with the tolerance of "
        f"the claim; a triangle is a bar (no lower than this). {meaning}{more} Left of zero, Shadow leaks less, or costs accuracy."
        f"{synthetic_note(data, ours['dataset'])}"
    )


def _alt(table: pd.DataFrame) -> str:
    told = [
        f"{SHOWN[str(metric)][0]}: published "
        + ", ".join(
            number(value, 3) for value in rows.loc[rows["source"] == "published", "metric_change"]
        )
        + f"; {(rows['source'] == 'measured').sum()} of ours"
        for metric, rows in table.groupby("metric", sort=False)
    ]
    return f"Changes under Shadow by metric. {'. '.join(told)}."

"""TIP's accuracy figure redrawn: four arms at eleven published rounds, beside the same arms of this study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from gradsiege.analysis.claims.claim import Claim, Selector
from gradsiege.analysis.claims.selection import NotRunError, choose
from gradsiege.report import style
from gradsiege.report.data import Drawn, StudyData
from gradsiege.report.figures.utility_curve import plotted as curves
from gradsiege.report.labels import label
from gradsiege.report.published_points import (
    NO_LEDGER,
    ORIGINS,
    name_in,
    setting_of,
    sources,
    tinted,
)
from gradsiege.report.wording import percent, synthetic_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VERSION = 2
TITLE = "TIP's accuracy curves, published and ours"
PAPER = "TIP"
COLUMNS = [
    "source",
    "dataset",
    "model",
    "method",
    "defense",
    "round",
    "accuracy",
    "accuracy_low",
    "accuracy_high",
]
COLUMNS += ["seeds", "claim"]
MOST_PANELS = 3  # of ours; the rest is in the data file


def claims_of(data: StudyData) -> list[Claim]:
    """The claims that hold the figure's points: accuracy at stated rounds."""
    return [
        claim
        for claim in data.claims
        if claim.paper == PAPER and claim.points and claim.points[0].at.round is not None
    ]


def plotted(data: StudyData) -> pd.DataFrame:
    """One row per point: the published ones from the ledger, then ours of the arms that have the published constants."""
    rows: list[dict[str, Any]] = []
    for claim in claims_of(data):
        named = {"dataset": name_in(claim.needs.dataset), "model": name_in(claim.needs.model)}
        named |= {"source": "published", "method": name_in(claim.cells.defense), "claim": claim.id}
        for cells, metric, value in claim.published():
            if metric == "accuracy":
                rows.append({**named, "round": cells.round, "accuracy": value})
    measured = curves(data) if rows else curves(data).iloc[:0]
    for claim in claims_of(data):
        of_claim = measured[measured["defense"].isin(_arms(data, claim))]
        given = {"source": "measured", "method": name_in(claim.cells.defense), "claim": claim.id}
        rows += [{**point, **given} for _, point in of_claim.iterrows()]
    return pd.DataFrame(rows, columns=COLUMNS)


def _arms(data: StudyData, claim: Claim) -> list[str]:
    """Ids of the study's defenses with the constants of the claim."""
    try:
        return choose(data.study, "utility", claim.cells, Selector())["defense"]
    except NotRunError:
        return []


def draw(data: StudyData) -> Drawn:
    """Draw the published curves in a panel of their own, and ours beside it: the rounds are not the same."""
    table = plotted(data)
    if table.empty:
        return Drawn(TITLE, NO_LEDGER.capitalize(), table, style.nothing_to_draw(NO_LEDGER))
    claims = claims_of(data)
    published = table[table["source"] == "published"]
    ours = list(table[table["source"] == "measured"].groupby(["dataset", "model"], sort=False))
    shown = ours[:MOST_PANELS]
    with style.study_style():
        figure, axes = style.panels(1, max(2, 1 + len(shown)), style.WIDTH, 3.0)
        first, *others = axes[0]
        _curves(first, published)
        tinted(first)
        first.set_title(f"{ORIGINS[claims[0].origin]}\n{setting_of(claims[0])}")
        for panel, (key, part) in zip(others, shown, strict=False):
            _curves(panel, part)
            panel.set_title(f"Ours\n{', '.join(label(str(name)) for name in key)}")
        for panel in others[len(shown) :]:
            panel.set(xticks=[], yticks=[])
            panel.text(0.5, 0.5, "None of these arms\nran in this study.", ha="center", va="center", color=style.MUTED, transform=panel.transAxes)  # fmt: skip
        first.set_ylabel("Test accuracy [%]")
        style.legend_below(figure, axes[0])
    return Drawn(TITLE, _caption(data, table, claims), table, figure, alt=_alt(table))


def _curves(panel: Axes, part: pd.DataFrame) -> None:
    """One line per arm; published points are hollow, ours filled, with the interval over seeds as a band."""
    from matplotlib.ticker import MaxNLocator

    seen: dict[str, int] = {}
    for key, curve in part.groupby(["method", "defense"], sort=False, dropna=False):
        method = str(key[0])
        turn = seen[method] = seen.get(method, -1) + 1
        curve = curve.sort_values("round")
        published = bool((curve["source"] == "published").all())
        shade = style.colour(method)
        options: Any = {"color": shade, "marker": style.marker(method), "markersize": 4.5}
        options |= {"markerfacecolor": style.PAPER if published else shade, "label": label(method)}
        options["linestyle"] = style.LINES[turn % len(style.LINES)]
        options["markevery"] = max(1, len(curve) // 11)
        panel.plot(curve["round"], 100 * curve["accuracy"], **options)
        limits = curve.dropna(subset=["accuracy_low", "accuracy_high"])
        band: Any = {"color": shade, "alpha": 0.13, "linewidth": 0}
        low, high = 100 * limits["accuracy_low"], 100 * limits["accuracy_high"]
        panel.fill_between(limits["round"], low.astype(float), high.astype(float), **band)
    panel.set_xlabel("Federated round")
    panel.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))


def _caption(data: StudyData, table: pd.DataFrame, claims: list[Claim]) -> str:
    ours = table[table["source"] == "measured"]
    meaning = (
        "Ours: the arms of this study that have the paper's constants, means over seeds with 95 % t intervals as bands. Its data, "
        "model and rounds are others, so orders may be compared, heights may not."
        if len(ours)
        else "No arm of this study has the paper's constants, so there is nothing to set beside it."
    )
    return (
        f"Tinted, hollow points: published numbers ({sources(claims)}), obtained on the data named above the panel and not by this "
        f"study. {meaning}{synthetic_note(data, ours['dataset'])}"
    )


def _alt(table: pd.DataFrame) -> str:
    parts = []
    for source, part in table.groupby("source", sort=False):
        last = part.sort_values("round").groupby("method", sort=False)["accuracy"].last()
        ends = ", ".join(f"{label(str(name))} {percent(value, 1)}" for name, value in last.items())
        parts.append(f"{source}: {ends}")
    return f"Accuracy by round. Last values, {'; '.join(parts)}."

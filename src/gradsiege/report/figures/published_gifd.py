"""The published rerun of GIFD and its rivals redrawn: five attacks against six defenses, beside the same pairs of this study."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gradsiege.analysis.claims.claim import Claim, Selector
from gradsiege.analysis.claims.selection import NotRunError, choose
from gradsiege.analysis.worst_case import worst_case
from gradsiege.report import style
from gradsiege.report.data import Drawn, StudyData
from gradsiege.report.labels import label
from gradsiege.report.published_points import NO_LEDGER, name_in, sources
from gradsiege.report.wording import number, synthetic_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VERSION = 2
TITLE = "GIFD and its rivals against six defenses, published and ours"
PAPER = "GIFD and its rivals"
METRIC = "psnr"
PLACE = ["source", "dataset", "model", "training_stage", "protocol"]
COLUMNS = [*PLACE, "method", "rival", "defense", "attack", "threat_model", "psnr", "psnr_low", "psnr_high", "victims", "failed", "claim"]  # fmt: skip
ACROSS, CELL_WIDTH, CELL_HEIGHT = 3, 0.46, 0.25  # panels side by side; inches
MOST_PANELS = 6  # of ours; the rest is in the data file


def claims_of(data: StudyData) -> list[Claim]:
    """The claims that hold the cells of the table: PSNR of stated attacks on one data set and defense."""
    return [
        claim
        for claim in data.claims
        if claim.paper == PAPER
        and claim.rule == "value_within"
        and METRIC in (claim.points[0].value if claim.points else {})
    ]


def plotted(data: StudyData) -> pd.DataFrame:
    """One row per published cell, then one row per cell of ours with an attack and a defense of the published settings.

    `method` is the defense, `rival` the attack, by the name of the method. Ours: without knowledge of the defense; of
    several threat models or settings the strongest.
    """
    rows = [*_published(data)]
    if rows:
        rows += _measured(data)
    return pd.DataFrame(rows, columns=COLUMNS)


def _published(data: StudyData) -> Iterator[dict[str, Any]]:
    for claim in claims_of(data):
        for cells, metric, value in claim.published():
            if metric == METRIC:
                yield {
                    "source": "published", "dataset": name_in(cells.dataset), "model": "", "training_stage": "", "protocol": "",
                    "method": name_in(cells.defense), "rival": name_in(cells.attack), "psnr": value, "claim": claim.id,
                }  # fmt: skip


def _measured(data: StudyData) -> list[dict[str, Any]]:
    summary = data.summary[data.summary["kind"] == "attack"]
    blind = [
        threat_model
        for threat_model in summary["threat_model"].unique()
        if not data.adaptive(str(threat_model))
    ]
    summary = summary[summary["threat_model"].isin(blind)]
    rows = []
    seen = set[tuple[str, ...]]()
    for claim in claims_of(data):
        for cells, _, _ in claim.published():
            # Our data and stages are others than the table's, and said to be.
            wanted = cells.model_copy(update={"dataset": {}, "training_stage": {}})
            named = {"method": name_in(cells.defense), "rival": name_in(cells.attack)}
            if tuple(named.values()) in seen:
                continue
            seen.add(tuple(named.values()))
            meant = summary[_meant(data, summary, wanted)]
            for _, row in worst_case(meant, by=[*PLACE[1:]]).iterrows():
                limits = {
                    "psnr_low": row["psnr_low"],
                    "psnr_high": row["psnr_high"],
                    "claim": claim.id,
                }
                rows.append({**row, **named, **limits, "source": "measured"})
    order = {stage: place for place, stage in enumerate(("untrained", "early", "late"))}
    return sorted(rows, key=lambda row: order[row["training_stage"]])


def _meant(data: StudyData, summary: pd.DataFrame, wanted: Selector) -> pd.Series[bool]:
    """Rows of the attacks and defenses that a selector means."""
    try:
        chosen = choose(data.study, "scores", wanted, Selector())
    except NotRunError:
        return pd.Series(False, index=summary.index)
    return summary["defense"].isin(chosen["defense"]) & summary["attack"].isin(chosen["attack"])


def draw(data: StudyData) -> Drawn:
    """Draw one heat map per published data set on its own ground, then one per place of ours."""
    table = plotted(data)
    if table.empty:
        return Drawn(TITLE, NO_LEDGER.capitalize(), table, style.nothing_to_draw(NO_LEDGER))
    groups = list(table.groupby(PLACE, sort=False, dropna=False))
    published = [group for group in groups if group[0][0] == "published"]
    ours = [group for group in groups if group[0][0] == "measured"]
    shown = published + ours[:MOST_PANELS]
    methods, rivals = ([*dict.fromkeys(table[name])] for name in ("method", "rival"))
    limits = (float(table[METRIC].min()), float(table[METRIC].max()))
    with style.study_style():
        rows = -(-len(published) // ACROSS) + -(-len(shown[len(published) :]) // ACROSS)
        width = max(style.WIDTH, 1.6 + ACROSS * CELL_WIDTH * len(rivals))
        figure, axes = style.panels(rows, ACROSS, width, CELL_HEIGHT * len(methods) + 1.25)
        flat = [panel for row in axes for panel in row]
        fill = (-len(published)) % ACROSS
        places = [*range(len(published)), *range(len(published) + fill, len(shown) + fill)]
        image: Any = None
        for place, (key, cells) in zip(places, shown, strict=True):
            image = _panel(flat[place], cells, methods, rivals, limits)
            flat[place].set_title(_title(key), fontsize=7.5)
            names = [label(name) for name in methods] if place % ACROSS == 0 else []
            flat[place].set_yticks(range(len(names)), names)
        for place in {*range(len(flat))} - {*places}:
            flat[place].set_axis_off()
        bar = figure.colorbar(image, ax=flat, shrink=0.6, aspect=24, pad=0.02)
        bar.set_label("Mean PSNR [dB] (darker: more leaked)")
        bar.outline.set_visible(False)
    return Drawn(TITLE, _caption(data, table, len(ours)), table, figure, alt=_alt(table))


def _title(key: tuple[Any, ...]) -> str:
    if key[0] == "published":
        return f"Published by others\n{label(str(key[1]))}"
    place = ", ".join(label(str(name)) for name in (key[1], key[2], key[4]))
    return f"Ours: {place}\n{str(key[3]).capitalize()} model"


def _panel(
    panel: Axes,
    cells: pd.DataFrame,
    methods: list[str],
    rivals: list[str],
    limits: tuple[float, float],
) -> Any:
    import seaborn as sns

    grid = np.full((len(methods), len(rivals)), np.nan)
    for _, row in cells.iterrows():
        grid[methods.index(row["method"]), rivals.index(row["rival"])] = row[METRIC]
    colours: Any = sns.color_palette("mako_r", as_cmap=True)
    image = panel.imshow(grid, cmap=colours, vmin=limits[0], vmax=limits[1], aspect="auto")
    for place in np.ndindex(*grid.shape):
        words, shade = "–", style.MUTED
        if not np.isnan(grid[place]):
            red, green, blue, _ = colours(image.norm(grid[place]))
            words, shade = number(float(grid[place])), style.text_on((red, green, blue))
        panel.text(place[1], place[0], words, ha="center", va="center", fontsize=6.5, color=shade)
    if (cells["source"] == "published").all():
        for spine in panel.spines.values():
            spine.set(visible=True, color=style.TINT, linewidth=5)
    names = [label(name).replace(" ", "\n", 1) for name in rivals]
    panel.set_xticks(range(len(names)), names, fontsize=6, rotation=45, ha="right")
    panel.grid(False)
    panel.tick_params(length=0)
    return image


def _caption(data: StudyData, table: pd.DataFrame, ours: int) -> str:
    measured = table[table["source"] == "measured"]
    more = (
        f" {ours - MOST_PANELS} more places of ours are in the data file."
        if ours > MOST_PANELS
        else ""
    )
    limits = (
        "Ours: attackers who do not know the defense, with the published settings, at every stage; a dash: not in this study."
        if ours
        else "No attack of this study meets a defense with the published settings."
    )
    return (
        f"Tinted frames: published numbers ({sources(claims_of(data)[:1])}) of a rerun by others, obtained during training on the "
        f"data named above each. {limits} Data, budgets and priors are others, so orders may be compared, heights may not.{more}"
        f"{synthetic_note(data, measured['dataset'])}"
    )


def _alt(table: pd.DataFrame) -> str:
    parts = []
    for key, cells in table.groupby(["source", "dataset"], sort=False):
        top = cells.sort_values(METRIC).dropna(subset=[METRIC]).tail(1)
        for _, row in top.iterrows():
            name = f"{label(row['rival'])} against {label(row['method']).lower()}"
            parts.append(f"{key[0]} on {label(str(key[1]))}: {name}, {number(row[METRIC])} dB")
    return f"Heat maps of mean PSNR by attack and defense. Highest: {'; '.join(parts)}."

"""How often the victim is among the k nearest of a gallery: cumulative match curves with Wilson bands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gradsiege.analysis.rates import clustered_wilson_interval
from gradsiege.analysis.worst_case import worst_case
from gradsiege.report import style
from gradsiege.report.data import Drawn, StudyData
from gradsiege.report.labels import label
from gradsiege.report.wording import number, percent, synthetic_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

VERSION = 2
TITLE = "Identification: is the victim among the k nearest?"
PLACE = ["dataset", "model", "training_stage", "protocol"]
ROW = [*PLACE, "defense", "attack", "threat_model"]
# By metric of the distance: the column of its ranks in the scores, and its name. The rates are `analysis.summary`'s.
RANKS = {"identified": ("rank", "pixels"), "identified_lpips": ("rank_lpips", "LPIPS")}
RATES = [f"{rate}{end}" for rate in RANKS for end in ("", "_low", "_high", "_n")]
COLUMNS = ["panel", *ROW, "kind", "k", *RATES, "chance", "victims", "rows", "failed"]
PANELS = {
    "attacks": "Attacks, no defense",
    "defenses": "Defenses, each under its best identifier",
}
MOST_ROWS = 6  # rows of panels; the rest is in the data file
MOST_BANDS = 4  # lines of a panel with bands; with more, bands hide the lines
STEPS = 24  # ranks at which a curve is taken, at most
NOTHING = "no attack finished."


def ranks_shown(gallery: int) -> list[int]:
    """Ranks from 1 to the gallery's size, evenly on a logarithmic axis.

    >>> ranks_shown(4)
    [1, 2, 3, 4]
    """
    return sorted({round(value) for value in np.geomspace(1, gallery, STEPS)})


def plotted(data: StudyData) -> pd.DataFrame:
    """One row per curve and k: share of images whose victim is among the k nearest, with Wilson's interval over victims.

    Nearest by pixels (`identified`) and, where its ranks are there, by LPIPS (`identified_lpips`). A failed image never counts as found. Panel `attacks`: every attack on undefended updates at its strongest threat
    model, and the controls; panel `defenses`: for each defense the attacker with the highest rate at k = 1.
    """
    summary = data.summary[data.summary["kind"] != "bound"]
    bare = data.undefended(summary)
    kinds = [
        worst_case(bare, metric="identified", by=[*PLACE, "attack"], kind=kind)
        for kind in ("attack", "control")
    ]
    chosen = {
        "attacks": pd.concat([kind for kind in kinds if len(kind)] or kinds),
        "defenses": worst_case(summary, metric="identified", by=[*PLACE, "defense"]),
    }
    cells = dict(list(data.scores.groupby(ROW, sort=False)))
    rows = [
        {"panel": panel, **line[[*ROW, "kind"]], **point}
        for panel, table in chosen.items()
        for _, line in table.iterrows()
        for point in _curve(cells[tuple(line[ROW])])
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _curve(rows: pd.DataFrame) -> list[dict[str, float]]:
    gallery = int(rows["gallery_size"].max())
    done = rows["status"].eq("complete")
    counts = {"victims": rows["victim"].nunique(), "rows": len(rows), "failed": int((~done).sum())}
    return [
        {"k": k, "chance": k / gallery, **counts}
        | _rate(rows, done, "identified", k)
        | _rate(rows, done, "identified_lpips", k)
        for k in ranks_shown(gallery)
    ]


def _rate(rows: pd.DataFrame, done: pd.Series[bool], name: str, k: int) -> dict[str, float]:
    """The share by one metric; nothing where no completed row has its rank."""
    ranks = rows.get(RANKS[name][0], pd.Series(np.nan, index=rows.index))
    if not ranks[done].notna().any():
        return {}
    # Cells may have been scored before the weights were there: their rows say nothing either way.
    known = ~done | ranks.notna()
    hits = done[known] & (ranks[known] <= k)
    rate = clustered_wilson_interval(hits.to_numpy(), rows.loc[known, "victim"].to_numpy())
    limits = {f"{name}_low": rate.low, f"{name}_high": rate.high}
    return {name: rate.estimate, **limits, f"{name}_n": rate.units}


def draw(data: StudyData) -> Drawn:
    """Draw attacks without defense beside defenses, a row of panels per place and metric of the distance."""
    table = plotted(data)
    attacked = table[table["kind"] == "attack"]
    groups = [
        (key, rate, part)
        for key, part in table[table["kind"] != "bound"].groupby(PLACE, sort=False)
        for rate in RANKS
        if part[rate].notna().any()
    ]
    if attacked.empty:
        return Drawn(TITLE, NOTHING.capitalize(), table, style.nothing_to_draw(NOTHING))
    shown = groups[:MOST_ROWS]
    with style.study_style():
        figure, axes = style.panels(len(shown), 2, style.WIDTH, 2.6)
        for row, (key, rate, part) in zip(axes, shown, strict=True):
            place = ", ".join(label(str(name)) for name in key)
            for panel, name in zip(row, PANELS, strict=True):
                _lines(panel, part[part["panel"] == name], data, by=name, rate=rate)
                panel.set_title(f"{place}\n{PANELS[name]}", fontsize=7.5)
            row[0].set_ylabel(f"Among the k nearest by {RANKS[rate][1]} [%]")
        for panel in axes[-1]:
            panel.set_xlabel("k")
        for side, title in enumerate(("Attacks", "Defenses")):
            _legend(figure, [row[side] for row in axes], title, ("left", "right")[side])
    return Drawn(TITLE, _caption(data, table, len(groups) - len(shown)), table, figure, alt=_alt(table))  # fmt: skip


def _legend(figure: Figure, axes: list[Axes], title: str, side: str) -> None:
    """Attacks and defenses may share a colour, so each column of panels has a legend of its own."""
    entries: dict[str, Any] = {}
    for panel in axes:
        for handle, text in zip(*panel.get_legend_handles_labels(), strict=True):
            entries.setdefault(text, handle)
    options: Any = {"loc": f"outside lower {side}", "ncols": 2, "handlelength": 3.0}
    figure.legend([*entries.values()], [*entries], title=title, alignment="left", **options)


def _lines(panel: Axes, part: pd.DataFrame, data: StudyData, *, by: str, rate: str) -> None:
    """One curve an attack or a defense; the diagonal of chance dashed."""
    field, section = ("attack", "attacks") if by == "attacks" else ("defense", "defenses")
    order = data.in_order(section, part[field])
    banded = sum(1 for name in order if not name.startswith("control_")) <= MOST_BANDS
    seen: dict[str, int] = {}
    for identifier in order:
        curve = part[part[field] == identifier]
        name = data.name_of(section, identifier)
        control = identifier.startswith("control_")
        turn = seen[name] = seen.get(name, -1) + 1
        options: Any = {"color": style.colour(name), "linewidth": 0.9 if control else 1.5}
        options["linestyle"] = (0, (3, 2)) if control else style.LINES[turn % len(style.LINES)]
        values = 100 * curve[rate]
        panel.plot(curve["k"], values, label=label(identifier, name), **options)
        if banded and not control:
            low, high = 100 * curve[f"{rate}_low"], 100 * curve[f"{rate}_high"]
            panel.fill_between(
                curve["k"], low, high, color=style.colour(name), alpha=0.12, linewidth=0
            )
    chance = part.drop_duplicates("k").sort_values("k")
    panel.plot(chance["k"], 100 * chance["chance"], color=style.MUTED, linewidth=0.8, linestyle=":", label="Chance")  # fmt: skip
    panel.set_xscale("log")
    panel.xaxis.set_major_formatter("{x:g}")
    panel.set_ylim(-3, 103)


def _caption(data: StudyData, table: pd.DataFrame, left_out: int) -> str:
    gallery = round(float((table["k"] / table["chance"]).max()))
    more = f" {left_out} more rows of panels are in the data file." if left_out else ""
    perceptual = (
        " Each place by pixels, then by LPIPS (AlexNet)."
        if table["identified_lpips"].notna().any()
        else ""
    )
    failed, rows = (int(table.loc[table["k"] == 1, name].sum()) for name in ("failed", "rows"))
    return (
        "Share of reconstructions whose true victim is among the k images of the gallery nearest to it; at k = 1 this is the "
        f"identification rate of the tables.{perceptual} The gallery holds up to {gallery} images, the victims among them; dotted: "
        "chance. Left: every attack on undefended updates at its strongest threat model, with the controls (dashed). Right: every defense under the attacker "
        "with the highest rate by pixels at k = 1. Bands (in the data file where there are many lines) are Wilson's 95 % intervals "
        f"over victims. {failed} of {rows} images failed and count as not found.{more}"
        f"{synthetic_note(data, table['dataset'])}"
    )


def _alt(table: pd.DataFrame) -> str:
    first = table[(table["k"] == 1) & (table["panel"] == "attacks") & (table["kind"] == "attack")]
    if first.empty:
        return "Cumulative match curves by defense."
    top = first.sort_values("identified").iloc[-1]
    limits = (
        f"[{number(100 * top['identified_low'], 0)}, {number(100 * top['identified_high'], 0)}]"
    )
    return (
        "Cumulative match curves. Highest identification rate on an undefended update: "
        f"{percent(top['identified'])} {limits}, by {label(str(top['attack']))}."
    )

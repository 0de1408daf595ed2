"""Attacks along axes of difficulty, beside published values, for `sweep_ssim` and `sweep_psnr`.

All published values come from the ledger of claims.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from gradsiege.analysis.claims.claim import Claim, Selector
from gradsiege.report import style
from gradsiege.report.data import Drawn, StudyData
from gradsiege.report.labels import label
from gradsiege.report.sweep_priors import WITH, WITHOUT, prior_points
from gradsiege.report.wording import INTERVAL, counts_note, joined, synthetic_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# By axis, in the order of the panels: its label. Those of a prior are made by `sweep_priors`.
AXES = {
    "batch": "Images in the batch",
    "noise": "Deviation of Gaussian noise on the update",
    "sparsity": "Coordinates of the update set to zero [%]",
    "epochs": "Rounds that the global model was trained",
    "fraction": "Share of the auxiliary images that the prior had [%]",
    "prior": "What scores the images",
}
METRICS = {"ssim": "SSIM", "psnr": "PSNR [dB]"}
COLUMNS = ["axis", "x", "series", "threat_model", "attack", "source"]
COLUMNS += ["value", "low", "high", "victims"]
OURS, PUBLISHED = "ours", "published"
SHIFT = {WITH: -0.07, WITHOUT: 0.07}


def places(
    images: int, smallest: int, defense: str, parameters: Mapping[str, Any], rounds: int
) -> Iterator[tuple[str, float]]:
    """Yield (axis, x) of every panel with this cell; the undefended, untrained cell with the fewest images is in all of them.

    >>> list(places(1, 1, "none", {}, 0))
    [('batch', 1), ('noise', 0.0), ('sparsity', 0.0), ('epochs', 0)]
    >>> list(places(1, 1, "gaussian", {"sigma": 0.1}, 0)), list(places(4, 1, "none", {}, 0))
    ([('noise', 0.1)], [('batch', 4)])
    """
    plain = rounds == 0 and defense == "none"
    if plain:
        yield "batch", images
    if images != smallest:
        return
    if rounds == 0 and (plain or defense == "gaussian"):
        yield "noise", float(parameters.get("sigma", 0.0))
    if rounds == 0 and (plain or defense == "sparsification"):
        yield "sparsity", float(parameters.get("percent", 0.0))
    if defense == "none":
        yield "epochs", rounds


def plotted(data: StudyData, metric: str) -> pd.DataFrame:
    """One row per point: ours, then published, then those of the priors."""
    ours = _varied([*_measured(data, metric)])
    axes = {row["axis"] for row in ours}
    known = [row for row in published(data.claims, metric) if row["axis"] in axes]
    rows = ours + known + prior_points(data, metric)
    return pd.DataFrame(rows).reindex(columns=COLUMNS)


def _measured(data: StudyData, metric: str) -> Iterator[dict[str, Any]]:
    """Every attack of the study in every panel that its cells stand in."""
    protocols = {str(item["id"]): int(item["images"]) for item in data.study.get("protocols", ())}
    defenses = {str(item["id"]): item for item in data.study.get("defenses", ())}
    federation = data.study.get("federation", {})
    turns = {"early": federation.get("early_round", 0), "late": federation.get("rounds", 0)}
    summary = data.summary
    known = summary["defense"].isin(defenses) & summary["protocol"].isin(protocols)
    for _, row in summary[(summary["kind"] == "attack") & known].iterrows():
        defense = defenses[row["defense"]]
        images, smallest = protocols[row["protocol"]], min(protocols.values())
        rounds = int(turns.get(row["training_stage"], 0))
        given = defense.get("parameters", {})
        for axis, x in places(images, smallest, defense["name"], given, rounds):
            yield {
                "axis": axis,
                "x": x,
                "series": series_of(data, row["attack"]),
                "threat_model": row["threat_model"],
                "attack": row["attack"],
                "source": OURS,
                "value": row[metric],
                "low": row[f"{metric}_low"],
                "high": row[f"{metric}_high"],
                "victims": row["victims"],
            }


def _varied(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the attacks with several points on an axis, which the study swept along it."""
    seen: dict[tuple[str, str], set[float]] = {}
    for row in rows:
        seen.setdefault((row["axis"], row["attack"]), set()).add(row["x"])
    return [row for row in rows if len(seen[row["axis"], row["attack"]]) > 1]


def series_of(data: StudyData, attack: str) -> str:
    """With or without the anomaly score, for an attack that has one; else the attack's own name."""
    item = next(candidate for candidate in data.study["attacks"] if candidate["id"] == attack)
    score = item.get("parameters", {}).get("anomaly_score", "")
    if score == "":
        return label(attack, item["name"])
    return WITHOUT if score == 0 else WITH


def published(claims: Iterator[Claim] | Any, metric: str) -> list[dict[str, Any]]:
    """Published values of the GI-PIP charts that the ledger holds, each once."""
    rows: dict[tuple[str, float, str], dict[str, Any]] = {}
    for claim in claims:
        if claim.paper != "GI-PIP" or claim.rule != "value_within" or not claim.points:
            continue
        for cells, name, value in claim.published():
            if name != metric:
                continue
            series = WITHOUT if _score(cells) == 0 else WITH
            for axis, x in places(*_setting(cells)):
                row = {"axis": axis, "x": x, "series": series, "attack": "", "source": PUBLISHED}
                rows.setdefault((axis, x, series), {**row, "value": value})
    return [*rows.values()]


def _score(cells: Selector) -> Any:
    return cells.attack.get("parameters", {}).get("anomaly_score")


def _setting(cells: Selector) -> tuple[int, int, str, Mapping[str, Any], int]:
    """Return the arguments of `places` from the cells of a claim; the charts begin at one image."""
    trained = cells.training_stage.get("name") == "late"
    rounds = int(cells.federation.get("rounds", 0)) if trained else 0
    parameters = cells.defense.get("parameters", {})
    images = int(cells.protocol.get("images", 1))
    return images, 1, str(cells.defense.get("name", "none")), parameters, rounds


def draw_metric(data: StudyData, metric: str, title: str) -> Drawn:
    """Draw one metric in one panel per axis."""
    table = plotted(data, metric)
    axes = [axis for axis in AXES if (table["axis"] == axis).any()]
    if not axes:
        reason = "the study sweeps no batch size, noise, sparsity, training or prior."
        return Drawn(
            title, reason.capitalize(), named(table, metric), style.nothing_to_draw(reason)
        )
    with style.study_style():
        figure, grid = style.panels(-(-len(axes) // 2), 2, style.WIDTH, 2.1)
        flat = [panel for row in grid for panel in row]
        for panel, axis in zip(flat, axes, strict=False):
            _panel(panel, table[table["axis"] == axis], axis)
            panel.set_ylabel(METRICS[metric])
        for panel in flat[len(axes) :]:
            panel.set_axis_off()
        style.legend_below(figure, flat)
    caption, alt = _caption(data, table, metric), _alt(table, axes, metric)
    return Drawn(title, caption, named(table, metric), figure, alt=alt)


def named(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The points with the metric's name on their numbers, as the data file has them."""
    ends = {"value": "", "low": "_low", "high": "_high"}
    return table.rename(columns={name: f"{metric}{end}" for name, end in ends.items()})


def _panel(panel: Axes, of_axis: pd.DataFrame, axis: str) -> None:
    """Draw the series of one axis, with equal steps between its values, except for rounds, which are to scale."""
    values = list(dict.fromkeys(of_axis["x"])) if axis == "prior" else sorted(set(of_axis["x"]))
    spaced = axis != "epochs"
    at = {x: place if spaced else x for place, x in enumerate(values)}
    for (source, series), part in of_axis.groupby(["source", "series"], sort=False):
        if axis != "prior":
            part = part.sort_values("x")
        _line(panel, [at[x] for x in part["x"]], part, str(source), str(series))
    if spaced:
        texts = [x if isinstance(x, str) else f"{x:g}" for x in values]
        panel.set_xticks(range(len(values)), texts, fontsize=6.5 if axis == "prior" else None)
        panel.set_xlim(-0.4, len(values) - 0.6)
    panel.set_xlabel(AXES[axis])


def _line(panel: Axes, places: list[Any], part: pd.DataFrame, source: str, series: str) -> None:
    """One series: ours filled with its bars, the published hollow and dotted, without."""
    method = "inverting_gradients" if series == WITHOUT else "gi_pip"
    colour, ours = style.colour(method), source == OURS
    joined_up = (part["axis"] != "prior").all() and len(part) > 1
    dashes: Any = "-" if series != WITHOUT else style.LINES[1]
    # Shifted, so that bars at one value do not overlap.
    shift = (
        SHIFT.get(series, 0.0)
        if ours and part["axis"].iloc[0] in ("batch", "noise", "sparsity")
        else 0.0
    )
    error = [(part["value"] - part["low"]), (part["high"] - part["value"])]
    panel.errorbar(
        [place + shift for place in places],
        part["value"],
        yerr=[side.fillna(0.0).clip(lower=0) for side in error] if ours else None,
        color=colour,
        alpha=1.0 if ours else 0.55,
        marker=style.marker(method),
        markerfacecolor=colour if ours else style.PAPER,
        markersize=4.5,
        linestyle=(dashes if ours else (0, (1, 1.6))) if joined_up else "",
        linewidth=1.5 if ours else 1.1,
        capsize=2.5,
        elinewidth=0.9,
        label=series if ours else f"published, {series} (other data)",
        zorder=3 if ours else 2,
    )


def _caption(data: StudyData, table: pd.DataFrame, metric: str) -> str:
    ours = table[table["source"] == OURS]
    sources = [claim.source for claim in data.claims if claim.paper == "GI-PIP"]
    beside = (
        f" Hollow markers: published values ({sources[0]}; charts shipped with the code, read by eye), measured on other "
        "data, another network and a larger budget, so that shapes may be compared and heights may not."
        if (table["source"] == PUBLISHED).any()
        else ""
    )
    none = "" if metric == "ssim" or beside else " The charts of the paper give no PSNR."
    cells = data.summary[data.summary["attack"].isin(ours["attack"])]
    return (
        f"Mean {METRICS[metric].removesuffix(' [dB]')} of the reconstructions; higher means more leaked. Both series have "
        "the same total variation, step and budget, and differ by the anomaly score alone. Along each axis all else is as "
        f"at its origin: undefended, untrained, the smallest batch, all auxiliary images.{beside}{none} {INTERVAL}"
        f"{counts_note(cells)}{synthetic_note(data, cells['dataset'])}"
    )


def _alt(table: pd.DataFrame, axes: list[str], metric: str) -> str:
    ours = table[(table["source"] == OURS) & table["value"].notna()]
    ends = []
    for axis in axes:
        of_series = ours[(ours["axis"] == axis) & (ours["series"] == WITH)]
        if len(of_series) > 1:
            first, last = of_series["value"].iloc[0], of_series["value"].iloc[-1]
            ends.append(f"{AXES[axis].lower()}: {first:.3g} to {last:.3g}")
    text = joined(ends) if ends else "no series of several points"
    return f"{METRICS[metric]} of attacks along {len(axes)} axes. With the anomaly score, {text}."

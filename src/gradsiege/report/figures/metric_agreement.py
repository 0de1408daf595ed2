"""Do the metrics rank leaks alike? Rank correlations over all victims and attacks (asked by Sun et al., SemSim, 2023)."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gradsiege.metrics.registry import METRICS
from gradsiege.report import style
from gradsiege.report.data import Drawn, StudyData
from gradsiege.report.wording import joined, number, synthetic_note
from gradsiege.seeds import numpy_generator

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

VERSION = 3
TITLE = "Do the metrics agree?"
SCOPES = {"all": "Over all reconstructions", "victim": "Between attacks on one image"}
IMAGE = ["dataset", "victim", "image", "seed"]
CLUSTER = ["dataset", "victim"]
RANKS = {"retrieval": "rank", "retrieval_lpips": "rank_lpips"}
# MSE is left out: it ranks exactly as PSNR does.
IMAGE_METRICS = {name: metric for name, metric in METRICS.items() if name != "mse"}
NAMES = {name: metric.label for name, metric in IMAGE_METRICS.items()} | {
    "retrieval": "Retrieval rank",
    "retrieval_lpips": "Retrieval rank (LPIPS)",
}
COLUMNS = [
    "scope",
    "first",
    "second",
    "correlation",
    "correlation_low",
    "correlation_high",
    "rows",
    "victims",
]
RESAMPLES = 500
FEWEST = 3  # rows that a correlation takes, and attacks that an image takes to be compared
NOTHING = "fewer than two metrics were measured, or too few attacks finished."


def plotted(data: StudyData) -> pd.DataFrame:
    """One row per scope and pair of metrics: Spearman's correlation, its interval over victims, and what it rests on.

    Every metric is turned so that more is more leakage. Within the scope `victim`, ranks are taken among the
    attacks on one image, so that easy images cannot make metrics agree.
    """
    scores = data.scores
    done = scores[(scores["kind"] == "attack") & (scores["status"] == "complete")]
    values = _oriented(done)
    clusters = done.groupby(CLUSTER).ngroup().to_numpy()
    rows = []
    for scope in SCOPES:
        for first, second in combinations(values.columns, 2):
            pair = values[[first, second]].dropna()
            ranks = _ranks(pair, done.loc[pair.index, IMAGE] if scope == "victim" else None)
            if len(ranks) >= FEWEST:
                cluster_of = clusters[done.index.get_indexer(ranks.index)]
                correlation = _correlation(ranks.to_numpy(), cluster_of, (scope, first, second))
                rows.append(
                    [scope, first, second, *correlation, len(ranks), len(np.unique(cluster_of))]
                )
    return pd.DataFrame(rows, columns=COLUMNS)


def _oriented(done: pd.DataFrame) -> pd.DataFrame:
    """The measured metrics, higher for more leakage; those without two different values are left out."""
    columns = {
        name: done[name].astype(float) * (1 if metric.higher_is_better else -1)
        for name, metric in IMAGE_METRICS.items()
        if name in done
    }
    for name, column in RANKS.items():
        if column in done:
            columns[name] = -done[column].astype(float) / done["gallery_size"].astype(float)
    table = pd.DataFrame(columns, index=done.index)
    return table.loc[:, table.nunique() > 1]


def _ranks(pair: pd.DataFrame, images: pd.DataFrame | None) -> pd.DataFrame:
    """Centred ranks, ties shared: over all rows, or among the rows of one image (images of few rows are left out)."""
    if images is None:
        return pair.rank() - (len(pair) + 1) / 2
    keys = [images[name] for name in IMAGE]
    sizes = pair.iloc[:, 0].groupby(keys).transform("size")
    ranks = pair.groupby(keys).rank().sub((sizes + 1) / 2, axis=0).div(sizes, axis=0)
    return ranks[sizes >= FEWEST]


def _correlation(
    ranks: NDArray[np.float64], clusters: NDArray[Any], names: tuple[str, ...]
) -> tuple[float, float, float]:
    """Pearson's correlation of the ranks, and its percentile interval over resampled victims."""
    x, y = ranks.T
    index = np.unique(clusters, return_inverse=True)[1]
    products = (np.ones_like(x), x, y, x * x, y * y, x * y)
    sums = np.stack([np.bincount(index, product) for product in products])
    draws = numpy_generator(0, "metric_agreement", *names)
    count = sums.shape[1]
    weights = draws.multinomial(count, np.full(count, 1 / count), RESAMPLES).T
    estimate = float(_pearson(sums.sum(1, keepdims=True))[0])
    again = _pearson(sums @ weights)
    again = again[np.isfinite(again)]
    if count < 2 or not len(again):
        return estimate, np.nan, np.nan
    low, high = np.quantile(again, [0.025, 0.975])
    return estimate, float(low), float(high)


def _pearson(sums: NDArray[Any]) -> NDArray[np.float64]:
    """Correlation from counts, sums, sums of squares and of products, one column per sample; NaN without spread."""
    n, x, y, xx, yy, xy = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.sqrt((n * xx - x * x) * (n * yy - y * y))
        return np.where(spread > 0, (n * xy - x * y) / spread, np.nan)


def draw(data: StudyData) -> Drawn:
    """Draw one triangle of correlations per scope, one below the other: beside each other their intervals would not fit the cells."""
    table = plotted(data)
    if table.empty:
        return Drawn(TITLE, NOTHING.capitalize(), table, style.nothing_to_draw(NOTHING))
    present = [scope for scope in SCOPES if (table["scope"] == scope).any()]
    metrics = list(dict.fromkeys([*table["first"], *table["second"]]))
    with style.study_style():
        height = 0.42 * len(metrics) + 1.0
        figure, axes = style.panels(len(present), 1, style.WIDTH, max(height, 2.0))
        column = [row[0] for row in axes]
        image: Any = None
        for place, (panel, scope) in enumerate(zip(column, present, strict=True)):
            pairs = table[table["scope"] == scope]
            image = _triangle(panel, pairs, metrics, named=place == len(present) - 1)
            panel.set_title(SCOPES[scope])
        bar = figure.colorbar(image, ax=column, shrink=0.5, aspect=18, pad=0.02)
        bar.set_label("Rank correlation")
        bar.outline.set_visible(False)
    return Drawn(TITLE, _caption(data, table, metrics), table, figure, alt=_alt(table))


def _triangle(panel: Axes, pairs: pd.DataFrame, metrics: list[str], *, named: bool) -> Any:
    """The lower triangle: number and interval in every cell; `named` says below it what its columns are."""
    import seaborn as sns

    colours: Any = sns.color_palette("vlag_r", as_cmap=True)
    grid = np.full((len(metrics) - 1, len(metrics) - 1), np.nan)
    for _, row in pairs.iterrows():
        grid[metrics.index(row["second"]) - 1, metrics.index(row["first"])] = row["correlation"]
    image = panel.imshow(grid, cmap=colours, vmin=-1, vmax=1, aspect="auto")
    for _, row in pairs.iterrows():
        place = metrics.index(row["first"]), metrics.index(row["second"]) - 1
        red, green, blue, _ = colours(image.norm(row["correlation"]))
        limits = f"\n[{number(row['correlation_low'], 2)}, {number(row['correlation_high'], 2)}]"
        words = number(row["correlation"], 2) + ("" if np.isnan(row["correlation_low"]) else limits)
        shade = style.text_on((red, green, blue))
        panel.text(*place, words, ha="center", va="center", fontsize=7, color=shade)
    names = [NAMES[metric] for metric in metrics]
    below = names[:-1] if named else [""] * (len(names) - 1)
    panel.set_xticks(range(len(names) - 1), below, rotation=30, ha="right")
    panel.set_yticks(range(len(names) - 1), names[1:])
    panel.grid(False)
    panel.tick_params(length=0)
    for spine in panel.spines.values():
        spine.set_visible(False)
    return image


def _caption(data: StudyData, table: pd.DataFrame, metrics: list[str]) -> str:
    absent = [name for metric, name in NAMES.items() if metric not in metrics]
    left_out = f" {joined(absent)} had no values in this study." if absent else ""
    rows, victims = int(table["rows"].max()), int(table["victims"].max())
    return (
        "Spearman's rank correlation between metrics, each turned so that more is more leakage: 1 where two metrics rank "
        "reconstructions alike. First over everything; where there is a second panel, among the attacks on one and the same "
        "image, where an image that is easy to every attack counts for nothing. The retrieval rank is that of the true "
        "victim in the gallery. Brackets are 95 % percentile intervals over victims. "
        f"n = {rows} reconstructions of {victims} victims.{left_out}{synthetic_note(data, data.scores['dataset'])}"
    )


def _alt(table: pd.DataFrame) -> str:
    least = table.sort_values("correlation").iloc[0]
    most = table.sort_values("correlation").iloc[-1]
    words = [
        f"{NAMES[pair['first']]} and {NAMES[pair['second']]} ({number(pair['correlation'], 2)})"
        for pair in (most, least)
    ]
    return f"Triangle of rank correlations between metrics, highest for {words[0]}, lowest for {words[1]}."

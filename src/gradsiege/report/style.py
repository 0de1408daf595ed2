"""One look for every figure: seaborn style, and a fixed colour and marker for every method.

Colours are those of Okabe and Ito (2008) for the methods that most figures show, and of Paul Tol
(technical note SRON/EPS/TN/09-002) for the others: both are told apart with colour-vision
deficiency. A second cue (marker, line style, text) always goes with the colour.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAPER = "#ffffff"
INK = "#22272e"
MUTED = "#5d6773"
GRID = "#e4e8ed"
HATCH = "#c4cbd3"
TINT = "#f5f1e6"  # behind published numbers, and nothing else
FAINT = "#d5dae0"  # points that are there for comparison
# The interval of the strongest attack on no defense; the floor, its line and its interval; verdicts.
BAND, FLOOR, FLOOR_BAND = "#e8ebef", "#7a4ea3", "#efe6f7"
SURVIVES, BROKEN = "#00684b", "#a8420a"
WIDTH = 7.2  # inches: a two-column page
CONTROL_GREYS = ("#6e7781", "#8c959f", "#a0a8b1", "#848d97")

# name: (colour, marker)
ATTACKS = {
    "inverting_gradients": ("#0072b2", "o"),
    "gi_pip": ("#d55e00", "s"),
    "gifd": ("#009e73", "^"),
    "gias": ("#cc79a7", "D"),
    "ggl": ("#e69f00", "v"),
    "modern_inverting_gradients": ("#56b4e9", "P"),
    "dlg": ("#882255", "X"),
    "idlg": ("#aa4499", "<"),
    "gradinversion": ("#4a3fb0", ">"),
    "deep_image_prior": ("#999933", "h"),
    "learned_inversion": ("#117733", "*"),
}
CONTROLS = {
    "control_random": (CONTROL_GREYS[0], "x"),
    "control_class_mean": (CONTROL_GREYS[1], "+"),
    "control_aux_draw": (CONTROL_GREYS[2], "1"),
    "control_nearest_aux": (CONTROL_GREYS[3], "2"),
}
DEFENSES = {
    "none": ("#3d444d", "o"),
    "tip": ("#d55e00", "s"),
    "shadow": ("#009e73", "^"),
    "gaussian": ("#0072b2", "D"),
    "dp_sgd": ("#cc79a7", "v"),
    "soteria": ("#e69f00", "P"),
    "precode": ("#56b4e9", "X"),
    "laplace": ("#4a3fb0", "<"),
    "clipping": ("#882255", ">"),
    "sparsification": ("#999933", "h"),
    "top_k": ("#117733", "p"),
    "sign": ("#aa4499", "8"),
    "quantization": ("#44aa99", "d"),
    "ats": ("#cc6677", "H"),
    "censor": ("#6699cc", "*"),
    "agp": ("#997700", "o"),
    "tip_dp": ("#661100", "X"),
}
METHODS = {**ATTACKS, **CONTROLS, **DEFENSES}
_SPARE = ("#44aa99", "#cc6677", "#6699cc", "#997700")
LINES = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (5, 1.2, 1, 1.2)), (0, (3, 3)))


def colour(name: str) -> str:
    """Return the colour of a method, the same in every figure; an unlisted name always gets the same spare colour.

    >>> colour("gi_pip"), colour("none")
    ('#d55e00', '#3d444d')
    """
    return METHODS[name][0] if name in METHODS else _SPARE[zlib.crc32(name.encode()) % len(_SPARE)]


def marker(name: str) -> str:
    """Marker of a method, the same in every figure.

    >>> marker("inverting_gradients")
    'o'
    """
    return METHODS[name][1] if name in METHODS else "o"


@contextmanager
def study_style() -> Iterator[None]:
    """Set fonts, grid and colours of the study within this block, and restore the old ones afterwards."""
    import matplotlib as mpl
    import seaborn as sns

    theme: Any = {
        **sns.axes_style("ticks"),
        **sns.plotting_context("paper"),
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 8.0,
        "axes.titlesize": 8.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelsize": 8.0,
        "xtick.labelsize": 7.5,
        "ytick.labelsize": 7.5,
        "legend.fontsize": 7.5,
        "legend.frameon": False,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.titlecolor": INK,
        "axes.edgecolor": MUTED,
        "axes.linewidth": 0.7,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.color": GRID,
        "grid.linewidth": 0.7,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "xtick.major.size": 3,
        "ytick.major.size": 3,
        "xtick.major.width": 0.7,
        "ytick.major.width": 0.7,
        "lines.linewidth": 1.5,
        "lines.markersize": 5,
        "patch.linewidth": 0.6,
        "figure.facecolor": PAPER,
        "axes.facecolor": PAPER,
        "savefig.facecolor": PAPER,
        "hatch.color": HATCH,
        "hatch.linewidth": 0.6,
    }
    with mpl.rc_context(theme):
        yield


def new_figure(width: float = WIDTH, height: float = 3.2, layout: Any = None) -> Figure:
    """Return a figure without global state, which frees its memory (sizes in inches)."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout=layout)


def nothing_to_draw(reason: str) -> Figure:
    """Return a placeholder figure for missing data, with the reason."""
    with study_style():
        figure = new_figure(height=1.3)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(visible=True, color=GRID)
        figure.text(0.5, 0.5, f"Not drawn: {reason}", ha="center", va="center", color=MUTED)
    return figure


def panels(rows: int, columns: int, width: float, height: float) -> tuple[Figure, list[list[Axes]]]:
    """A grid of axes, each row `height` inches high, with room for a legend below."""
    figure = new_figure(width, rows * height + 0.3, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, [list(row) for row in axes]


def legend_below(figure: Figure, axes: list[Axes], columns: int = 4) -> None:
    """One legend for the whole figure, under it, each entry once."""
    from matplotlib.container import ErrorbarContainer

    entries: dict[str, Any] = {}
    for panel in axes:
        for handle, text in zip(*panel.get_legend_handles_labels(), strict=True):
            line = handle[0] if isinstance(handle, ErrorbarContainer) else handle
            entries.setdefault(text, line)
    if entries:
        figure.legend(
            list(entries.values()),
            list(entries),
            loc="outside lower center",
            ncols=min(columns, len(entries)),
            handlelength=3.6,
            columnspacing=1.6,
        )


def outlined(width: float = 2.0) -> list[Any]:
    """Return path effects that keep text readable where it crosses a line."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=width, foreground=PAPER)]


def spread(
    values: list[float], gap: float, low: float = -math.inf, high: float = math.inf
) -> list[float]:
    """Push values apart until neighbours differ by `gap`, in order, as little as possible (least squares), within limits.

    Without gaps this is isotonic regression, by pooling adjacent violators (Barlow et al., 1972). Raises ValueError if
    the limits leave too little room.

    >>> spread([10.0, 10.5, 14.0], 1.0)
    [9.75, 10.75, 14.0]
    >>> spread([0.0, 0.1, 0.2], 1.0, low=0.0)
    [0.0, 1.0, 2.0]
    """
    room = (len(values) - 1) * gap
    if room > high - low + 1e-9:
        raise ValueError(f"{len(values)} values {gap} apart do not fit between {low} and {high}")
    order = sorted(range(len(values)), key=lambda index: values[index])
    pools: list[list[float]] = []  # (mean, count) of values that move together, gaps taken out
    for place, index in enumerate(order):
        pools.append([values[index] - place * gap, 1.0])
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (mean, count), (other, more) = pools[-2], pools.pop()
            pools[-1] = [(mean * count + other * more) / (count + more), count + more]
    means = [mean for mean, count in pools for _ in range(int(count))]
    moved = list(values)
    for place, index in enumerate(order):
        moved[index] = min(max(means[place], low), high - room) + place * gap
    return moved


def text_on(rgb: tuple[float, float, float]) -> str:
    """Dark or light text, whichever has the higher WCAG contrast on a colour in [0, 1].

    >>> text_on((1.0, 1.0, 1.0)), text_on((0.0, 0.0, 0.2))
    ('#101419', '#fdfdfe')
    """
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#101419" if (luminance + 0.05) / 0.057 > 1.04 / (luminance + 0.05) else "#fdfdfe"

"""Which channels a defense changes among all of the network, and the spectra of their kernels before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gradsiege.report import style
from gradsiege.report.data import CELL_KEY, Drawn, StudyData
from gradsiege.report.tip_explained import MOMENTS, NOTHING, RULE, Explained, explained_cells
from gradsiege.report.wording import number, percent, synthetic_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VERSION = 2
REQUIRES = ("federate", "observe", "score")
TITLE = "Channels that the defense changes, and their spectra"
MOST_CELLS = 6
# Names of the data file, where every quantity has one name in all tables.
NAMES = {"change": "channel_change", **{moment: f"power_{moment}" for moment in MOMENTS}}
COLUMNS = [*CELL_KEY, "layer", "channel", "vertical", "horizontal", "coefficient", *NAMES.values()]


def of_channels(cell: Explained) -> pd.DataFrame:
    """One row per channel: its Grad-CAM coefficient and the l2 norm of its change, for the first victim."""
    parts = []
    for place, layer in enumerate(cell.layers()):
        part = pd.DataFrame({"change": cell.arrays[f"change.{layer}"][0]})
        part["coefficient"] = cell.arrays[f"coefficient.{layer}"][0]
        parts.append(part.assign(layer=layer, place=place, channel=range(len(part))))
    return pd.concat(parts, ignore_index=True)


def changed(cell: Explained) -> bool:
    """Whether the defense changed a convolution of the first victim, and left it finite."""
    change = of_channels(cell)["change"]
    return bool(change.any() and np.isfinite(change).all())


def shown_layer(cell: Explained) -> str:
    """The middle one of the convolutions that the defense changed."""
    changed_layers = [layer for layer in cell.layers() if cell.arrays[f"change.{layer}"][0].any()]
    return changed_layers[len(changed_layers) // 2]


def of_spectrum(cell: Explained) -> pd.DataFrame:
    """One row per spatial frequency of the shown layer: mean power of its changed kernels, before and after."""
    layer = shown_layer(cell)
    powers = {moment: cell.arrays[f"spectrum.{moment}.{layer}"][0] for moment in MOMENTS}
    side = len(powers["before"])
    frequency = np.arange(side) - side // 2
    table = pd.DataFrame({moment: power.ravel() for moment, power in powers.items()})
    table["vertical"], table["horizontal"] = np.repeat(frequency, side), np.tile(frequency, side)
    return table.assign(layer=layer)


def plotted(cells: list[Explained]) -> pd.DataFrame:
    """Rows of channels and rows of frequencies, each with the columns that it has."""
    parts = [
        part.assign(**cell.ids) for cell in cells for part in (of_channels(cell), of_spectrum(cell))
    ]
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    return table.rename(columns=NAMES).reindex(columns=COLUMNS)


def draw(data: StudyData) -> Drawn:
    """Draw a row per defense: every channel by layer and coefficient, then the two spectra of one layer."""
    explained = [
        explained_cell for explained_cell in explained_cells(data) if changed(explained_cell)
    ]
    cells = explained[:MOST_CELLS]
    table = plotted(cells)
    if not cells:
        reason = "no defense changed a convolution of an explained victim."
        reason = reason if data.explanations else NOTHING
        return Drawn(TITLE, f"Not drawn: {reason}", table, style.nothing_to_draw(reason))
    with style.study_style():
        figure = style.new_figure(style.WIDTH, 2.2 * len(cells) + 0.2, layout="constrained")
        ratios = {"width_ratios": [2.6, 1, 1]}
        axes = figure.subplots(len(cells), 3, squeeze=False, gridspec_kw=ratios)
        for row, explained_cell in zip(axes, cells, strict=True):
            _channels(
                row[0],
                explained_cell,
                style.colour(data.name_of("defenses", explained_cell.cell["defense"])),
            )
            _spectra(list(row[1:]), explained_cell)
    caption = _caption(data, cells, len(explained) - len(cells))
    return Drawn(TITLE, caption, table, figure, alt=_alt(cells))


def _channels(panel: Axes, cell: Explained, colour: str) -> None:
    """A dot a channel; those of a layer are scaled to its largest coefficient."""
    from matplotlib.ticker import MaxNLocator

    table = of_channels(cell)
    largest = table.groupby("place")["coefficient"].transform(
        lambda coefficients: coefficients.abs().max()
    )
    # A layer without any gradient stays on the line of zero.
    height = (table["coefficient"] / largest.where(largest > 0, 1.0)).to_numpy()
    touched = (table["change"] > 0).to_numpy()
    for flags, options in (
        (~touched, {"color": style.HATCH, "label": "untouched", "zorder": 2}),
        (touched, {"color": colour, "label": "changed", "zorder": 3}),
    ):
        # Channels of a layer are spread over its width in their own order.
        spread = 0.7 * (
            table["channel"] / table.groupby("place")["channel"].transform("size") - 0.5
        )
        across = (table["place"] + 1 + spread).to_numpy()
        drawn: Any = options
        panel.scatter(across[flags], height[flags], s=5, linewidths=0, rasterized=True, **drawn)
    panel.set_title(", ".join(cell.lines))
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.set_xlabel("Convolution, in the order of the network")
    panel.set_ylabel("Coefficient / largest of layer")
    panel.legend(loc="lower left", ncols=2, fontsize=6.5, handletextpad=0.1, markerscale=2)


def _spectra(panels: list[Axes], cell: Explained) -> None:
    """Both spectra on one logarithmic scale, the power written into every frequency."""
    import seaborn as sns
    from matplotlib.colors import LogNorm

    table = of_spectrum(cell)
    side = int(np.sqrt(len(table)))
    powers = table[list(MOMENTS)].to_numpy()
    high = max(float(powers.max()), 1e-12)
    # Two decades or more, so that powers that are nearly equal look so, and not all like the darkest.
    low = min(max(float(powers.min()), 1e-6 * high), 3e-2 * high)
    scale = LogNorm(low, 3 * high, clip=True)
    colours: Any = sns.color_palette("mako_r", as_cmap=True)
    for panel, moment in zip(panels, MOMENTS, strict=True):
        power: NDArray[np.float64] = table[moment].to_numpy().reshape(side, side)
        panel.imshow(power, cmap=colours, norm=scale)
        for (row, column), value in np.ndenumerate(power):
            red, green, blue, _ = colours(float(scale(value)))
            panel.text(
                column,
                row,
                f"{value:.2g}",
                ha="center",
                va="center",
                fontsize=5.5 if side <= 3 else 4,
                color=style.text_on((red, green, blue)),
            )
        ticks = [str(frequency) for frequency in np.arange(side) - side // 2]
        panel.set_xticks(range(side), ticks)
        panel.set_yticks(range(side), ticks)
        panel.grid(False)
        panel.set_title(moment.capitalize())
        panel.set_xlabel(shown_layer(cell), fontsize=6)


def _caption(data: StudyData, cells: list[Explained], left_out: int) -> str:
    text = (
        "Left: every channel of every convolution, for the first image of the first victim; its "
        "height is Grad-CAM's coefficient for that image, and colour marks channels whose weights "
        "the defense changed (with several images a client may rank by others, too). Right: mean "
        "power of each spatial frequency over the kernels of the changed channels, of the middle "
        f"one of the changed convolutions, frequency zero in the centre, before and after. {RULE}"
    )
    if left_out:
        text += f" {left_out} more of the study's cells are not drawn (at most {MOST_CELLS})."
    return text + synthetic_note(data, [explained_cell.cell["dataset"] for explained_cell in cells])


def _alt(cells: list[Explained]) -> str:
    parts = []
    for cell in cells:
        table, power = of_channels(cell), of_spectrum(cell)
        centre = (power["vertical"] == 0) & (power["horizontal"] == 0)
        gains = power["after"] / power["before"]
        parts.append(
            f"{', '.join(cell.lines)}: {percent(float((table['change'] > 0).mean()))} of channels "
            f"changed, power times {number(float(gains[centre].mean()), 2)} at frequency zero and "
            f"{number(float(gains[~centre].mean()), 2)} elsewhere"
        )
    return f"Dots of channels by layer, and spectra. {'; '.join(parts)}."

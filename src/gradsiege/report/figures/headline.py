"""What each defense leaves to each sort of attacker: a line per defense setting, ranked, between no defense and the label lookup."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gradsiege.report import style
from gradsiege.report.data import Drawn, StudyData
from gradsiege.report.derived import SETTING, attackers
from gradsiege.report.labels import label
from gradsiege.report.protection_words import attempts_note
from gradsiege.report.tidy import tidy
from gradsiege.report.wording import INTERVAL, number, percent, synthetic_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

VERSION = 7
TITLE = "What defenses leave to their attackers"
ROW_HEIGHT, HEAD, FOOT = 0.27, 0.55, 0.75  # inches
# By role: words, colour, marker, vertical offset in rows.
DOTS = {
    "non_adaptive": ("Blind", "#0072b2", "o", -0.22),
    "generic": ("Generic counter", "#e69f00", "D", 0.0),
    "best_informed": ("Best informed", "#d55e00", "s", 0.22),
}
HITS = ("#009e73", "^")
BLOCKS = {1.0: "", 0.5: "accuracy unknown", 0.0: "accuracy not equal"}
BLOCK_HEAD = 0.75  # rows that the words of a block take
# The chart shows verdicts that decide nothing in grey, and a protection in part in plain ink.
INKS = {
    "survives": style.SURVIVES,
    "does not survive": style.BROKEN,
    "undecided": style.MUTED,
    "untested": style.MUTED,
}
RANK_PAD = 17  # points between the names and the axis, for the ranks
BASELINE = "baseline"
Span = tuple[float, float, float]


@dataclass(frozen=True)
class Line:
    """One defense setting: its name, block of accuracy, rank, verdict, and (value, low, high) by role.

    hits, chance: the highest identification rate, and that of a guess; bands: no defense and the floor in its place.
    """

    defense: str
    block: float
    rank: float
    verdict: str
    dots: dict[str, Span]
    hits: Span | None
    chance: float
    bands: dict[str, Span]


def draw(data: StudyData) -> Drawn:
    """Draw a panel for each data set and model."""
    table = data.once(attackers)
    if table.empty or (table["verdict"] == "baseline").all():
        figure = style.nothing_to_draw("the study attacked no defense.")
        return Drawn(TITLE, "No defense was attacked.", pd.DataFrame(columns=SETTING), figure)
    parts = panels(tidy(table), lambda name: label(name, data.name_of("defenses", name)))
    caption = _caption() + attempts_note(table) + synthetic_note(data, table["dataset"])
    return Drawn(TITLE, caption, table, sheet(parts), alt=_alt(parts))


def panels(long: pd.DataFrame, name: Callable[[str], str] = label) -> dict[str, list[Line]]:
    """Return the lines by "data set, model", in the order of the table.

    long: the measurements of `table_headline`, as in its data file; name: the words for a defense's id.
    """
    parts: dict[str, list[Line]] = {}
    for ids, rows in long.groupby(["dataset", "model", "defense"], sort=False):
        dataset, model, defense = map(str, ids)
        line = _line(rows, name(defense))
        if line.dots and (line.verdict != BASELINE or not np.isnan(line.rank)):
            parts.setdefault(f"{label(dataset)}, {label(model)}", []).append(line)
    return {head: sorted(lines, key=_order) for head, lines in parts.items()}


def _order(line: Line) -> tuple[bool, float, float]:
    """Ranked settings by rank, then blocks of accuracy in the order of the table."""
    return np.isnan(line.rank), -line.block, 0.0 if np.isnan(line.rank) else line.rank


def _line(rows: pd.DataFrame, defense: str) -> Line:
    dots = {role: _best(rows, role, "psnr") for role in DOTS}
    # Tables of older runs name every informed attacker and none of them the best, and know no generic counter.
    if dots["generic"] is None:
        dots["best_informed"] = dots["best_informed"] or _best(rows, "adaptive", "psnr")
    verdicts = rows.loc[rows["quantity"] == "verdict", "text"]
    verdict = str(verdicts.iloc[0]) if len(verdicts) else ""
    if verdict == BASELINE:
        dots = {"non_adaptive": dots["non_adaptive"]}  # there is nothing to know
    bands = {role: _best(rows, role, "psnr") for role in ("no_defense", "floor")}
    chance = _best(rows, "worst_identified", "identified_chance")
    comparable = rows.loc[rows["quantity"] == "comparable", "value"]
    ranks = rows.loc[rows["quantity"] == "rank", "value"]
    return Line(
        defense,
        block=float(comparable.iloc[0]) if len(comparable) else 0.5,
        rank=float(ranks.iloc[0]) if len(ranks) else float("nan"),
        verdict=verdict,
        dots={role: span for role, span in dots.items() if span},
        hits=_best(rows, "worst_identified", "identified"),
        chance=chance[0] if chance else float("nan"),
        bands={role: span for role, span in bands.items() if span},
    )


def _best(rows: pd.DataFrame, role: str, quantity: str) -> Span | None:
    """Return the largest value of a quantity among a role's attackers, with its limits."""
    values = rows[(rows["role"] == role) & (rows["quantity"] == quantity)]
    if values.empty:
        return None
    best = values.iloc[int(values["value"].astype("float64").argmax())]
    return float(best["value"]), float(best["low"]), float(best["high"])


def sheet(parts: dict[str, list[Line]]) -> Figure:
    """Draw every panel, as high as it has lines, and one legend."""
    from matplotlib.ticker import MaxNLocator

    sizes = [heights(lines)[-1] + 1.4 for lines in parts.values()]
    height = HEAD * len(parts) + ROW_HEIGHT * sum(sizes) + FOOT
    with style.study_style():
        figure = style.new_figure(style.WIDTH + 1.0, height, layout="constrained")
        axes = figure.subplots(
            len(parts),
            2,
            squeeze=False,
            sharex="col",
            gridspec_kw={"height_ratios": sizes, "width_ratios": (3.4, 1)},
        )
        for (left, right), (head, lines) in zip(axes, parts.items(), strict=True):
            _fidelity(left, head, lines)
            _identification(right, lines)
        for left, right in axes[-1:]:
            left.set_xlabel("Mean PSNR [dB] (to the right: more leaked)")
            left.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
            right.set_xlabel("Identified [%]")
        style.legend_below(figure, [*axes[:, 0], *axes[:, 1]], columns=4)
    return figure


def _fidelity(panel: Axes, head: str, lines: list[Line]) -> None:
    """The dots of every setting between the bands of no defense and of the floor."""
    panel.set_title(head)
    _bands(panel, lines)
    for place, line in zip(heights(lines), lines, strict=True):
        values = [span[0] for span in line.dots.values()]
        panel.plot(
            [min(values), max(values)],
            [place, place],
            color=style.HATCH,
            linewidth=3,
            zorder=2,
            solid_capstyle="round",
            label="From blind to informed",
        )
        for role, span in line.dots.items():
            words, colour, marker, offset = DOTS[role]
            _dot(panel, span, place + offset, words, colour, marker)
    _rows(panel, lines, named=True)
    for place, line in zip(heights(lines), lines, strict=True):
        if not np.isnan(line.rank):
            _margin(panel, -0.012, place, number(line.rank, 0), style.MUTED, ha="right")
    _heading(panel, -0.012, "Rank", ha="right")


def heights(lines: list[Line]) -> list[float]:
    """Return the place of every line, from the top down; the words of a block take room above its first line."""
    places: list[float] = []
    for index, line in enumerate(lines):
        step = 1.0 if places else 0.0
        first = index == 0 or lines[index - 1].block != line.block
        step += BLOCK_HEAD if first and BLOCKS.get(line.block) else 0.0
        places.append((places[-1] if places else 0.0) + step)
    return places


def _margin(
    panel: Axes, across: float, height: float, words: str, ink: str, **options: Any
) -> None:
    """Write words beside the axes, at the height of a line."""
    place: Any = {"xycoords": ("axes fraction", "data"), "va": "center", "fontsize": 7}
    panel.annotate(words, (across, height), color=ink, **place, **options)


def _heading(panel: Axes, across: float, words: str, **options: Any) -> None:
    """Write the heading of a column beside the axes."""
    place: Any = {"xycoords": "axes fraction", "va": "bottom", "fontsize": 6.5}
    panel.annotate(words, (across, 1.01), color=style.MUTED, **place, **options)


def _dot(panel: Axes, span: Span, height: float, words: str, colour: str, marker: str) -> None:
    value, low, high = span
    panel.plot([low, high], [height, height], color=colour, linewidth=1.0, alpha=0.75, zorder=3)
    options: Any = {"linestyle": "none", "markersize": 4.5, "markeredgecolor": style.PAPER}
    panel.plot(
        [value],
        [height],
        marker,
        color=colour,
        label=words,
        zorder=4,
        markeredgewidth=0.5,
        **options,
    )


def _bands(panel: Axes, lines: list[Line]) -> None:
    """Behind every setting, the interval of the strongest attack on no defense in its place, and of its own floor.

    Settings alike have one band: floors that compare images with the update differ by defense.
    """
    looks = {
        "no_defense": ("No defense", style.INK, style.BAND, "-"),
        "floor": ("Floor", style.FLOOR, style.FLOOR_BAND, (0, (4, 2))),
    }
    for place, line in zip(heights(lines), lines, strict=True):
        for role, (value, low, high) in line.bands.items():
            words, ink, tint, dashes = looks[role]
            ends = (place - 0.5, place + 0.5)
            panel.fill_betweenx(ends, low, high, color=tint, zorder=0, linewidth=0)
            panel.plot(
                [value, value],
                ends,
                color=ink,
                linewidth=1.1,
                linestyle=dashes,
                zorder=1,
                label=words,
                solid_capstyle="butt",
            )


def _identification(panel: Axes, lines: list[Line]) -> None:
    """The highest identification rate of every setting, beside chance, and the verdict at the margin."""
    colour, marker = HITS
    for place, line in zip(heights(lines), lines, strict=True):
        if line.hits is not None:
            spans = (100 * line.hits[0], 100 * line.hits[1], 100 * line.hits[2])
            _dot(panel, spans, place, "Identified, best attacker", colour, marker)
        words = "–" if line.verdict == BASELINE else line.verdict
        _margin(panel, 1.04, place, words, INKS.get(line.verdict, style.INK))
    _heading(panel, 1.04, "Verdict")
    chances = [line.chance for line in lines if not np.isnan(line.chance)]
    if chances:
        panel.axvline(
            100 * max(chances),
            color=style.MUTED,
            linewidth=0.9,
            linestyle=(0, (1, 1.5)),
            label="Chance",
            zorder=1,
        )
    panel.set_xlim(-4, 104)
    panel.set_xticks([0, 50, 100])
    _rows(panel, lines, named=False)


def _rows(panel: Axes, lines: list[Line], *, named: bool) -> None:
    """Lines from the top down; a rule and words above blocks of unknown and of unequal accuracy."""
    places = heights(lines)
    panel.set_yticks(places if named else [], [line.defense for line in lines] if named else None)
    panel.set_ylim(places[-1] + 0.6, -0.6)
    panel.tick_params(axis="y", length=0, pad=RANK_PAD)
    panel.grid(axis="y", visible=False)
    panel.grid(axis="x", visible=True)
    for index, (place, line) in enumerate(zip(places, lines, strict=True)):
        if index % 2:
            panel.axhspan(
                place - 0.5, place + 0.5, color=style.INK, alpha=0.025, linewidth=0, zorder=0.5
            )
        words = BLOCKS.get(line.block, "")
        if not words or (index and lines[index - 1].block == line.block):
            continue
        if index:
            panel.axhline(place - 0.5 - BLOCK_HEAD, color=style.MUTED, linewidth=0.8)
        if named:
            options: Any = {"ha": "right", "style": "italic"}
            _margin(panel, -0.012, place - 0.5 - BLOCK_HEAD / 2, words, style.MUTED, **options)


def _caption() -> str:
    return (
        "Each line is a defense setting, the most private first; ranks count settings of equal accuracy. Circles: the strongest "
        "attacker that does not know the defense; squares: the strongest that does, with a counter of its own or learned; "
        "diamonds: the one counter that fits any defense. Grey band: the strongest attack on no defense; violet band: the floor, the best "
        "attacker that needs no update beyond its label, or only compares auxiliary images with it. Right: the highest identification rate of any attacker, and "
        f"the verdict. {INTERVAL}"
    )


def _alt(parts: dict[str, list[Line]]) -> str:
    texts = []
    for head, lines in parts.items():
        for line in (lines[0], lines[-1]):
            strongest = max(span[0] for span in line.dots.values())
            hits = percent(line.hits[0]) if line.hits else "–"
            texts.append(
                f"{line.defense} on {head}: up to {number(strongest)} dB, {hits} identified, {line.verdict}"
            )
    return (
        "Mean PSNR of blind, generic and best informed attackers by defense. "
        + "; ".join(dict.fromkeys(texts))
        + "."
    )

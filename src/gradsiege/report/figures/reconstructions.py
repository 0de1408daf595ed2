"""One victim, chosen by rule, and what the best blind and the best informed attacker recover of it from behind every defense."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gradsiege.analysis.attackers import Kinds
from gradsiege.datasets.sources import supply
from gradsiege.metrics.picture_names import picture_name
from gradsiege.report import style
from gradsiege.report.chosen_cells import one_per_defense
from gradsiege.report.chosen_victims import at_quantiles, reference_rows
from gradsiege.report.data import CELL_KEY, Drawn, Pictures, StudyData
from gradsiege.report.derived import kinds
from gradsiege.report.labels import label
from gradsiege.report.measured_text import wrapped
from gradsiege.report.wording import joined, number, synthetic_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

VERSION = 1
TITLE = "One image behind every defense"
ROLES = {"non_adaptive": "Blind", "best_informed": "Best\ninformed"}
MEDIAN = 0.5
COLUMNS = [*CELL_KEY, "role", "attack", "kind", "threat_model", "victim", "image", "reference"]
COLUMNS += ["psnr"]
# Inches: left of the pictures, a picture, between pictures, a number, a line of a heading, between bands.
LEFT, SIDE, GAP, UNDER, LINE, BETWEEN = 0.6, 0.6, 0.06, 0.16, 0.108, 0.12
ACROSS = 10  # pictures side by side, the original included
HEADING, SMALL = 6.5, 6.5  # points


@dataclass(frozen=True)
class Picture:
    """One picture of the strip: its role, the row of the scores, and its pixels [C, H, W]."""

    role: str
    score: pd.Series
    pixels: NDArray[np.uint8]


@dataclass(frozen=True)
class Column:
    """One defense setting: its cell, and its pictures by role; worst is the highest mean PSNR of its attackers [dB]."""

    cell: Mapping[str, str]
    pictures: tuple[Picture, ...]
    worst: float


def draw(data: StudyData) -> Drawn:
    """Draw the original, and for each defense two pictures; restricted images are never drawn."""
    shown, withheld = _may_be_shown(data)
    keys = [key for key in one_per_defense(data, data.pictures) if key.split("/")[0] in shown]
    chosen = _victim(data, keys)
    if chosen is None:
        reason = "no attack without a defense finished with pictures."
        if withheld:
            reason = f"the terms of {joined(map(label, withheld))} forbid to show its images."
        empty = pd.DataFrame(columns=COLUMNS)
        return Drawn(TITLE, f"Not drawn: {reason}", empty, style.nothing_to_draw(reason))
    bare, reference, victim, image = chosen
    columns = _columns(data, keys, bare, victim, image)
    order = sorted(set(_rows(data, bare)[["victim", "image"]].itertuples(index=False, name=None)))
    truth = data.pictures[bare]["truth"][order.index((victim, image))]
    with style.study_style():
        figure = _sheet(data, truth, columns)
    table = _table(columns, reference)
    caption = _caption(data, reference, bare, len(order))
    return Drawn(TITLE, caption, table, figure, alt=_alt(data, columns))


def _may_be_shown(data: StudyData) -> tuple[set[str], list[str]]:
    """Return the ids of the data sets whose images may be shown, and of those whose terms forbid it."""
    shown, withheld = set(), []
    for item in data.study.get("datasets", ()):
        sharing = supply.sharing_of(str(item["name"]), item.get("parameters") or {})
        if sharing == supply.RESTRICTED:
            withheld.append(str(item["id"]))
        else:
            shown.add(str(item["id"]))
    return shown, withheld


def _victim(data: StudyData, keys: list[str]) -> tuple[str, str, int, int] | None:
    """Return the undefended cell, the attack that decides, and the image at the median of its PSNR there."""
    for key in keys:
        if data.name_of("defenses", key.split("/")[2]) != "none":
            continue
        rows = reference_rows(data, _rows(data, key))
        if len(rows):
            _, victim, image = at_quantiles(rows, (MEDIAN,))[0]
            return key, str(rows["attack"].iloc[0]), victim, image
    return None


def _rows(data: StudyData, key: str) -> pd.DataFrame:
    """Return the scores of a cell."""
    cell = dict(zip(CELL_KEY, key.split("/"), strict=True))
    same = data.scores["seed"] == int(cell["seed"].removeprefix("seed"))
    for field in CELL_KEY[:-1]:
        same &= data.scores[field] == cell[field]
    return data.scores[same]


def _columns(data: StudyData, keys: list[str], bare: str, victim: int, image: int) -> list[Column]:
    """Return no defense, then one setting per defense, the most leaking first.

    Of several settings of a defense the one stands here that leaves its strongest attacker least. Cells differ from the
    undefended one in the defense, and in the network where a defense has one of its own.
    """
    who = kinds(data)
    settings: dict[str, list[Column]] = {}
    dataset, model, _, *same = bare.split("/")
    for key in keys:
        place = key.split("/")
        if place[0] != dataset or place[3:] != same:
            continue
        column = _column(data, key, who, victim, image)
        name = data.name_of("defenses", column.cell["defense"])
        if column.pictures and (name != "none" or key == bare):
            settings.setdefault(name, []).append(column)
    undefended = settings.pop("none", [])
    best = []
    for columns in settings.values():
        of_model = [column for column in columns if column.cell["model"] == model] or columns
        best.append(min(of_model, key=lambda column: column.worst))
    return undefended + sorted(best, key=lambda column: -column.worst)


def _column(data: StudyData, key: str, who: Kinds, victim: int, image: int) -> Column:
    cell = dict(zip(CELL_KEY, key.split("/"), strict=True))
    rows = _rows(data, key)
    attacks = rows[(rows["kind"] == "attack") & ~rows["attack"].isin(who.floors)]
    grouped = attacks.groupby(["attack", "threat_model"], sort=False)["psnr"].mean().dropna()
    means = grouped.reset_index().itertuples(index=False, name=None)
    by_attacker = {
        (str(attack), str(threat)): float(mean)
        for attack, threat, mean in means
        if _name_in(data.pictures[key], str(attack), str(threat))
    }
    pictures, worst = [], -np.inf
    for role in ROLES:
        informed = role == "best_informed"
        if informed and data.name_of("defenses", cell["defense"]) == "none":
            continue  # there is nothing to know
        ranked = {
            ids: mean for ids, mean in by_attacker.items() if (ids[1] in who.aware) == informed
        }
        if ranked:
            ids = max(ranked, key=lambda ids: ranked[ids])
            pictures.append(_picture(data, key, role, ids, (victim, image)))
            worst = max(worst, ranked[ids])
    return Column(cell, tuple(pictures), worst)


def _picture(
    data: StudyData, key: str, role: str, ids: tuple[str, str], place: tuple[int, int]
) -> Picture:
    attack, threat = ids
    rows, pictures = _rows(data, key), data.pictures[key]
    order = sorted(set(rows[["victim", "image"]].itertuples(index=False, name=None)))
    same = (rows["attack"] == attack) & (rows["threat_model"] == threat)
    row = rows[same & (rows["victim"] == place[0]) & (rows["image"] == place[1])].iloc[0]
    return Picture(role, row, pictures[_name_in(pictures, attack, threat)][order.index(place)])


def _name_in(pictures: Pictures, attack: str, threat_model: str) -> str:
    """Return the name of an attack's pictures, empty if there are none; older scores name them by the attack alone."""
    names = (picture_name(attack, threat_model), attack)
    return next((name for name in names if name in pictures), "")


def _sheet(data: StudyData, truth: NDArray[np.uint8], columns: list[Column]) -> Figure:
    """Draw bands of two rows; the original stands at the left of the first."""
    first, others = columns[: ACROSS - 1], columns[ACROSS - 1 :]
    bands = [first, *(others[at : at + ACROSS] for at in range(0, len(others), ACROSS))]
    names = [[_name(data, column) for column in band] for band in bands]
    heads = [LINE * max(map(len, band)) + 0.06 for band in names]
    high = 2 * (SIDE + UNDER)
    total = sum(heads) + len(bands) * high + BETWEEN * (len(bands) - 1)
    wide = LEFT + min(ACROSS, len(columns) + 1) * (SIDE + GAP)
    figure = style.new_figure(wide, total)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    top = 0.0
    for place, (band, head) in enumerate(zip(bands, heads, strict=True)):
        top += head
        for row, words in enumerate(ROLES.values()):
            middle = top + row * (SIDE + UNDER) + SIDE / 2
            axes.text(0, middle, words, va="center", fontsize=SMALL, color=style.MUTED)
        start = LEFT
        if place == 0:
            _head(axes, start, top, ["Original"], weight="bold")
            _show(axes, start, top, truth)
            start += SIDE + GAP
        for column, lines in zip(band, names[place], strict=True):
            _head(axes, start, top, lines)
            for picture in column.pictures:
                down = top + [*ROLES].index(picture.role) * (SIDE + UNDER)
                _reconstruction(axes, start, down, picture)
            start += SIDE + GAP
        top += high + BETWEEN
    axes.set(xlim=(0, wide), ylim=(total, 0), aspect="auto")
    return figure


def _name(data: StudyData, column: Column) -> list[str]:
    defense = column.cell["defense"]
    # The strength begins a line of its own.
    parts = label(defense, data.name_of("defenses", defense)).replace(" (", "\n(").split("\n")
    return [line for part in parts for line in wrapped(part, SIDE + GAP / 2, HEADING)]


def _head(axes: Axes, left: float, under: float, lines: list[str], weight: str = "normal") -> None:
    options: Any = {"ha": "center", "va": "bottom", "fontsize": HEADING, "linespacing": 1.05}
    axes.text(left + SIDE / 2, under - 0.04, "\n".join(lines), weight=weight, **options)


def _show(axes: Axes, left: float, top: float, pixels: NDArray[np.uint8]) -> None:
    image = pixels.transpose(1, 2, 0)
    axes.imshow(
        image[..., 0] if image.shape[2] == 1 else image,
        cmap="gray",
        vmin=0,
        vmax=255,
        interpolation="none",
        extent=(left, left + SIDE, top + SIDE, top),
    )


def _reconstruction(axes: Axes, left: float, top: float, picture: Picture) -> None:
    """Draw one picture with its PSNR; of a failed attack the word."""
    options: Any = {"ha": "center", "fontsize": SMALL, "color": style.MUTED}
    if picture.score["status"] != "complete":
        axes.text(left + SIDE / 2, top + SIDE / 2, "failed", va="center", **options)
        return
    _show(axes, left, top, picture.pixels)
    words = number(float(picture.score["psnr"]))
    axes.text(left + SIDE / 2, top + SIDE + 0.02, words, va="top", **options)


def _table(columns: list[Column], reference: str) -> pd.DataFrame:
    rows = [
        {
            **column.cell,
            "seed": int(column.cell["seed"].removeprefix("seed")),
            "role": picture.role,
            "reference": reference,
            **picture.score[["attack", "kind", "threat_model", "victim", "image", "psnr"]],
        }
        for column in columns
        for picture in column.pictures
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _caption(data: StudyData, reference: str, bare: str, images: int) -> str:
    cell = dict(zip(CELL_KEY, bare.split("/"), strict=True))
    where = f"{label(cell['dataset'])}, {label(cell['model'])}, {cell['training_stage']} model"
    return (
        f"One victim, chosen by rule: of {images} images the one at the median of the PSNR that "
        f"{label(reference, data.name_of('attacks', reference))} reaches without a defense ({where}). Above: the reconstruction of "
        "the best attacker that does not know the defense; below: of the best that does. The numbers are PSNR in dB, and best "
        "is by the mean over all victims."
        f"{synthetic_note(data, [cell['dataset']])}"
    )


def _alt(data: StudyData, columns: list[Column]) -> str:
    parts = []
    for column in columns:
        name = label(column.cell["defense"], data.name_of("defenses", column.cell["defense"]))
        parts.append(f"{name} {joined(_spoken(column))}")
    return f"An original picture and its reconstructions. {'; '.join(parts)}."


def _spoken(column: Column) -> Iterator[str]:
    for picture in column.pictures:
        words = ROLES[picture.role].replace("\n", " ").lower()
        yield f"{words} {number(float(picture.score['psnr']))} dB"

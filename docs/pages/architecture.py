"""Two pictures: the floors of the package, from the contracts of the import linter, and one image's way through the stages.

``python -m docs.pages.architecture`` writes ``docs/pictures/floors.svg`` and ``docs/pictures/way.svg``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs/pictures"
WIDTH, ROW, GAP, MARGIN = 900, 34, 8, 20
FONT = "font-family='system-ui, sans-serif'"
# Colours that are told apart in grey as well, on white paper and on a dark page.
STUDY, LIBRARY, GROUND, SEALED = "#f4d9b0", "#bcd9ee", "#e4e4e4", "#f2b8b5"
# The three parties of a study, and what an image becomes on its way. Each line is a stage, who acts, and what is written.
WAY = (
    ("fetch", "data", "an image of the role victims"),
    ("observe", "client", "its update, changed by the defense"),
    ("attack", "attacker", "a reconstruction"),
    ("score", "judge", "one row: PSNR, SSIM, ..."),
    ("publish", "judge", "a table with an interval"),
)


def contracts() -> list[dict[str, Any]]:
    """Return the contracts of the import linter."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed: list[dict[str, Any]] = project["tool"]["importlinter"]["contracts"]
    return listed


def floors() -> list[list[str]]:
    """Return the names of every floor, from the top."""
    return [
        [name.strip().removeprefix("gradsiege.") for name in floor.split(":")]
        for floor in contracts()[0]["layers"]
    ]


def library() -> set[str]:
    """Return the packages that know no study, by the contract that says so."""
    contract = next(one for one in contracts() if one["name"] == "The library knows no study")
    return {name.removeprefix("gradsiege.") for name in contract["source_modules"]}


def picture_of_floors() -> str:
    """Return the floors as a drawing: a box per module, the library apart from what knows studies."""
    levels, known = floors(), library()
    lowest_study = max(place for place, names in enumerate(levels) if "study" in names)
    parts = [
        caption(
            MARGIN,
            "No import runs upward. Blue: the library, which knows no study; sand: studies and faces; grey: the ground.",
        )
    ]
    for place, names in enumerate(levels):
        top = 44 + place * (ROW + GAP)
        inner = (WIDTH - 2 * MARGIN - (len(names) - 1) * GAP) / len(names)
        for column, name in enumerate(names):
            colour = LIBRARY if name in known else STUDY if place <= lowest_study else GROUND
            parts.append(box(MARGIN + column * (inner + GAP), top, inner, name, colour))
    height = 44 + len(levels) * (ROW + GAP) + MARGIN
    return drawing(
        height, "The floors of the package, from the command line down to the ground", parts
    )


def picture_of_the_way() -> str:
    """Return one image's way through the stages as a drawing: each party in a column of its own, the truth behind a wall."""
    parties = list(dict.fromkeys(party for _, party, _ in WAY))
    inner = (WIDTH - 2 * MARGIN - (len(parties) - 1) * 40) / len(parties)
    left = {party: MARGIN + place * (inner + 40) for place, party in enumerate(parties)}
    parts = [text(left[party] + inner / 2, 30, party, bold=True) for party in parties]
    middle = {}
    for place, (stage, party, writes) in enumerate(WAY):
        top = 54 + place * 84
        middle[stage] = (left[party] + inner / 2, top)
        parts.append(box(left[party], top, inner, stage, STUDY))
        parts.append(text(left[party] + inner / 2, top + ROW + 16, writes, small=True))
    for (stage, _, _), (following, _, _) in pairwise(WAY):
        (x, y), (end_x, end_y) = middle[stage], middle[following]
        parts.append(
            arrow([(x, y + ROW + 22), (x, end_y - 12), (end_x, end_y - 12), (end_x, end_y - 2)])
        )
    truth, judged = middle["observe"], middle["score"]
    wall = left["attacker"] - 20
    bottom = judged[1] + ROW / 2
    parts += [
        arrow(
            [
                *beside(truth[0] - inner / 2, truth[1] + ROW / 2, bottom),
                (left["judge"] - 2, bottom),
            ],
            dashed=True,
        ),
        text(truth[0] + 8, bottom - 8, "the sealed truth", small=True),
        f"<line x1='{wall:g}' y1='44' x2='{wall:g}' y2='{bottom - 24:g}' stroke='{SEALED}' stroke-width='6'/>",
        text(wall, bottom + 24, "the attacker reads what crosses here, and no truth", small=True),
    ]
    return drawing(
        54 + len(WAY) * 84, "One image's way: fetch, observe, attack, score, publish", parts
    )


def beside(x: float, y: float, bottom: float) -> list[tuple[float, float]]:
    """Return the points of a line that leaves a box on its left and goes down beside what stands below the box."""
    return [(x, y), (x - 26, y), (x - 26, bottom)]


def drawing(height: float, title: str, parts: Iterable[str]) -> str:
    """Return an SVG of these parts on a white ground, with a title that screen readers read."""
    head = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height:g}' role='img' aria-label='{escape(title, quote=True)}'>"
    marker = (
        "<defs><marker id='end' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='8' markerHeight='8' orient='auto'>"
        "<path d='M0 0 L8 4 L0 8 z' fill='#444'/></marker></defs>"
    )
    ground = f"<rect width='{WIDTH}' height='{height:g}' fill='#fff'/>"
    return (
        "\n".join([head, f"<title>{escape(title)}</title>", marker, ground, *parts, "</svg>"])
        + "\n"
    )


def box(x: float, y: float, width: float, name: str, colour: str) -> str:
    """Return a box with a name in its middle."""
    shape = f"<rect x='{x:g}' y='{y:g}' width='{width:g}' height='{ROW}' rx='4' fill='{colour}' stroke='#777'/>"
    return shape + "\n" + text(x + width / 2, y + ROW / 2 + 5, name)


def text(x: float, y: float, words: str, *, bold: bool = False, small: bool = False) -> str:
    """Return centred words."""
    weight = " font-weight='bold'" if bold else ""
    return f"<text x='{x:g}' y='{y:g}' text-anchor='middle' fill='#222' font-size='{12 if small else 14}'{weight} {FONT}>{escape(words)}</text>"


def caption(x: float, words: str) -> str:
    """Return a line of words at the top."""
    return f"<text x='{x:g}' y='26' fill='#222' font-size='13' {FONT}>{escape(words)}</text>"


def arrow(points: Sequence[tuple[float, float]], *, dashed: bool = False) -> str:
    """Return a line through these points that ends in an arrow."""
    path = " ".join(f"{x:g},{y:g}" for x, y in points)
    dash = " stroke-dasharray='5 4'" if dashed else ""
    return f"<polyline points='{path}' fill='none' stroke='#444' stroke-width='1.5'{dash} marker-end='url(#end)'/>"


def pictures() -> dict[str, str]:
    """Return the pictures by file name."""
    return {"floors.svg": picture_of_floors(), "way.svg": picture_of_the_way()}


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    for file, picture in pictures().items():
        (PICTURES / file).write_text(picture, encoding="utf-8")

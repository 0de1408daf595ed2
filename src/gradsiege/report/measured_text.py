"""The width of words as they are printed, and lines that fit a given width."""

from __future__ import annotations

from functools import lru_cache

POINTS_PER_INCH = 72
LEAST = 4  # letters of a word that may be hyphenated


@lru_cache(maxsize=4096)
def width(words: str, size: float, weight: str = "normal") -> float:
    """Return the width [inches] of one line in the font of the figures.

    size: of the font [points]. The outline of the letters is measured, so that no figure is needed.

    >>> width("wide", 8.0) == 2 * width("wide", 4.0)
    True
    """
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    if not words.strip():
        return 0.0
    font = FontProperties(family=["DejaVu Sans"], weight=weight)
    # Measured at one size: hinting makes no difference between sizes.
    outline = TextPath((0, 0), words, size=100.0, prop=font).get_extents()
    return float(outline.x1) / 100.0 * size / POINTS_PER_INCH


def wrapped(words: str, room: float, size: float, weight: str = "normal") -> list[str]:
    """Return the words in lines no wider than `room` [inches]; a word that is wider is hyphenated.

    >>> wrapped("Inverting Gradients, likelihood", 0.8, 7.0)
    ['Inverting', 'Gradients,', 'likelihood']
    >>> wrapped("orthogonality", 0.5, 7.0)
    ['orthogon-', 'ality']
    """
    lines: list[str] = []
    for word in words.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and width(longer, size, weight) <= room:
            lines[-1] = longer
            continue
        rest = word
        while len(rest) > LEAST and width(rest, size, weight) > room:
            cut = _fitting(rest, room, size, weight)
            lines.append(f"{rest[:cut]}-")
            rest = rest[cut:]
        lines.append(rest)
    return lines


def _fitting(word: str, room: float, size: float, weight: str) -> int:
    """Return how many letters of a too wide word fit before a hyphen: two at least, and two are left over."""
    fits = [n for n in range(2, len(word) - 1) if width(f"{word[:n]}-", size, weight) <= room]
    return max(fits, default=2)

"""Captions on the page: at most three sentences that everybody reads, and the others behind a fold."""

from __future__ import annotations

import re
from dataclasses import dataclass

MOST_SENTENCES = 3
# A sentence ends where the next one begins with a capital, a digit, a bracket, or the sign that it explains.
_ENDS = re.compile(r"(?<=[.!?])(?<!\bal\.)(?<!\be\.g\.)(?<!\bi\.e\.) +(?=[A-Z0-9ΔεÀ-Þ–*(\"“])")


@dataclass(frozen=True)
class Caption:
    """The two parts of a caption: what is shown, and what is folded (empty if all is shown)."""

    shown: str
    folded: str


def sentences(text: str) -> list[str]:
    """Return the sentences of a caption.

    >>> sentences("Means over 8 victims. Petsiuk et al. (2018) say more. –: not run.")
    ['Means over 8 victims.', 'Petsiuk et al. (2018) say more.', '–: not run.']
    """
    return [sentence for sentence in _ENDS.split(text.strip()) if sentence]


def caption(text: str, note: str = "") -> Caption:
    """Return the caption in two parts.

    note: a sentence that is always shown if the caption has it, such as that data are synthetic.

    >>> caption("One. Two. Three. Not real. Four.", "Not real.")
    Caption(shown='One. Two. Not real.', folded='Three. Four.')
    """
    every = sentences(text)
    kept = [sentence for sentence in every if sentence == note.strip()]
    others = [sentence for sentence in every if sentence != note.strip()]
    cut = MOST_SENTENCES - len(kept)
    return Caption(" ".join([*others[:cut], *kept]), " ".join(others[cut:]))

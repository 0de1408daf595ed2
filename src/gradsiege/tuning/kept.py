"""Scores of trials that were run before, so that no choice is made twice."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradsiege import artifacts


@dataclass(frozen=True)
class KeptScores:
    """The file of one choice.

    Attributes:
        folder: its folder, or None to keep nothing.
        name: digest of all that the choice depends on.
        planned: the settings of all trials.
    """

    folder: Path | None
    name: str
    planned: list[dict[str, Any]]

    def recall(self) -> list[float]:
        """Return the scores of the trials that are finished, in order; none if there is no readable file, or it is another's."""
        if self.folder is None:
            return []
        try:
            kept = json.loads((self.folder / f"{self.name}.json").read_text(encoding="utf-8"))
            scores, planned = [float(score) for score in kept["psnr"]], kept["planned"]
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return []
        sound = len(scores) <= len(self.planned) and all(map(math.isfinite, scores))
        return scores if sound and planned == self.planned else []

    def remember(self, scores: list[float]) -> None:
        """Keep the scores of all trials that are finished."""
        if self.folder is not None:
            data = {"planned": self.planned, "psnr": scores}
            artifacts.write_json(self.folder / f"{self.name}.json", data)

"""Engines that were chosen before for the attacks of a study."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from gradsiege import artifacts
from gradsiege.attacks.engine.autotune import EngineChoice
from gradsiege.attacks.engine.engines import ENGINES


@dataclass(frozen=True)
class EngineMemory:
    """Engines that were chosen before, one small file each, so that a rerun takes the same; deleting the folder measures anew."""

    folder: Path

    def recall(self, name: str) -> EngineChoice | None:
        """Return the choice of that name, if there is one that can be read; otherwise engines are measured anew."""
        path = self.folder / f"{name}.json"
        try:
            found = EngineChoice(**json.loads(path.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        sound = found.engine in ENGINES and isinstance(found.chunk, int) and found.chunk > 0
        return found if sound else None

    def remember(self, name: str, choice: EngineChoice) -> None:
        """Keep a choice."""
        artifacts.write_json(self.folder / f"{name}.json", asdict(choice))

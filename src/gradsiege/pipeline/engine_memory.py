"""Choices of engines that earlier attacks of a study have measured."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from gradsiege import artifacts
from gradsiege.attacks.engine.autotune import EngineChoice, EnginePolicy
from gradsiege.attacks.engine.engines import ENGINES
from gradsiege.pipeline import workload
from gradsiege.pipeline.jobs import Job
from gradsiege.programs import Programs


@dataclass(frozen=True)
class EngineMemory:
    """The choices of engines of a study, one small file each, so that a rerun takes the same; delete the folder to measure again."""

    folder: Path

    def recall(self, name: str) -> EngineChoice | None:
        """Return the choice of that name, or None if there is no readable one; engines are then measured again."""
        path = self.folder / f"{name}.json"
        try:
            choice = EngineChoice(**json.loads(path.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        sound = choice.engine in ENGINES and isinstance(choice.chunk, int) and choice.chunk > 0
        return choice if sound else None

    def remember(self, name: str, choice: EngineChoice) -> None:
        """Keep a choice."""
        artifacts.write_json(self.folder / f"{name}.json", asdict(choice))


def policy_of(job: Job, engine: str) -> EnginePolicy:
    """Return how an attack's engines are chosen: as the study's attacks remember, for the work of all that are alike."""
    memory = EngineMemory(job.root / "results" / job.study.study / "engines")
    return EnginePolicy(
        engine,
        memory.recall,
        memory.remember,
        runs=workload.attacks_alike(job.cell, job.study),
        programs=Programs(job.root / "scratch" / "programs"),
    )

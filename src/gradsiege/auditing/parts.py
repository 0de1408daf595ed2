"""Finished attacks of an audit, each in a sealed folder: an audit that was killed goes on after the last one."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from gradsiege import artifacts
from gradsiege.auditing.plan import Part
from gradsiege.auditing.private import PARTS, lock_up, own_folder, private_folder
from gradsiege.auditing.words import listed
from gradsiege.errors import ArtifactError
from gradsiege.protocol.reconstruction import (
    Reconstruction,
    load_reconstruction,
    save_reconstruction,
)

# Rises when what a part or the plan holds changes, so that a folder of an older version is told apart.
FORMAT = 4
# By code, where nothing else differs.
COMPUTED = "updates of the first client"
PLAN, RESULT, SETTINGS = "plan.json", "reconstructions.safetensors", "settings"


@dataclass(frozen=True, eq=False)
class Outcome:
    """What an attack returned.

    Attributes:
        reconstruction: None for an attack that does not apply.
        seconds: its wall time; simulated: that of the clients that it attacked.
        reason: why it does not apply.
        settings: the trials that chose its settings (`tuning.choice.Choice.record`), empty if it ran as published.
        effort: its iterations, and whether its settings were to be chosen: less than planned where time ran short.
    """

    reconstruction: Reconstruction | None
    seconds: float
    reason: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    effort: tuple[int, bool] = (0, True)
    simulated: float = 0.0

    @property
    def whole(self) -> bool:
        """Whether the attack ran to its end on some client: its time then tells how fast the machine is."""
        found = self.reconstruction
        return found is not None and len(found.failures) < len(found.images)

    def ran(self, part: Part) -> Part:
        """Return a part as it was carried out; `part`: as it was laid out."""
        iterations, chosen = self.effort
        whole = part if chosen else part.as_published()
        whole = whole.with_iterations(iterations) if part.shortens else whole
        return replace(whole, reason="")


class Parts:
    """The parts of one audit in its folder; without a folder they live in memory.

    Args:
        folder: of the audit.
        identity: digests of all that its results depend on, by its name in words.
    """

    def __init__(self, folder: Path | None, identity: Mapping[str, str]) -> None:
        self.folder = None if folder is None else private_folder(folder)
        if self.folder is not None:
            own_folder(self.folder / PARTS)
            own_folder(self.folder / PARTS / SETTINGS)
        self.digests = dict(identity)
        self.identity = artifacts.json_digest([FORMAT, self.digests])
        self.held: dict[str, Outcome] = {}

    def settled(self) -> dict[str, Any] | None:
        """Return what an earlier run of the same audit settled, or None.

        Raises:
            ArtifactError: the folder holds another audit.
        """
        path = self.folder / PLAN if self.folder else None
        if path is None or not path.is_file():
            return None
        saved = artifacts.read_json(path)
        if saved.get("identity") != self.identity:
            raise ArtifactError(
                f"{self.folder} holds another audit: {self._differing(saved.get('digests'))}. Name another folder, or delete it"
            )
        return dict(saved["size"])

    def _differing(self, kept: Any) -> str:
        """Return what differs from an audit whose digests are `kept`, as a main clause."""
        held = kept if isinstance(kept, dict) else {}
        names = [name for name, digest in self.digests.items() if held.get(name) != digest]
        names = [name for name in names if name != COMPUTED] or names  # it follows from the others
        if not held or not names:
            return "another version made it"
        return f"its {listed(names)} {'differs' if len(names) == 1 and not names[0].endswith('s') else 'differ'}"

    def settle(self, size: dict[str, Any]) -> None:
        """Keep what the plan settles."""
        if self.folder is not None:
            kept = {"identity": self.identity, "digests": self.digests, "size": size}
            artifacts.write_json(self.folder / PLAN, kept)
            artifacts.write_manifest(self.folder, {}, [PLAN])
            lock_up(self.folder)

    def place(self, key: str) -> Path | None:
        """Return the folder of a part."""
        if self.folder is None:
            return None
        return self.folder / PARTS / artifacts.json_digest([self.identity, key])[:16]

    @property
    def settings(self) -> Path | None:
        """The folder of the trials that choose settings."""
        return None if self.folder is None else self.folder / PARTS / SETTINGS

    def progress(self, key: str) -> Path | None:
        """Return the folder of an unfinished attack's progress, made for its owner alone."""
        place = self.place(key)
        return None if place is None else own_folder(place.with_suffix(".progress"))

    def load(self, key: str) -> Outcome | None:
        """Return a finished part; None if it is not there, or damaged, so that it is computed again."""
        place = self.place(key)
        if place is None:
            return self.held.get(key)
        try:
            notes = artifacts.read_manifest(place)
            whole = load_reconstruction(place / RESULT) if RESULT in notes["files"] else None
        except ArtifactError:
            return None
        iterations, chosen = notes["effort"]
        return Outcome(
            whole,
            float(notes["seconds"]),
            str(notes["reason"]),
            notes["settings"],
            (iterations, chosen),
            float(notes["simulated"]),
        )

    def keep(self, key: str, outcome: Outcome) -> None:
        """Seal a part."""
        place, progress = self.place(key), self.progress(key)
        if place is None or progress is None or self.folder is None:
            self.held[key] = outcome
            return
        own_folder(place)
        files = []
        if outcome.reconstruction is not None:
            save_reconstruction(place / RESULT, outcome.reconstruction)
            files = [RESULT]
        body = {
            "part": key,
            "seconds": outcome.seconds,
            "reason": outcome.reason,
            "settings": outcome.settings,
            "effort": list(outcome.effort),
            "simulated": outcome.simulated,
        }
        artifacts.write_manifest(place, body, files)
        shutil.rmtree(progress, ignore_errors=True)
        for private in (place, self.folder / PARTS / SETTINGS):
            lock_up(private)


def failed(clients: int, shape: tuple[int, ...], reason: str) -> Reconstruction:
    """Return the reconstruction of an attack that ended in an error: every client failed for this reason.

    >>> failed(2, (1, 1, 2, 2), "out of memory").failures
    {0: 'out of memory', 1: 'out of memory'}
    """
    nothing = torch.full((clients,), torch.nan)
    zeros = torch.zeros(clients, dtype=torch.int64)
    return Reconstruction(
        images=torch.full((clients, *shape), torch.nan),
        labels=torch.zeros(clients, shape[0], dtype=torch.int64),
        matching_loss=nothing,
        restart=zeros,
        iteration=zeros.clone(),
        failures=dict.fromkeys(range(clients), reason),
    )

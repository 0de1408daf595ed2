"""`gradsiege plan`: the cells of a study, the number of finished ones, and the cost of the others."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gradsiege import artifacts
from gradsiege.errors import ArtifactError
from gradsiege.pipeline import workload
from gradsiege.pipeline.cells import Cell, attack_cells, settings
from gradsiege.pipeline.shards import shards
from gradsiege.pipeline.status import (
    BROKEN,
    DONE,
    STATES,
    Status,
    aligned,
    count,
    obstacle,
    survey,
)
from gradsiege.protocol.threat_model import ThreatModel
from gradsiege.study import Study

UNKNOWN = "unknown"
MOST_BROKEN = 5


def plan(study: Study, root: Path, shard_minutes: float = 60) -> str:
    """Return a table of the study's stages: cells, jobs, states, measured seconds per cell, hours still to do.

    A job is a shard of about `shard_minutes` estimated minutes.
    """
    surveyed = survey(study, root)
    costs = measure(study, root, surveyed)
    heads = ["stage", "cells", "jobs", *STATES, "seconds/cell", "hours left"]
    rows, hours, unknown = [heads], 0.0, []
    for stage, states in surveyed.items():
        if not states:
            continue
        counts = count(states)
        left = remaining_seconds(
            study,
            [cell_status.cell for cell_status in states if cell_status.state not in DONE],
            costs,
        )
        if left is None:
            unknown.append(stage)
        hours += (left or 0.0) / 3600
        rows.append(
            [
                stage,
                str(len(states)),
                str(
                    len(shards([cell_status.cell for cell_status in states], study, shard_minutes))
                ),
                *(str(counts[state]) for state in STATES),
                _mean(
                    cell_status.manifest["seconds"]
                    for cell_status in states
                    if cell_status.state in DONE
                ),
                UNKNOWN if left is None else f"{left / 3600:.2f}",
            ]
        )
    cells, jobs, done, failed = (sum(int(row[place]) for row in rows[1:]) for place in range(1, 5))
    head = (
        f"study {study.study}: {cells} cells, {done + failed} done ({failed} of them failed); "
        f"{jobs} jobs of up to {shard_minutes:g} estimated minutes"
    )
    lines = [
        head,
        "",
        aligned(rows),
        "",
        _estimate(hours, unknown, costs),
        _disk(study, root, surveyed),
    ]
    lines.append(_ceiling(study, surveyed))
    every = (cell_status for states in surveyed.values() for cell_status in states)
    first = obstacle(every, study, root)
    lines += [first] if first else []
    return "\n".join([*lines, *_broken(surveyed), *_refused(study)])


@dataclass
class Costs:
    """Measured seconds per unit of work, by stage and kind of work, and their devices."""

    samples: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    devices: dict[str, None] = field(default_factory=dict)

    def add(self, stage: str, kind: str, units: float, manifest: dict[str, Any]) -> None:
        """Count one finished job."""
        self.samples.setdefault((stage, kind), []).append(manifest["seconds"] / units)
        self.devices[manifest["environment"]["device"]] = None

    def rate(self, stage: str, kind: str) -> float | None:
        """Return mean seconds per unit: of this kind of work, else of its stage, else None."""
        measured = self.samples.get((stage, kind)) or [
            sample
            for (other, _), samples in self.samples.items()
            if other == stage
            for sample in samples
        ]
        return sum(measured) / len(measured) if measured else None


def work(stage: str, chosen: dict[str, Any], updates: int) -> tuple[str, float]:
    """Return (kind of work, units of it) of a job with these settings.

    Jobs of one kind cost the same per unit: an evaluation of one image's update for an attack, a round for a
    federation, an epoch for a prior, and the whole job elsewhere.
    """
    kind: dict[str, Any] = {"size": chosen["dataset"]["size"]}
    for section in ("model", "defense", "attack", "prior"):
        if section in chosen:
            kind[section] = chosen[section]["name"]
    if "model" in chosen:
        kind["width"] = chosen["model"]["parameters"]
    units = 1.0
    if stage == "attack":
        attack, protocol = chosen["attack"], chosen["protocol"]
        steps = protocol["epochs"] * -(-protocol["images"] // protocol["batch_size"])
        units = (attack["iterations"] + 1.0) * attack["restarts"] * updates * steps
        # The client's defense does not change the cost of the attack's loop.
        kind.pop("defense")
    elif stage == "federate":
        federation = chosen["federation"]
        dealt = sum(federation["client_images"]) or chosen["dataset"]["counts"]["train"]
        images = dealt * federation["local_epochs"]
        share = federation["clients_per_round"] / federation["clients"]
        units = federation["rounds"] * images * share
    elif stage == "prior":
        images = chosen["dataset"]["counts"]["aux"]
        units = float(chosen["prior"]["parameters"].get("epochs", 1)) * images
    return json.dumps(kind, sort_keys=True), units


def measure(study: Study, root: Path, surveyed: dict[str, list[Status]]) -> Costs:
    """Collect the seconds of finished jobs: of this study, and of others for stages that it has not measured."""
    costs = Costs()
    for stage, states in surveyed.items():
        for cell_status in states:
            if cell_status.state in DONE:
                _add(costs, stage, cell_status.manifest, study.study, root)
        if states and not any(other == stage for other, _ in costs.samples):
            for name, manifest in _elsewhere(stage, study, root):
                _add(costs, stage, manifest, name, root)
    return costs


def _add(costs: Costs, stage: str, manifest: dict[str, Any], study: str, root: Path) -> None:
    """Count one manifest; skip one of an older version that lacks a field."""
    try:
        updates = _updates(manifest, root / "results" / study) if stage == "attack" else 1
        if updates:
            costs.add(stage, *work(stage, manifest["settings"], updates), manifest)
    except (KeyError, TypeError):
        return


def _updates(manifest: dict[str, Any], folder: Path) -> int:
    """Return the number of private images of an attack job, victims times images, or 0 if its observation is gone."""
    key = "/".join(manifest["key"].split("/")[:6])
    try:
        victims = artifacts.read_manifest(folder / "observe" / key)["settings"]["victims"]
    except ArtifactError:
        return 0
    return int(victims) * int(manifest["settings"]["protocol"]["images"])


def _elsewhere(stage: str, study: Study, root: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the manifests of one stage in the folders of other studies."""
    for path in sorted((root / "results").glob(f"*/{stage}/**/{artifacts.MANIFEST}")):
        name = path.relative_to(root / "results").parts[0]
        if name == study.study:
            continue
        try:
            yield name, artifacts.read_manifest(path.parent)
        except ArtifactError:
            continue


def remaining_seconds(study: Study, left: list[Cell], costs: Costs) -> float | None:
    """Return the seconds that the cells will take, or None if no similar cell was ever measured."""
    total = 0.0
    for cell in left:
        chosen = settings(cell, study)
        images = study.one("protocols", cell.protocol).images if cell.protocol else 0
        kind, units = work(cell.stage, chosen, study.victims * images)
        rate = costs.rate(cell.stage, kind)
        if rate is None:
            return None
        total += rate * units
    return total


def _mean(seconds: Iterable[float]) -> str:
    values = list(seconds)
    return f"{sum(values) / len(values):.1f}" if values else "-"


def _estimate(hours: float, unknown: list[str], costs: Costs) -> str:
    if not costs.devices:
        return "Work left: unknown, since no job was measured yet; docs/ARTIFACT.md has the times of the studies in config/."
    on = ", ".join(costs.devices)
    text = f"Work left: about {hours:.2f} hours, one job after the other, as measured on {on}"
    return f"{text}; without {', '.join(unknown)} (never measured)." if unknown else f"{text}."


def _disk(study: Study, root: Path, surveyed: dict[str, list[Status]]) -> str:
    """Return a sentence on the size of the finished study, by the mean size of present cells or of another study's."""
    total, unknown = 0.0, []
    for stage, states in surveyed.items():
        sizes = [
            _bytes(cell_status.manifest) for cell_status in states if cell_status.state in DONE
        ]
        if states and not sizes:
            sizes = [_bytes(manifest) for _, manifest in _elsewhere(stage, study, root)]
        if states and not sizes:
            unknown.append(stage)
        total += len(states) * sum(sizes) / max(len(sizes), 1)
    if unknown == [stage for stage, states in surveyed.items() if states]:
        return "Disk: unknown, since no cell is there yet."
    text = f"Disk: about {total / 1e9:.2f} GB when finished, by the mean size of a stage's cells so far"
    return f"{text}; without {', '.join(unknown)} (none there)." if unknown else f"{text}."


def _bytes(manifest: dict[str, Any]) -> int:
    return sum(int(entry["bytes"]) for entry in manifest["files"].values())


def _ceiling(study: Study, surveyed: dict[str, list[Status]]) -> str:
    """Return a sentence on the estimates behind the size of shards and the limits of cluster jobs."""
    left = [
        cell_status.cell
        for states in surveyed.values()
        for cell_status in states
        if cell_status.state not in DONE
    ]
    hours = sum(workload.seconds(cell, study) for cell in left) / 3600
    return (
        f"Limit of time asked of a cluster for what is left: {hours:.2f} hours. It is far above what to expect: a 32-pixel image's pass through any "
        f"network counts as {1000 * workload.SECONDS_PER_PASS:.0f} ms."
    )


def _broken(surveyed: dict[str, list[Status]]) -> list[str]:
    """Return one line for each of the first cells whose last job failed, with the log to read, and the number of the others."""
    texts = [
        f"Broken: {cell_status.cell.stage} {cell_status.cell.key}: {cell_status.reason}"
        for states in surveyed.values()
        for cell_status in states
        if cell_status.state == BROKEN
    ]
    others = len(texts) - MOST_BROKEN
    return [*texts[:MOST_BROKEN], *([f"Broken: {others} others"] if others > 0 else [])]


def _refused(study: Study) -> list[str]:
    """Return one line for every attack of the study that a threat model does not let run."""
    lines = []
    pairs = dict.fromkeys((cell.threat_model, cell.attack) for cell in attack_cells(study))
    for threat, attack in pairs:
        model = ThreatModel(**study.one("threat_models", threat).grants)
        requires = study.one("attacks", attack).requires
        lacking = [name for name in requires if not model.grants(name)]
        if lacking:
            lines.append(
                f"Will be refused: {attack} under {threat}, which does not grant "
                f"{', '.join(lacking)}. {_remedy(requires, study)}"
            )
    return lines


def _remedy(requires: tuple[str, ...], study: Study) -> str:
    """Return the remedy: the threat models that grant these needs, if any."""
    granting = [
        threat.id
        for threat in study.threat_models
        if all(ThreatModel(**threat.grants).grants(name) for name in requires)
    ]
    if not granting:
        return "Grant it, or leave the attack out."
    return f"Grant it, or give the attack 'only: {{threat_model: [{', '.join(granting)}]}}'."

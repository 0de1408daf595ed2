"""Gather what a study has stored into the one object that figures draw from."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gradsiege import artifacts
from gradsiege.errors import MEND, ArtifactError
from gradsiege.pipeline import absent_data
from gradsiege.pipeline.cells import Cell, attack_cells, cells, digest, parse_key
from gradsiege.report.data import Explanation, LazyPictures, StudyData
from gradsiege.report.scenes import with_scenes
from gradsiege.study import Study, ledger

# The value of a parameter that an attack chooses on simulated clients.
CHOSEN = "chosen"


def load_study(study: Study, root: Path = Path(), claims: Path = ledger.FILE) -> StudyData:
    """Read every finished cell, and list missing, stale and failed ones with the reason.

    A study outside the repository has no ledger of claims; its report says so.
    """
    manifests: list[dict[str, Any]] = []
    finished: dict[str, list[Cell]] = {}
    not_run: list[dict[str, Any]] = []
    absent = absent_data.absent(study, root)
    for stage, of_stage in cells(study).items():
        for cell in of_stage:
            reason = _missing(cell, study, root, absent)
            if reason:
                not_run.append({"what": f"{stage} {cell.key}", "why": reason})
                continue
            manifest = artifacts.read_manifest(cell.folder(study, root))
            manifests.append({**_flat(manifest), "memory": _memory(cell, study, root)})
            finished.setdefault(stage, []).append(cell)
            if manifest["status"] == "failed":
                not_run.append({"what": f"{stage} {cell.key} (failed)", "why": manifest["reason"]})
    not_run += _absent_metrics(finished.get("score", []), study, root)
    scores = _tables(finished.get("score", []), "scores.parquet", study, root)
    scores = with_scenes(scores, finished.get("fetch", []), study, root)
    return StudyData(
        scores=_with_seconds(scores, manifests),
        utility=_with_costs(finished.get("federate", []), study, root),
        pictures=_pictures(finished.get("score", []), study, root),
        cards={
            cell.dataset: artifacts.read_json(cell.folder(study, root) / "card.json")
            for cell in finished.get("fetch", [])
        },
        manifests=manifests,
        study=_stated(study),
        not_run=not_run,
        deviations=[item.model_dump() for item in study.deviations],
        threat_models=[threat.grants for threat in study.threat_models],
        explanations=_explanations(finished.get("observe", []), study, root),
        claims=ledger.load(claims) if claims.is_file() else [],
        planned=frozenset(cell.key for cell in attack_cells(study)),
    )


def _stated(study: Study) -> dict[str, Any]:
    """Return the resolved study file; a parameter that was chosen says so, since its default is not what ran."""
    stated = study.model_dump(mode="json")
    for attack in stated["attacks"]:
        attack["parameters"] |= dict.fromkeys(attack.pop("tuned"), CHOSEN)
    return stated


def _with_seconds(scores: pd.DataFrame, manifests: list[dict[str, Any]]) -> pd.DataFrame:
    """Add the seconds of each attack's job from manifests; score tables omit them to have the same bytes on every run."""
    if scores.empty:
        return scores
    seconds = {job["cell"]: job["seconds"] for job in manifests if job["stage"] == "attack"}
    names = ["dataset", "model", "defense", "training_stage", "protocol"]
    keys = scores[names].agg("/".join, axis=1) + "/seed" + scores["seed"].astype(str)
    keys = keys + "/" + scores["threat_model"] + "/" + scores["attack"]
    return scores.assign(seconds=keys.map(seconds).fillna(0.0))


def _with_costs(trained: list[Cell], study: Study, root: Path) -> pd.DataFrame:
    """Return utility by round with seconds and peak memory [MiB], which are in manifests for the same reason."""
    utility = _tables(trained, "utility.parquet", study, root)
    key = ["dataset", "model", "defense", "seed"]
    costs = [
        {**{name: getattr(cell, name) for name in key}, **spent}
        for cell in trained
        for spent in artifacts.read_manifest(cell.folder(study, root))["notes"]["rounds"]
    ]
    if not costs:
        return utility
    return utility.merge(pd.DataFrame(costs), on=[*key, "round"], how="left")


def _missing(cell: Cell, study: Study, root: Path, absent: dict[str, str]) -> str:
    folder = cell.folder(study, root)
    if not os.path.lexists(folder / artifacts.MANIFEST):
        return absent_data.waits_for(cell, study, absent) or "not run yet"
    if artifacts.read_manifest(folder)["digest"] != digest(cell, study):
        return f"made under other settings. {MEND}"
    return ""


def _flat(manifest: dict[str, Any]) -> dict[str, Any]:
    environment = manifest["environment"]
    return {
        **{name: manifest[name] for name in ("stage", "status", "reason", "seconds", "started")},
        "cell": manifest["key"],
        "tuning": manifest["notes"].get("tuning"),
        **{name: environment[name] for name in ("device", "versions", "commit", "threads")},
    }


def _memory(cell: Cell, study: Study, root: Path) -> float | None:
    """Return the largest resident set of a cell's job [MiB] as Snakemake measured it; None if another program ran it."""
    kept = root / "results" / study.study / "benchmarks" / cell.stage / f"{cell.key}.jsonl"
    if not kept.is_file():
        return None
    try:
        lines = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]
        values = [line.get("max_rss") for line in lines]
        measured = [float(value) for value in values if value not in (None, "NA")]
    except (ValueError, AttributeError) as error:
        raise ArtifactError(
            f"{kept}, which Snakemake wrote, is damaged ({error}). Delete it: its cell then has no memory in the report"
        ) from error
    return max(measured, default=None)


def _absent_metrics(scored: list[Cell], study: Study, root: Path) -> list[dict[str, Any]]:
    """A metric that could not be computed is reported once, not once per cell."""
    reasons: dict[str, str] = {}
    for cell in scored:
        reasons |= artifacts.read_manifest(cell.folder(study, root))["notes"]["absent"]
    return [{"what": f"metric {name}", "why": reason} for name, reason in sorted(reasons.items())]


def _tables(of_stage: list[Cell], name: str, study: Study, root: Path) -> pd.DataFrame:
    tables = [artifacts.read_table(cell.folder(study, root) / name) for cell in of_stage]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _pictures(scored: list[Cell], study: Study, root: Path) -> LazyPictures:
    def load(key: str) -> dict[str, NDArray[np.uint8]]:
        folder = parse_key("score", key, study).folder(study, root)
        tensors, _ = artifacts.read_tensors(folder / "pictures.safetensors", "pictures")
        return {name: value.numpy() for name, value in tensors.items()}

    return LazyPictures((cell.key for cell in scored), load)


def _explanations(observed: list[Cell], study: Study, root: Path) -> dict[str, Explanation]:
    """Return the explanations by cell; empty if the study asked for none."""
    explanations: dict[str, Explanation] = {}
    for cell in observed:
        path = cell.folder(study, root) / "explanation.safetensors"
        tensors, _ = artifacts.read_tensors(path, "explanation")
        if tensors:
            explanations[cell.key] = {name: value.numpy() for name, value in tensors.items()}
    return explanations

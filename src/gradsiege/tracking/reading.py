"""The numbers of a finished cell for one run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradsiege import artifacts
from gradsiege.analysis.summary import PSNR_CAP
from gradsiege.metrics.registry import METRICS
from gradsiege.pipeline.cells import Cell
from gradsiege.study import Study

if TYPE_CHECKING:
    import pandas as pd

# MLflow's SQL stores turn infinity into 1.8e308, which ruins every axis; a perfect copy has an infinite PSNR.
AVERAGED = (*METRICS, "matching_loss", "label_accuracy", "identified")


@dataclass
class Replay:
    """The content of one run.

    Attributes:
        metrics: rows of (name, value, step, seconds since the epoch).
        flags: further tags.
    """

    metrics: list[tuple[str, float, int, float]] = field(default_factory=list)
    flags: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, value: float, step: int, when: float) -> None:
        """Keep a finite number; MLflow cannot represent the others."""
        if math.isfinite(value):
            self.metrics.append((name, float(value), step, when))


def read(cell: Cell, manifest: dict[str, Any], study: Study, root: Path) -> Replay:
    """Read the numbers of one finished cell."""
    folder = cell.folder(study, root)
    start = float(manifest["started"])
    end = float(manifest.get("ended", start + manifest["seconds"]))
    if cell.stage == "federate":
        return _utility(artifacts.read_table(folder / "utility.parquet"), start, end)
    if cell.stage == "score":
        several = len(study.threat_models) > 1
        return _scores(artifacts.read_table(folder / "scores.parquet"), several, end)
    replay = Replay()
    for name, value in artifacts.read_json(folder / "card.json").items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            replay.add(name, value, 0, end)
    return replay


def _utility(table: pd.DataFrame, start: float, end: float) -> Replay:
    """Return the utility by round; rounds are spread evenly over the time of the job."""
    replay = Replay()
    last = max(int(table["round"].max()), 1)
    for row in table.to_dict("records"):
        step = int(row["round"])
        for name in ("accuracy", "macro_f1", "micro_f1", "loss"):
            replay.add(name, float(row[name]), step, start + (end - start) * step / last)
    return replay


def _scores(table: pd.DataFrame, several: bool, end: float) -> Replay:
    """Return the mean of every metric over the images of an attack or control, as ``metric/attack``.

    Failed images have no metrics and are counted under ``failed``. An infinite PSNR counts as `PSNR_CAP` and is
    counted under ``perfect``.
    """
    measured = [name for name in AVERAGED if name in table]
    numbers = table[measured].astype(float)
    numbers["psnr"] = numbers["psnr"].clip(upper=PSNR_CAP)
    numbers["perfect"] = table["psnr"].eq(math.inf)
    numbers["failed"] = table["status"].eq("failed")
    numbers["images"] = 1
    # One pass over the table, since a study has thousands of tables.
    groups = numbers.groupby([table["threat_model"], table["attack"]], sort=False)
    means, counts = groups[measured].mean(), groups[["perfect", "failed", "images"]].sum()
    replay = Replay()
    rows = zip(means.index, means.to_dict("records"), counts.to_dict("records"), strict=True)
    for (threat, attack), mean, count in rows:
        name = f"{threat}/{attack}" if several and threat else str(attack)
        if count["perfect"]:
            replay.flags["gradsiege.psnr_capped"] = f"{PSNR_CAP:g} dB"
        else:
            del count["perfect"]
        for key, value in (mean | count).items():
            replay.add(f"{key}/{name}", value, 0, end)
    return replay


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested settings as dotted names and text.

    >>> flat({"attack": {"name": "gi_pip", "parameters": {}}, "victims": 8})
    {'attack.name': 'gi_pip', 'victims': '8'}
    """
    out: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            out |= flat(value, f"{prefix}{key}.")
        else:
            out[prefix + key] = str(value)
    return out

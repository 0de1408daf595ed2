"""Jobs, failures and seconds of every stage on every device."""

from __future__ import annotations

import pandas as pd

from gradsiege.report.data import Drawn, StudyData
from gradsiege.report.provenance import setting
from gradsiege.report.wording import duration

VERSION = 2
TITLE = "Compute used"
STAGES = ("fetch", "prior", "shadow", "federate", "observe", "attack", "score", "publish")
COLUMNS = ["stage", "device", "jobs", "failed_jobs", "total_seconds"]
COLUMNS += ["median_seconds", "longest_seconds"]


def draw(data: StudyData) -> Drawn:
    """Tabulate wall-clock seconds by stage and device, failed jobs included."""
    table = plotted(data)
    shown = pd.DataFrame(
        [
            {
                "Stage": row["stage"],
                "Device": row["device"],
                "Jobs": str(row["jobs"]),
                "Failed": str(row["failed_jobs"]),
                "Total": duration(row["total_seconds"]),
                "Median job": duration(row["median_seconds"]),
                "Longest job": duration(row["longest_seconds"]),
            }
            for _, row in table.iterrows()
        ]
    )
    total = duration(float(table["total_seconds"].sum())) if len(table) else "no time"
    caption = (
        f"Wall-clock time inside the jobs, {total} in all, failed jobs included. Jobs may have run "
        "at the same time; start-up of the processes is not counted."
    )
    return Drawn(TITLE, caption, table, shown=shown)


def plotted(data: StudyData) -> pd.DataFrame:
    """One row per stage and device, in the order of the pipeline."""
    jobs = pd.DataFrame(
        [
            {
                "stage": str(job.get("stage", "unknown")),
                "device": str(setting(job, "device") or "not recorded"),
                "failed": job.get("status", "complete") != "complete",
                "seconds": float(job.get("seconds") or 0.0),
            }
            for job in data.manifests
        ],
        columns=["stage", "device", "failed", "seconds"],
    )
    table = (
        jobs.groupby(["stage", "device"], sort=False)
        .agg(
            jobs=("seconds", "size"),
            failed_jobs=("failed", "sum"),
            total_seconds=("seconds", "sum"),
            median_seconds=("seconds", "median"),
            longest_seconds=("seconds", "max"),
        )
        .reset_index()
    )
    order = {stage: place for place, stage in enumerate(STAGES)}
    rank = table["stage"].map(lambda stage: order.get(stage, len(order)))
    ranked = table.assign(rank=rank).sort_values(["rank", "device"], kind="stable")
    return ranked[COLUMNS].reset_index(drop=True)

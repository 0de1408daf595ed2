"""Keep a finished study's tables and charts in git, beside a record of the run that made them: ``make keep STUDY=config/gifd.yaml``."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from PIL import Image

from gradsiege.cli.options import load_study as read_study
from gradsiege.inspection.kept_evidence import NAME as CLAIMS
from gradsiege.inspection.verdict_page import page
from gradsiege.pipeline.status import DONE, Status, survey
from gradsiege.report.data import StudyData
from gradsiege.report.load import load_study
from gradsiege.report.save import columns_file, csv, save
from gradsiege.report.tables import table_claims
from gradsiege.report.tidy import tidy
from gradsiege.sharing.restrictions import restricted_data
from gradsiege.stages.publish import draw
from gradsiege.study.ledger import FILE as LEDGER

KEPT = Path(__file__).parent
ROOT = Path("results")
MOST_BYTES = {".csv": 1_000_000, ".png": 400_000}
COLOURS = (128, 64, 32, 16)  # what a chart too large is reduced to, until it fits
# Every picture of the victims: too much for git, and back with the study.
# The dictionary is the same for all studies, and stands once beside them.
LEFT_OUT = {"gallery", "columns"}
STRIP = "reconstructions"
STRIP_BYTES = 150_000  # the strip is part of pages that people read first
# Charts that show images of victims: kept only where the terms of all data sets of the study allow it.
PICTURED = {STRIP, "tip_activation_maps"}
# Drawn for every kept study, also where its file does not list them.
FACE = ("headline", STRIP)


def record(surveyed: dict[str, list[Status]]) -> dict[str, Any]:
    """Return what made the results: commits, machines, versions, dates, and how every stage's cells ended."""
    done = [
        status.manifest
        for statuses in surveyed.values()
        for status in statuses
        if status.state in DONE
    ]
    places = [manifest["environment"] for manifest in done]
    ended = [datetime.fromtimestamp(manifest["ended"], UTC) for manifest in done]
    return {
        "commits": sorted({str(place["commit"]) for place in places}),
        "devices": sorted({str(place["device"]) for place in places}),
        "versions": places[0]["versions"] if places else {},
        "first cell ended": min(ended).isoformat(timespec="minutes") if ended else None,
        "last cell ended": max(ended).isoformat(timespec="minutes") if ended else None,
        "stages": {
            stage: dict(Counter(status.state for status in statuses))
            | {
                "seconds": round(
                    sum(float(status.manifest.get("seconds", 0)) for status in statuses)
                )
            }
            for stage, statuses in surveyed.items()
            if statuses
        },
        "not run": [
            f"{status.cell.stage} {status.cell.key}: {status.reason}"
            for statuses in surveyed.values()
            for status in statuses
            if status.state != "finished"
        ],
    }


def drawings(results: Path, *, withheld: bool) -> list[Path]:
    """Return the tables and charts of a study's results that are kept; of the charts of the face those that show something.

    withheld: whether the terms of a data set forbid to show its images.
    """
    left_out = LEFT_OUT | (PICTURED if withheld else set())
    tables = [*results.glob("tables/*.csv"), *results.glob("figures/*.csv")]
    charts = [
        path
        for path in results.glob("figures/*.png")
        if path.stem not in FACE or _measurements(path.with_suffix(".csv"))
    ]
    return sorted(path for path in tables + charts if path.stem not in left_out)


def _measurements(file: Path) -> bool:
    """Whether a data file holds more than its headings."""
    return file.is_file() and len(file.read_text(encoding="utf-8").splitlines()) > 1


def shrink(source: Path, target: Path) -> None:
    """Copy a chart; reduce its colours if it is larger than its kind may be."""
    most = STRIP_BYTES if source.stem == STRIP else MOST_BYTES[".png"]
    shutil.copyfile(source, target)
    for colours in COLOURS:
        if target.stat().st_size <= most:
            return
        Image.open(source).convert("RGB").quantize(colours).save(target, optimize=True)
    if target.stat().st_size > most:
        raise SystemExit(f"{source} has more than {most} bytes even in {COLOURS[-1]} colours")


def _draw_face(data: StudyData, results: Path, figures: Collection[str]) -> None:
    """Draw the charts that people look at first, but for those that Snakemake has drawn."""
    for name in FACE:
        if name not in figures or not (results / "figures" / f"{name}.png").is_file():
            save(draw(name, data), results, name)


def keep(file: Path) -> Path:
    """Copy the tables of the study in `file`, its charts and the numbers behind them; write ``run.json``."""
    study = read_study(file)  # as the verbs read it, with what the sources of its data list now
    folder = KEPT / study.study
    folder.mkdir(exist_ok=True)
    for old in [*folder.glob("*.csv"), *folder.glob("*.png")]:
        old.unlink()
    results = ROOT / study.study
    if not [*results.glob("tables/*.csv"), *results.glob("figures/*.csv")]:
        choice = shlex.quote(f"study={file}")
        raise SystemExit(f"{results} holds no table: run snakemake --config {choice} first")
    data = load_study(study, Path())
    _draw_face(data, results, study.figures)
    for source in drawings(results, withheld=bool(restricted_data(study))):
        if source.suffix == ".png":
            shrink(source, folder / source.name)
        elif source.stat().st_size <= MOST_BYTES[source.suffix]:
            shutil.copyfile(source, folder / source.name)
    if not (folder / CLAIMS).is_file():
        (folder / CLAIMS).write_text(csv(tidy(table_claims.draw(data).data)))
    (KEPT / "columns.csv").write_text(columns_file())
    text = json.dumps(record(survey(study, Path())), indent=1)
    (folder / "run.json").write_text(text + "\n")
    return folder


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(keep(Path(name)))
    (KEPT / "VERDICTS.md").write_text(page(LEDGER, KEPT))

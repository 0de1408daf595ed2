"""Keep a finished study's tables in git, beside a record of the run that made them: ``make keep STUDY=config/gifd.yaml``."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from PIL import Image

from gradsiege.inspection.kept_evidence import NAME as CLAIMS
from gradsiege.inspection.verdict_page import page
from gradsiege.pipeline.status import DONE, Status, survey
from gradsiege.report.load import load_study
from gradsiege.report.save import columns_file, csv
from gradsiege.report.tables import table_claims
from gradsiege.report.tidy import tidy
from gradsiege.study import load
from gradsiege.study.ledger import FILE as LEDGER

KEPT = Path(__file__).parent
ROOT = Path("results")
MOST_BYTES = {".csv": 1_000_000, ".png": 400_000}
COLOURS = 128  # what a chart too large is reduced to
# Pictures of the victims: too much for git, and back with the study.
# The dictionary is the same for all studies, and stands once beside them.
LEFT_OUT = {"gallery", "columns"}


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


def keep(file: Path) -> Path:
    """Copy the tables of the study in `file`, its charts and the numbers behind them; write ``run.json``."""
    study = load(file)
    folder = KEPT / study.study
    folder.mkdir(exist_ok=True)
    for old in [*folder.glob("*.csv"), *folder.glob("*.png")]:
        old.unlink()
    results = ROOT / study.study
    tables = [*results.glob("tables/*.csv"), *results.glob("figures/*.csv")]
    if not tables:
        choice = shlex.quote(f"study={file}")
        raise SystemExit(f"{results} holds no table: run snakemake --config {choice} first")
    for source in [*tables, *results.glob("figures/*.png")]:
        if source.stem in LEFT_OUT:
            continue
        if source.stat().st_size <= MOST_BYTES[source.suffix]:
            shutil.copyfile(source, folder / source.name)
        elif source.suffix == ".png":
            Image.open(source).convert("RGB").quantize(COLOURS).save(
                folder / source.name, optimize=True
            )
    if not (folder / CLAIMS).is_file():
        (folder / CLAIMS).write_text(csv(tidy(table_claims.draw(load_study(study, Path())).data)))
    (KEPT / "columns.csv").write_text(columns_file())
    text = json.dumps(record(survey(study, Path())), indent=1)
    (folder / "run.json").write_text(text + "\n")
    return folder


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(keep(Path(name)))
    (KEPT / "VERDICTS.md").write_text(page(LEDGER, KEPT))

"""Write the tables of costs into docs/ARTIFACT.md, between its two markers: ``python -m benchmarks.costs_table``.

Times come from `durations.csv`, memory and disk from `sizes.csv`, planning and tiny cells from their own rows, the seconds of a study's jobs from its
kept `run.json`, the number of its cells from `tests/study_digests.json`. The machine of a study that was not run is named by
config/README.md, with the estimate. A row's `commit` is the one that was timed or, where no record names it, the one that recorded the row.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.kept import newest
from benchmarks.markers import replaced
from docs.pages.markdown import table

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/ARTIFACT.md"
STUDY_FILES = ROOT / "config/README.md"
# The first command runs the default study.
DEFAULT = "`make reproduce`, after set-up"
STAGE = "a job of "
STEPS = ("step", "time", "processor time", "memory", "disk", "machine", "recorded")
STUDIES = ("study", "cells", "needs", "time", "all jobs", "memory of a job", "disk")


@dataclass(frozen=True)
class Duration:
    """A measured time.

    Attributes:
        what: the step or study, as the page names it.
        clock: `wall`, or `processor` for seconds of all processes together.
        load: what else slowed the machine down, as words that follow the time; empty on a quiet one.
    """

    what: str
    seconds: float
    clock: str
    load: str
    cores: int
    processor: str
    commit: str
    date: str

    @property
    def machine(self) -> str:
        """The cores and their processor."""
        return f"{self.cores} cores, {self.processor}"


@dataclass(frozen=True)
class Size:
    """A measured size.

    Attributes:
        what: as of a duration.
        quantity: `memory` of the largest process, or `disk`.
    """

    what: str
    quantity: str
    value: str
    unit: str
    commit: str
    date: str


def durations() -> list[Duration]:
    """Return the kept times."""
    return [
        Duration(**row | {"seconds": float(row["seconds"]), "cores": int(row["cores"])})
        for row in _rows("durations.csv")
    ]


def sizes() -> list[Size]:
    """Return the kept sizes."""
    return [Size(**row) for row in _rows("sizes.csv")]


def _rows(name: str) -> list[dict[str, Any]]:
    with Path(__file__).with_name(name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def written(seconds: float) -> str:
    """Return a time as a page states it; whole minutes were measured as such.

    >>> written(1.8), written(312.0), written(6180.0)
    ('1.8 s', '5 min 12 s', '103 min')
    """
    minutes, rest = divmod(seconds, 60)
    parts = [f"{minutes:.0f} min"] * bool(minutes) + [f"{rest:g} s"] * bool(rest)
    return " ".join(parts)


def times(rows: Iterable[Duration], clock: str) -> str:
    """Return the times by a clock, each with the load of the machine."""
    return ", ".join(
        f"{written(row.seconds)} {row.load}".rstrip() for row in rows if row.clock == clock
    )


def size(rows: Iterable[Size], what: str, quantity: str) -> str:
    """Return one size; empty where it was not measured."""
    found = [row for row in rows if (row.what, row.quantity) == (what, quantity)]
    return f"{found[-1].value} {found[-1].unit}" if found else ""


def steps(kept: Sequence[Duration], measured: Sequence[Size]) -> list[list[str]]:
    """Return a row per step and machine; studies and stages stand elsewhere."""
    every: list[Duration | Size] = [*kept, *measured]
    names = dict.fromkeys(row.what for row in every)
    rows = []
    for what in names:
        if what.endswith(".yaml`") or what.startswith(STAGE):
            continue
        of_step = [row for row in kept if row.what == what]
        machines = dict.fromkeys(row.machine for row in of_step) or [""]
        for place, machine in enumerate(machines):
            here = [row for row in of_step if row.machine == machine]
            # Sizes hold on any machine and stand once.
            amounts = [
                size(measured, what, name) if not place else "" for name in ("memory", "disk")
            ]
            dated: Sequence[Duration | Size] = here or [row for row in measured if row.what == what]
            recorded = max(f"{row.date}, `{row.commit}`" for row in dated)
            clocks = [times(here, "wall"), times(here, "processor")]
            rows.append([what, *clocks, *amounts, machine, recorded])
    return rows


def tiny_cells() -> list[str]:
    """Return the row of the newest run of cells that compute next to nothing."""
    row = newest("tiny_cells.jsonl")
    what = f"`snakemake --cores 2`, {row['cells']} cells that compute next to nothing (`python -m benchmarks.tiny_cells`)"
    return [what, written(round(row["seconds"])), "", "", "", "", row["when"][:10]]


def planning() -> list[str]:
    """Return the row of the newest dry run of a paper's whole matrix."""
    row = newest("planning.jsonl")
    return [
        f"planning `paper/tip.yaml`, {row['cells']:,} cells (`python -m benchmarks.planning`)",
        written(round(row["seconds"])),
        "",
        f"{row['peak MiB'] * 2**20 / 1e9:.1f} GB",
        "",
        "",
        row["when"][:10],
    ]


def by_stage(measured: Iterable[Size]) -> str:
    """Return the sentence on the memory of each stage's jobs."""
    parts = [
        f"{row.what.removeprefix(STAGE)} {row.value} {row.unit}"
        for row in measured
        if row.what.startswith(STAGE)
    ]
    return f"By stage, the largest memory of a job in the default study: {', '.join(parts)}.\n"


def needs() -> dict[str, str]:
    """Return the machine of every study file, as config/README.md describes it."""
    text = STUDY_FILES.read_text(encoding="utf-8")
    return dict(re.findall(r"^\| `([\w/]+\.yaml)` \| .+? \| (.+?) \|$", text, flags=re.MULTILINE))


def record(name: str) -> dict[str, Any]:
    """Return the stages of a kept study as its record has them, an empty mapping for another one."""
    file = ROOT / "docs/results" / name.removesuffix(".yaml") / "run.json"
    if not file.is_file():
        return {}
    stages: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["stages"]
    return stages


def jobs(name: str) -> str:
    """Return the time of all jobs of a kept study together; empty for another one."""
    stages = record(name).values()
    return f"{sum(stage['seconds'] for stage in stages) / 60:.0f} min" if stages else ""


def is_of_another_form(name: str, cells: int) -> bool:
    """Whether a kept study had another number of cells than its file plans now, so that its times are not those of the file."""
    kept = sum(stage["finished"] for stage in record(name).values())
    return bool(kept) and kept != cells


def studies(kept: Sequence[Duration], measured: Sequence[Size]) -> list[list[str]]:
    """Return a row per study file."""
    planned = json.loads((ROOT / "tests/study_digests.json").read_text(encoding="utf-8"))
    rows = []
    for name, machine in needs().items():
        what = f"`{name}`"
        time = times([row for row in kept if row.what == what], "wall")
        if name == "quick.yaml":
            time = f"as {DEFAULT}"
        amounts = [size(measured, what, quantity) for quantity in ("memory", "disk")]
        cells = planned[name]["cells"]
        spent = [time, jobs(name), *amounts]
        if is_of_another_form(name, cells):
            spent = ["" for _ in spent]
        rows.append([f"`{name}`", f"{cells:,}", machine, *spent])
    return rows


def made() -> str:
    """Return both tables as they stand between the markers."""
    kept, measured = durations(), sizes()
    first = table(STEPS, [*steps(kept, measured), tiny_cells(), planning()])
    second = table(STUDIES, studies(kept, measured))
    return re.sub(r"\|  (?=\|)", "| ", f"\n{first}\n\n{by_stage(measured)}\n{second}\n\n")


def page(text: str) -> str:
    """Return the page with its tables made anew."""
    return replaced(text, made())


def main() -> None:
    """Rewrite the page."""
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()

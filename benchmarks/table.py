"""Write the newest row of `rows.jsonl` for each device as the table of docs/SPEED.md, between its two markers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.markers import replaced

ROWS = Path(__file__).with_name("rows.jsonl")
PAGE = Path(__file__).parents[1] / "docs/SPEED.md"
HEAD = (
    "| device | network, victims | engine | ms per iteration | speed-up | forward passes | share of the ceiling |\n"
    "|---|---|---|---|---|---|---|\n"
)
# So many processes per thread that ran or waited are other work.
BUSY = 1.5
COMPARED = (
    "| device | network, victims | way | ms per victim and iteration | without set-up | speed-up | ms per victim to 25 dB (iterations) | dB at the end |\n"
    "|---|---|---|---|---|---|---|---|\n"
)


def newest(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the last record of engines for each device, in the order of their first appearance."""
    latest = {row["device"]: row for row in rows if "engines" in row}
    return list(latest.values())


def table(rows: list[dict[str, Any]]) -> str:
    """Return the tables, and a sentence for scaling and start-up, as Markdown."""
    lines, notes = [HEAD], []
    for record in newest(rows):
        device = f"{record['device']}, {record['threads']} threads"
        lines += [_engine_line(device, row) for row in record["engines"]]
        measured = [row for row in record["engines"] if "failed" not in row]
        bounds = {row["model"]: row["speed-up at the ceiling"] for row in measured}
        at_most = ", ".join(f"{name} {bound}x" for name, bound in bounds.items())
        notes.append(
            f"\n{device}: seven forward passes at the rate of a large convolution, measured in the same run, and no "
            f"time for anything else would be {at_most} the textbook loop.\n"
        )
        if record.get("load", 0) > BUSY * record["threads"]:
            notes.append(
                f"\n{device}: beside other work; {record['load']:g} processes ran or waited at the start. Compare the ratios.\n"
            )
        if "scaling" in record:
            notes.append(_scaling(device, record))
    return "".join(lines + notes) + comparison(rows)


def _engine_line(device: str, row: dict[str, Any]) -> str:
    start = f"| {device} | {row['model']}, {row['victims']} | {row['engine']} |"
    if "failed" in row:
        return f"{start} not run: {row['failed']} | | | |\n"
    passes = row["forward passes"]
    return (
        f"{start} {row['milliseconds']} | {row['speed-up']}x "
        f"| {'not counted' if passes is None else passes} | {row['share of ceiling']:.0%} |\n"
    )


def _scaling(device: str, record: dict[str, Any]) -> str:
    per_victim = ", ".join(
        f"{point['milliseconds per victim']} ({point['victims']})" for point in record["scaling"]
    )
    return (
        f"\n{device}, PyTorch {record['torch']}, {record['when'][:10]}: milliseconds per victim of the convnet, "
        f"factored (victims): {per_victim}. From an interpreter's start to the end of the first "
        f"iteration: {record['start-up seconds']} s.\n"
    )


def comparison(rows: list[dict[str, Any]]) -> str:
    """Return the table of the newest comparison with `breaching` for each device and network; empty if there is none."""
    latest: dict[tuple[str, str], dict[str, Any]] = {}
    for record in rows:
        for row in record.get("compared", []):
            key = record["device"], f"{row['model']} {row['way'].split(',')[0]}"
            latest[key] = row | {"load": record.get("load", 0)}
    if not latest:
        return ""
    theirs = {
        (device, row["model"]): row["milliseconds"]
        for (device, _), row in latest.items()
        if row["way"] == "breaching"
    }
    lines = [
        f"| {device} | {row['model']}, {row['victims']} | {row['way']} | {row['milliseconds']} | {row['without set-up']} "
        f"| {theirs[device, row['model']] / row['milliseconds']:.2f}x | {_reached(row)} | {row['decibels at the end']} |\n"
        for (device, _), row in latest.items()
    ]
    loads = sorted({row["load"] for row in latest.values() if row["load"] > BUSY})
    note = ""
    if loads:
        note = f"\nBeside other work: {loads[0]:g} to {loads[-1]:g} processes ran or waited. Compare the ratios.\n"
    return "\n" + COMPARED + "".join(lines) + note


def _reached(row: dict[str, Any]) -> str:
    if row["iterations to 25 dB"] is None:
        return "not reached"
    return f"{row['milliseconds to 25 dB']:g} ({row['iterations to 25 dB']})"


def main() -> None:
    """Rewrite the page's table."""
    rows = [json.loads(line) for line in ROWS.read_text(encoding="utf-8").splitlines()]
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(replaced(text, table(rows)), encoding="utf-8")


if __name__ == "__main__":
    main()

"""Write the newest row of `rows.jsonl` for each device as the README's table, between its two markers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROWS = Path(__file__).with_name("rows.jsonl")
README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- benchmark begins -->\n", "<!-- benchmark ends -->\n"
HEAD = (
    "| device | network, victims | engine | ms per iteration | speed-up | forward passes | share of the ceiling |\n"
    "|---|---|---|---|---|---|---|\n"
)


def newest(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the last record of each (device, threads), in the order of their first appearance."""
    latest = {(row["device"], row["threads"]): row for row in rows}
    return list(latest.values())


def table(rows: list[dict[str, Any]]) -> str:
    """Return the table, and a sentence for scaling and start-up, as Markdown."""
    lines, notes = [HEAD], []
    for record in newest(rows):
        device = f"{record['device']}, {record['threads']} threads"
        for row in record["engines"]:
            passes = row["forward passes"]
            lines.append(
                f"| {device} | {row['model']}, {row['victims']} | {row['engine']} | {row['milliseconds']} "
                f"| {row['speed-up']}x | {'not counted' if passes is None else passes} "
                f"| {row['share of ceiling']:.0%} |\n"
            )
        per_victim = ", ".join(
            f"{point['milliseconds per victim']} ({point['victims']})"
            for point in record["scaling"]
        )
        bounds = {row["model"]: row["speed-up at the ceiling"] for row in record["engines"]}
        at_most = ", ".join(f"{name} {bound}x" for name, bound in bounds.items())
        notes.append(
            f"\n{device}: seven forward passes at the rate of a large matrix product, measured in the same run, and no "
            f"time for anything else would be {at_most} the textbook loop.\n"
            f"\n{device}, PyTorch {record['torch']}, {record['when'][:10]}: milliseconds per victim of the convnet, "
            f"factored (victims): {per_victim}. From an interpreter's start to the end of the first "
            f"iteration: {record['start-up seconds']} s.\n"
        )
    return "".join(lines + notes)


def main() -> None:
    """Rewrite the README's table."""
    rows = [json.loads(line) for line in ROWS.read_text(encoding="utf-8").splitlines()]
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    README.write_text(before + BEGIN + table(rows) + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()

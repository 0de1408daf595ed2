"""Gain of one idea in an attack: paired differences between two arms of the study on the same victims."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from gradsiege.analysis.paired import compare_with_baseline
from gradsiege.analysis.significance import holm
from gradsiege.metrics.registry import METRICS as LABELS
from gradsiege.report.data import Drawn, StudyData
from gradsiege.report.labels import label
from gradsiege.report.wording import (
    DASH,
    INTERVAL,
    STARRED,
    fold_constant,
    place_label,
    starred,
    synthetic_note,
    threat_label,
    with_interval,
)

VERSION = 3
TITLE = "What each idea adds"
METRICS = ("psnr", "ssim", "lpips", "lpips_vgg")
# By metric of the table for people: its heading and the digits shown.
HEADINGS = {
    "psnr": ("Δ PSNR [dB]", 1),
    "ssim": ("Δ SSIM", 3),
    "lpips": ("Δ LPIPS (lower is better)", 3),
}
CELL = ["dataset", "model", "defense", "training_stage", "protocol", "threat_model"]
ENDS = ("", "_low", "_high")
FOLDED = ["Where", "Defense", "Threat model"]


def draw(data: StudyData) -> Drawn:
    """Tabulate every pair of `gains` of the study, cell by cell."""
    table = plotted(data)
    shown = pd.DataFrame([_line(data, row) for _, row in table.iterrows()])
    shown, folded = fold_constant(shown, FOLDED)
    quiet = tuple(place for place, pairs in enumerate(table["pairs"]) if not pairs)
    return Drawn(TITLE, _caption(data, table) + folded, table, shown=shown, quiet=quiet)


def plotted(data: StudyData) -> pd.DataFrame:
    """One row per pair and cell; a pair that met in no cell has one row without numbers.

    Columns: idea, attack, against, the ids of the cell; pairs, victims, unpaired; for each metric the mean difference
    `<metric>_change`, `_low`, `_high` and its Wilcoxon p, `<metric>_p`, with `<metric>_holm` adjusted over the whole table.
    """
    columns = ["idea", "attack", "against", *CELL, "pairs", "victims", "unpaired"]
    metrics = [name for name in METRICS if name in data.scores and data.scores[name].notna().any()]
    for name in metrics:
        columns += [f"{name}_change{end}" for end in ENDS] + [f"{name}_p", f"{name}_holm"]
    rows = [
        row
        for gain in data.study.get("gains", ())
        for row in _rows(data.scores, gain["idea"], gain["attack"], gain["against"], metrics)
    ]
    table = pd.DataFrame(rows).reindex(columns=columns)
    for name in metrics:
        table[f"{name}_holm"] = holm(table[f"{name}_p"].to_numpy(dtype="float64"))
    table[["pairs", "victims", "unpaired"]] = table[["pairs", "victims", "unpaired"]].fillna(0)
    return table.astype({"pairs": int, "victims": int, "unpaired": int})


def _rows(
    scores: pd.DataFrame, idea: str, attack: str, against: str, metrics: Iterable[str]
) -> list[dict[str, object]]:
    """Return the differences of a pair in every cell where both attacks ran under one threat model."""
    names: dict[str, object] = {"idea": idea, "attack": attack, "against": against}
    both = scores[scores["attack"].isin([attack, against])]
    rows: dict[tuple[object, ...], dict[str, object]] = {}
    for metric in metrics:
        compared = compare_with_baseline(both, against, metric=metric)
        for _, pair in compared.iterrows():
            if pair["baseline_threat_model"] != pair["threat_model"] or not pair["pairs"]:
                continue
            key = tuple(pair[CELL])
            counts = {name: pair[name] for name in ("pairs", "victims", "unpaired")}
            row = rows.setdefault(key, {**names, **dict(zip(CELL, key, strict=True)), **counts})
            row |= {
                **{f"{metric}_change{end}": pair[f"difference{end}"] for end in ENDS},
                f"{metric}_p": pair["wilcoxon_p"],
            }
    return [*rows.values()] or [names]


def _line(data: StudyData, row: pd.Series) -> dict[str, str]:
    arms = [label(row[arm], data.name_of("attacks", row[arm])) for arm in ("attack", "against")]
    line = {"Idea": str(row["idea"]), "Attacks": " − ".join(arms)}
    measured = {name: shown for name, shown in HEADINGS.items() if f"{name}_change" in row}
    if not row["pairs"]:
        line |= dict.fromkeys(FOLDED, "not run")
        return line | {heading: DASH for heading, _ in measured.values()}
    line |= {
        "Where": place_label(row),
        "Defense": label(row["defense"], data.name_of("defenses", row["defense"])),
        "Threat model": threat_label(data, row["threat_model"]),
    }
    for name, (heading, digits) in measured.items():
        value, low, high = (row[f"{name}_change{end}"] for end in ENDS)
        line[heading] = starred(with_interval(value, low, high, digits), row[f"{name}_holm"])
    return line


def _victims(table: pd.DataFrame) -> str:
    """The number of victims of a row, or the span over rows."""
    counts = sorted(set(table.loc[table["pairs"] > 0, "victims"]))
    span = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else "".join(map(str, counts))
    return f" n = {span} victims per row." if span else ""


def _caption(data: StudyData, table: pd.DataFrame) -> str:
    if table.empty:
        return "The study file names no pair of attacks in `gains`."
    lost = int(table["unpaired"].sum())
    absent = [
        f" {LABELS[name].label} is not shown: {item['why']}."
        for item in data.not_run
        for name in METRICS
        if str(item["what"]) == f"metric {name}"
    ]
    return (
        "Mean difference of an attack to the same attack without one idea, paired by victim image; positive is a gain "
        "in PSNR and SSIM, negative in LPIPS (AlexNet; VGG16 is in the data file). The pairs stand in the study file and "
        f"were named before it ran. {STARRED} (Wilcoxon's signed-rank test on victims, adjusted by Holm over this table, "
        f"each metric alone).{_victims(table)} {lost} images failed on either side and are in no pair. {INTERVAL}"
        f"{synthetic_note(data, table['dataset'].dropna())}{''.join(absent)}"
    )

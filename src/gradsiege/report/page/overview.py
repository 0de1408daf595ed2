"""The head of the report: the parts of the study that ran, and those that did not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gradsiege.report import provenance
from gradsiege.report.data import StudyData, in_stage_order
from gradsiege.report.labels import label
from gradsiege.report.wording import duration, joined


def coverage(data: StudyData) -> str:
    """Return one sentence on the numbers of attacked images, attacks and defenses; empty if nothing was attacked."""
    attacked = data.scores[data.scores["kind"] == "attack"]
    if attacked.empty:
        return ""
    counts = {
        "attack": attacked["attack"].nunique(),
        "defense setting": attacked["defense"].nunique(),
        "model": attacked["model"].nunique(),
        "data set": attacked["dataset"].nunique(),
        "training stage": attacked["training_stage"].nunique(),
    }
    parts = [f"{count} {noun}{'' if count == 1 else 's'}" for noun, count in counts.items()]
    return f"{len(attacked)} reconstructions were attempted, with {joined(parts)}."


def facts(data: StudyData) -> list[tuple[str, str]]:
    """Return the parts that ran as pairs of a term and its values."""
    scores = data.scores
    attacks = data.in_order("attacks", scores.loc[scores["kind"] == "attack", "attack"])
    controls = dict.fromkeys(scores.loc[scores["kind"] == "control", "attack"])
    defenses = data.in_order("defenses", scores["defense"])
    cells = ["dataset", "model", "defense", "training_stage", "protocol", "seed"]
    size = scores.groupby(cells)["victim"].nunique()
    seconds = sum(float(job.get("seconds") or 0.0) for job in data.manifests)
    return [
        ("Data", _listed(data.in_order("datasets", scores["dataset"]))),
        ("Models", _listed(data.in_order("models", scores["model"]))),
        ("Attacks", joined(label(a, data.name_of("attacks", a)) for a in attacks) or "none"),
        ("Controls", _listed(controls)),
        ("Defenses", joined(label(d, data.name_of("defenses", d)) for d in defenses) or "none"),
        ("Training stages", joined(in_stage_order(scores["training_stage"])) or "none"),
        ("Protocols", _listed(data.in_order("protocols", scores["protocol"]))),
        ("Victims per cell", joined(str(count) for count in sorted(set(size))) or "none"),
        ("Cells attacked", str(len(size))),
        ("Compute", f"{duration(seconds)} on {joined(provenance.devices(data.manifests)) or '–'}"),
    ]


def _listed(identifiers: Iterable[object]) -> str:
    return joined(label(str(identifier)) for identifier in identifiers) or "none"


def by_reason(items: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Group the parts that were not run by their reason, which hundreds of cells may share.

    >>> by_reason([{"what": "a", "why": "no data"}, {"what": "b", "why": "no data"}])
    [{'why': 'no data', 'what': ['a', 'b']}]
    """
    groups: dict[str, list[str]] = {}
    for item in items:
        why = str(item.get("why", "")) or "no reason recorded"
        groups.setdefault(why, []).append(str(item.get("what", "")))
    return [{"why": why, "what": what} for why, what in groups.items()]


def unlisted(
    jobs: Iterable[Mapping[str, str]], items: Iterable[Mapping[str, Any]]
) -> list[Mapping[str, str]]:
    """Return the failed jobs that are not in the list of parts that were not run."""
    named = [str(item.get("what", "")) for item in items]
    return [
        job for job in jobs if not any(f"{job['stage']} {job['cell']}" in what for what in named)
    ]

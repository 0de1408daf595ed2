"""The panels of a sweep that belong to the prior: the share of auxiliary images that it had, and what kind of prior it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from gradsiege.report.data import StudyData
from gradsiege.report.labels import label
from gradsiege.study import PLACES

WITH, WITHOUT = "with anomaly score", "without"
Item = Mapping[str, Any]
# Names that must stand side by side under an axis.
SHORT = {
    "autoencoder": "auto-\nencoder",
    "denoising_autoencoder": "denoising\nauto-\nencoder",
}


def prior_points(data: StudyData, metric: str) -> list[dict[str, Any]]:
    """Rows of the axes ``fraction`` [%] and ``prior``: attacks that differ by their prior alone, at the origin of all axes.

    Attacks with the same settings but for the prior are taken together, and those of the settings that met most priors
    are drawn; the same attack without its score stands where there is no auxiliary image.
    """
    origin = _origin(data)
    families: dict[str, list[Item]] = {}
    for item in data.study.get("attacks", ()):
        if item.get("parameters", {}).get("anomaly_score", 0) != 0 and item["id"] in origin:
            families.setdefault(_settings(item), []).append(item)
    family = max(families.values(), key=len, default=[])
    if len(family) < 2:
        return []
    bare = [item for item in data.study["attacks"] if _is_bare(item, family[0])]
    alone = next((item["id"] for item in bare if item["id"] in origin), None)
    return _by_fraction(data, family, alone, metric) + _by_kind(data, family, alone, metric)


def _origin(data: StudyData) -> dict[str, pd.Series]:
    """The summary of every attack on undefended updates of the untrained model, one for each: that of the smallest batch."""
    images = {
        str(protocol["id"]): int(protocol["images"]) for protocol in data.study.get("protocols", ())
    }
    table = data.undefended(data.summary)
    table = table[(table["kind"] == "attack") & (table["training_stage"] == "untrained")]
    smallest = min(images.values(), default=1)
    table = table[table["protocol"].map(images) == smallest]
    return {row["attack"]: row for _, row in table.drop_duplicates("attack").iterrows()}


def _settings(item: Item) -> str:
    """Everything that decides an attack but its prior and its id."""
    return repr(sorted((k, repr(v)) for k, v in item.items() if k not in ("id", "prior", *PLACES)))


def _is_bare(item: Item, scored: Item) -> bool:
    """Whether an attack is `scored` without its anomaly score."""
    parameters = {**scored["parameters"], "anomaly_score": 0.0}
    return _settings(item) == _settings({**scored, "parameters": parameters})


def _by_fraction(
    data: StudyData, family: list[Item], alone: str | None, metric: str
) -> list[dict[str, Any]]:
    rows = []
    for item in family:
        prior = _prior(data, item)
        if prior["name"] == "autoencoder" and _is_own(data, prior):
            share = 100 * float(prior["parameters"].get("fraction", 1.0))
            rows.append(_row(data, "fraction", share, item["id"], WITH, metric))
    if len(rows) < 2:
        return []
    extra = [] if alone is None else [_row(data, "fraction", 0.0, alone, WITHOUT, metric)]
    return extra + rows


def _by_kind(
    data: StudyData, family: list[Item], alone: str | None, metric: str
) -> list[dict[str, Any]]:
    whole = [
        item for item in family if _prior(data, item)["parameters"].get("fraction", 1.0) == 1.0
    ]
    if len(whole) < 2:
        return []
    extra = [] if alone is None else [_row(data, "prior", "nothing", alone, WITHOUT, metric)]
    return extra + [
        _row(data, "prior", _kind(data, _prior(data, item)), item["id"], WITH, metric)
        for item in whole
    ]


def _prior(data: StudyData, item: Item) -> Item:
    used = item["prior"] if isinstance(item["prior"], str) else item["prior"][0]
    prior: Item = next(known for known in data.study["priors"] if known["id"] == used)
    return prior


def _is_own(data: StudyData, prior: Item) -> bool:
    """Whether a prior is trained on the attacked data set, which is the first of the study."""
    return prior.get("dataset") in (None, data.study["datasets"][0]["id"])


def _kind(data: StudyData, prior: Item) -> str:
    """A prior in short lines: what it is, and where it comes from if that is elsewhere."""
    name = SHORT.get(prior["name"], label(prior["name"]))
    return name if _is_own(data, prior) else f"{name}\nof {prior['dataset']}"


def _row(
    data: StudyData, axis: str, x: float | str, attack: str, series: str, metric: str
) -> dict[str, Any]:
    origin = _origin(data)[attack]
    names = {"axis": axis, "x": x, "series": series, "attack": attack, "source": "ours"}
    names["threat_model"] = origin["threat_model"]
    limits = {end: origin[f"{metric}_{end}"] for end in ("low", "high")}
    return {**names, "value": origin[metric], **limits, "victims": origin["victims"]}

"""Published numbers in figures: read from the ledger of claims, and drawn so that they look different from ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gradsiege.analysis.claims.claim import Claim
from gradsiege.report import style
from gradsiege.report.labels import label
from gradsiege.report.wording import joined

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ORIGINS = {
    "published": "Published",
    "digitised": "Published, read off a figure",
    "third_party": "Published by others",
    "derived": "From published constants",
}
NO_LEDGER = "the ledger of claims was not found: published points stand in config/claims.yaml."


def tinted(panel: Axes) -> None:
    """Mark a panel of published points with a background colour and the word."""
    panel.set_facecolor(style.TINT)
    place: dict[str, Any] = {"transform": panel.transAxes, "ha": "right", "va": "bottom"}
    panel.text(0.985, 0.02, "PUBLISHED", fontsize=6, color=style.MUTED, weight="bold", **place)


def name_in(selected: Mapping[str, Any]) -> str:
    """Method or data set that a selector names; the first of several.

    >>> name_in({"name": ["imagenet", "ffhq_age"]}), name_in({})
    ('imagenet', '')
    """
    name = selected.get("name", "")
    return str(name[0]) if isinstance(name, list) else str(name)


def setting_of(claim: Claim) -> str:
    """Return data and model of the source in readable words."""
    dataset = claim.cells.dataset or claim.needs.dataset
    names = dataset.get("name", [])
    names = names if isinstance(names, list) else [names]
    data = " or ".join(label(name) for name in names)
    model = name_in(claim.cells.model or claim.needs.model)
    return ", ".join(filter(None, [data, label(model) if model else ""]))


def sources(claims: list[Claim]) -> str:
    """Return the sources of the published numbers, each once, with the place in it."""
    told = dict.fromkeys(f"{claim.source} ({claim.place.partition(',')[0]})" for claim in claims)
    return joined(told)

"""A data card as the report shows it: the images, their source, their roles, and the file with the card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradsiege.report.labels import label
from gradsiege.study import ROLES


def data_card(
    name: str, card: Mapping[str, Any], folder: str, commands: Mapping[str, str]
) -> dict[str, Any]:
    """Return the parts of a data card that the report shows, and its file.

    folder: of the study's results; commands: "fetch" makes data sets again, if given.
    """
    known = {"name": "", "origin": "", "licence": "not stated", "sha256": ""}
    sources = [known | dict(source) for source in card.get("sources", ())]
    licences = dict.fromkeys(str(source["licence"]) for source in sources)
    counts = {
        role: sum(number.values()) if isinstance(number, Mapping) else int(number)
        for role, number in dict(card.get("counts", {})).items()
    }
    rank = {role: place for place, role in enumerate(ROLES)}
    return {
        "name": label(name),
        "synthetic": bool(card.get("synthetic", False)),
        "description": str(card.get("description", "")),
        "licences": list(licences) or [str(card.get("licence", "not stated"))],
        "sources": sources,
        "size": card.get("size"),
        "classes": [str(name) for name in card.get("classes", ())],
        "counts": dict(sorted(counts.items(), key=lambda item: rank.get(item[0], len(rank)))),
        "rule": str(card.get("splitting_rule", "")),
        "limits": str(card.get("limits", "")),
        "sha256": dict(card.get("sha256", {})),
        "file": f"{folder}/fetch/{name}/card.json",
        "command": commands.get("fetch", "") and f"{commands['fetch']} {name}",
    }

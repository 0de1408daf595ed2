"""The page of recorded updates: reconstructions and how well they match, without any truth."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from gradsiege.auditing.page.gallery import MOST, Strip, Tile
from gradsiege.auditing.page.images import address
from gradsiege.auditing.page.page import rendered
from gradsiege.auditing.page.sentences import knows, number
from gradsiege.auditing.page.tables import Table
from gradsiege.auditing.settings import note
from gradsiege.auditing.words import attacker_in_words, training_in_words
from gradsiege.protocol.local_update import LocalTraining
from gradsiege.ranges import counted

if TYPE_CHECKING:
    from gradsiege.auditing.recorded_result import Match, RecordedResult


def render_recorded(audit: RecordedResult, pictures: bool = True) -> str:
    """Return the page as one HTML document."""
    return rendered("recorded.html.j2", context(audit, pictures))


def context(audit: RecordedResult, pictures: bool) -> dict[str, Any]:
    """Return all values of the template."""
    about = audit.about
    channels, height, width = about["image_shape"]
    return {
        "title": f"{about['network']}, recorded updates",
        "network": about["network"],
        "sentence": audit.sentence(),
        "equal": audit.equal,
        "clients": clients_table(audit),
        "attackers": attackers_table(audit),
        "gallery": strips(audit) if pictures else None,
        "not_run": audit.refused,
        "facts": [
            ("Network", about["network"]),
            ("Updates attacked", f"{audit.attacked} of {about['recorded']}"),
            ("Pictures", f"{height} × {width} px, {'grey' if channels == 1 else 'colour'}"),
            ("Clients", training_in_words(LocalTraining(**about["training"]))),
            ("Defense", about["defense"]),
            ("Attacker's pictures", about["auxiliary"]),
            (
                "Budget",
                f"{audit.plan.budget.name}, {counted(audit.plan.size.iterations, 'iteration')}",
            ),
            ("Software", f"gradsiege {about['version']}, seed {about['seed']}, {about['device']}"),
        ],
        "remarks": about["remarks"],
        "notes": audit.plan.notes,
        "settings": note(audit.plan),
    }


def clients_table(audit: RecordedResult) -> Table:
    """Return one row per update: its norm, and the labels that it gives away."""
    rows = [
        [
            str(client),
            f"{float(value):.4g}",
            ", ".join(map(str, audit.labels[client].tolist())),
        ]
        for client, value in enumerate(audit.norms)
    ]
    caption = "Every recorded update: its norm, and the labels that its last layer gives away."
    return Table(caption, ("Client", "Norm", "Inferred labels"), rows, frozenset((1,)))


def attackers_table(audit: RecordedResult) -> Table:
    """Return one row per attack: its matching losses."""
    rows = []
    for match in audit.matches:
        finite = match.loss[match.loss.isfinite()]
        numbers = (
            (float(finite.min()), float(finite.median()), float(finite.max()))
            if len(finite)
            else (math.nan,) * 3
        )
        rows.append(
            [
                attacker_in_words(match.attacker),
                knows(match.knows),
                *(number(value, 4) for value in numbers),
                f"{len(match.failures)} of {len(match.loss)}",
            ]
        )
    caption = (
        "How well the update of each reconstruction matches the recorded one. Smaller fits better; attackers measure with different "
        "losses, so that rows cannot be compared. A good match is not a proof of likeness."
    )
    headings = ("Attacker", "Knows", "Best", "Median", "Worst", "Failed")
    return Table(caption, headings, rows, frozenset(range(2, 6)))


def strips(audit: RecordedResult) -> list[Strip]:
    """Return the reconstructions of every attack."""
    return [strip_of(match) for match in audit.matches]


def strip_of(match: Match) -> Strip:
    """Return the reconstructions of one attack, two pictures side by side."""
    tiles = []
    images = match.images.flatten(0, 1)[: 2 * MOST]
    per_client = match.images.shape[1]
    for place, image in enumerate(images):
        source = address(image)
        words = f"client {place // per_client}" + (
            f", {place % per_client}" if per_client > 1 else ""
        )
        tiles.append(Tile(source, f"Reconstruction for {words}", words if source else "failed"))
    pairs: tuple[tuple[Tile, ...], ...] = tuple(
        (tiles[n], tiles[n + 1]) for n in range(0, len(tiles) - 1, 2)
    )
    if len(tiles) % 2:
        pairs = (*pairs, (tiles[-1],))
    words = f"The first {len(tiles)} of {counted(len(match.images.flatten(0, 1)), 'picture')}."
    return Strip(attacker_in_words(match.attacker), words, pairs)

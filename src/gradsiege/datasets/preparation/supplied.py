"""Preparing a data set whose files were downloaded or supplied: check, list, deal, decode, describe."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gradsiege.datasets.preparation.listing import RULE, Listing, splits_of
from gradsiege.datasets.preparation.splits import ROLES, Prepared, Split, check_request, make_card
from gradsiege.datasets.sources import supply
from gradsiege.images import CHANNELS


def prepare_supplied(
    name: str,
    size: int,
    counts: Mapping[str, int],
    seed: int,
    parameters: Mapping[str, Any],
    folder: Path | None,
) -> Prepared:
    """Build the role splits; see `gradsiege.datasets.prepare`."""
    check_request(name, counts, seed)
    module, origin = supply.module_of(name), supply.origin_of(name)
    assert origin is not None, "a data set that is supplied states its origin"
    from_test = tuple(parameters.get("from_test", getattr(module.Parameters, "from_test", ())))
    unknown = [role for role in from_test if role not in ROLES]
    if unknown:
        raise ValueError(
            f"{name}: from_test: unknown role '{unknown[0]}': roles are {', '.join(ROLES)}"
        )
    supply.check(name, parameters)
    place, files = supply.place_of(name, parameters)
    listing = module.listing(place, module.Parameters(**parameters))
    present = np.unique(listing.labels)
    if len(present) < 2:
        raise ValueError(
            f"{name}: all pictures are of one class, {listing.classes[present[0]]!r}; two are needed. Are the class "
            "folders one level deeper?"
        )
    splits = splits_of(name, listing, size, counts, seed, from_test, folder)
    notes = [*listing.notes, *listing.seen(), *remarks_on(listing, splits)]
    for note in notes:
        print(f"{name}: {note}", file=sys.stderr)
    sources = [
        {
            "name": file.path,
            "origin": origin.source,
            "licence": origin.licence,
            "digest": file.digest or "none is published",
        }
        for file in files
    ]
    parts = (
        f" Of the official test part: {', '.join(from_test)}." if listing.tested is not None else ""
    )
    card = make_card(
        name=name,
        version=module.VERSION,
        size=size,
        seed=seed,
        synthetic=False,
        description=origin.description,
        sources=sources,
        rule=RULE + parts,
        limits=" ".join([origin.limits, *(f"{note.rstrip('.')}." for note in notes)]),
        classes=listing.classes,
        splits=splits,
        sharing=supply.sharing_of(name, parameters),
    )
    return Prepared(name, size, tuple(listing.classes), splits, card)


def remarks_on(listing: Listing, splits: Mapping[str, Split]) -> list[str]:
    """Return what the data card must say about the images that were dealt."""
    found = []
    counts = np.bincount(listing.labels, minlength=len(listing.classes))
    few = [
        f"{listing.classes[label]} ({count})"
        for label, count in enumerate(counts.tolist())
        if count < len(splits)
    ]
    if few:
        found.append(
            f"classes with fewer pictures than there are roles, so that some role lacks them: {len(few)}, such as {few[0]}"
        )
    if "train" in splits and len(splits["train"].images):
        images = splits["train"].images
        still = images.min(axis=(0, 2, 3)) == images.max(axis=(0, 2, 3))
        constant = [name for name, held in zip(CHANNELS, still.tolist(), strict=True) if held]
        if constant:
            found.append(
                f"constant over the images of train, and so without any information: {', '.join(constant)}"
            )
    return found

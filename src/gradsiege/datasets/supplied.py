"""Preparing a data set whose files were downloaded or supplied: check, list, deal, decode, describe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gradsiege.datasets import supply
from gradsiege.datasets.listing import RULE, splits_of
from gradsiege.datasets.splits import ROLES, Prepared, check_request, make_card


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
    splits = splits_of(name, listing, size, counts, seed, from_test, folder)
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
        limits=origin.limits,
        classes=listing.classes,
        splits=splits,
        sharing=supply.sharing_of(name, parameters),
    )
    return Prepared(name, size, tuple(listing.classes), splits, card)

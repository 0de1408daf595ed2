"""Remarks of the data card about the images that were dealt."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gradsiege.datasets.preparation.listing import Listing
from gradsiege.datasets.preparation.splits import Split
from gradsiege.images import CHANNELS


def remarks_on(listing: Listing, splits: Mapping[str, Split]) -> list[str]:
    """Return the remarks of the data card about the images that were dealt."""
    remarks = []
    counts = np.bincount(listing.labels, minlength=len(listing.classes))
    present = np.flatnonzero(counts)
    for role, split in splits.items():
        lacking = np.setdiff1d(present, split.labels)
        # A role smaller than the number of classes holds a choice of them.
        if len(lacking) and len(split.labels) >= len(present):
            names = [
                f"{listing.classes[label]} ({counts[label]} in all)" for label in lacking.tolist()
            ]
            remarks.append(
                f"classes without a picture in {role}: {len(names)}, such as {names[0]}; "
                "ask for fewer pictures in `counts`, or supply more"
            )
    if "train" in splits and len(splits["train"].images):
        images = splits["train"].images
        still = images.min(axis=(0, 2, 3)) == images.max(axis=(0, 2, 3))
        constant = [name for name, held in zip(CHANNELS, still.tolist(), strict=True) if held]
        if constant:
            remarks.append(
                f"constant over the images of train, and so without any information: {', '.join(constant)}"
            )
    return remarks

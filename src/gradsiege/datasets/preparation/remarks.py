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
    few = [
        f"{listing.classes[label]} ({count})"
        for label, count in enumerate(counts.tolist())
        if count < len(splits)
    ]
    if few:
        remarks.append(
            f"classes with fewer pictures than there are roles, so that some role lacks them: {len(few)}, such as {few[0]}"
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

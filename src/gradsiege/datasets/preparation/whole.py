"""Small sources of whole square images: dealt to roles and resized in memory."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gradsiege.datasets.preparation.resample import square
from gradsiege.datasets.preparation.splits import Bytes, Integers, Split, deal_images


def deal_whole(
    name: str,
    source: tuple[Bytes, Integers, Integers],
    size: int,
    counts: Mapping[str, int],
    seed: int,
) -> dict[str, Split]:
    """Deal the images of a source to roles, each to one role only; ``groups`` is the image's number.

    Args:
        name: of the data set, named in errors and part of the random streams.
        source: images uint8 ``[n, side, side]``, their labels ``[n]``, and their numbers in the source ``[n]``.
        size: side of the results in pixels.
        counts, seed: as for `Dataset.prepare`.

    Raises:
        ValueError: a role asks for more images than are left.
    """
    images, labels, numbers = source
    dealt = deal_images(name, labels, counts, seed)
    resized = np.stack([square(image, size) for image in images])
    return {
        role: Split(resized[index], labels[index], numbers[index]) for role, index in dealt.items()
    }

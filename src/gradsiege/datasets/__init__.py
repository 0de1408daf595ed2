"""Data sets: images cut into role splits that share nothing.

Every data set is one module of this package with a literal ``VERSION``. Those that ship with the study have a
``prepare``; those that are downloaded or supplied state their ``ORIGIN``, their ``files`` and a ``listing`` of their
images, and are dealt alike. Nothing is loaded before it is asked for: importing this package costs nothing but the
standard library.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradsiege.datasets.preparation.splits import Prepared

EMBEDDED = ("photos", "faces", "digits", "phantom")
PUBLIC = (
    *("cifar10", "cifar100", "svhn", "mnist", "fashion_mnist", "tiny_imagenet"),
    *("medmnist_chest", "medmnist_pneumonia", "medmnist_retina", "medmnist_blood"),
)
SUPPLIED = (
    *("imagenet", "ffhq_age", "pacs", "celeba", "covid_radiography", "airogs", "eyepacs"),
    *("chestxray14", "image_folder", "image_manifest"),
)
NAMES = (*EMBEDDED, *PUBLIC, *SUPPLIED)

__all__ = ["EMBEDDED", "NAMES", "PUBLIC", "SUPPLIED", "prepare"]


def prepare(
    name: str,
    size: int,
    counts: Mapping[str, int],
    seed: int,
    parameters: Mapping[str, Any] | None = None,
    folder: Path | None = None,
) -> Prepared:
    """Build the role splits of one data set.

    Args:
        name: one of ``NAMES``.
        size: side of the square images in pixels.
        counts: images wanted for each role; a role that is not named gets no split.
        seed: non-negative integer from which every random choice is derived.
        parameters: of the data set; what is left out has its default.
        folder: where images of large data sets, which are mapped and not held in memory, take their room.

    Returns:
        uint8 images ``[n, 3, size, size]`` with labels, for each role, and the data card.

    Raises:
        ValueError: for an unknown name or role, a size the source cannot give, or a count larger than the number of
            images that exist.
        MissingError, ArtifactError: for a file that is absent, or is not the published one.
    """
    if name not in NAMES:
        close = difflib.get_close_matches(name, NAMES, n=1)
        hint = f"did you mean '{close[0]}'? " if close else ""
        raise ValueError(f"unknown data set '{name}': {hint}known are {', '.join(NAMES)}")
    if name in EMBEDDED:
        module = importlib.import_module(f"gradsiege.datasets.{name}")
        prepared: Prepared = module.prepare(size, counts, seed)
        return prepared
    from gradsiege.datasets.preparation.supplied import prepare_supplied

    return prepare_supplied(name, size, counts, seed, parameters or {}, folder)

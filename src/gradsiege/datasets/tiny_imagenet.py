"""Tiny-ImageNet: 110,000 photographs of 200 classes of ImageNet, 64 px (Stanford CS231n), from the zip archive."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gradsiege.datasets.base import Dataset
from gradsiege.datasets.formats.archives import zip_member
from gradsiege.datasets.formats.pictures import decode_bytes
from gradsiege.datasets.preparation.listing import Listing
from gradsiege.datasets.preparation.splits import Bytes, Integers
from gradsiege.datasets.sources.supply import File, Origin

VERSION = 1
OBTAINED = "downloaded"

ARCHIVE = "tiny-imagenet-200.zip"
TOP = "tiny-imagenet-200"
TRAIN = re.compile(rf"{TOP}/train/(n\d{{8}})/images/[^/]+\.JPEG")
ORIGIN = Origin(
    description="Photographs of 200 of ImageNet's classes, 64x64 pixels.",
    source="Stanford CS231n, http://cs231n.stanford.edu, from ImageNet (Russakovsky et al., IJCV 2015)",
    licence="none of its own; the images are ImageNet's, for non-commercial research and education",
    sharing="restricted",
    steps="`gradsiege download tiny_imagenet` gets it; no registration, but ImageNet's terms of access hold.",
    limits="The official validation part serves as test part, since the test part has no labels.",
)


@dataclass(frozen=True)
class TinyImageNet(Dataset):
    """`from_test`: roles that are dealt from the official test part; the others never are."""

    name = "tiny_imagenet"
    origin = ORIGIN

    from_test: tuple[str, ...] = ("test",)

    def files(self) -> tuple[File, ...]:
        """Return the one archive; its checksum is the one that published loaders agree on."""
        digest = "md5:90528d7ca1a48142e341f4ef8d21d0de"
        return (File(ARCHIVE, digest, 248100043, f"http://cs231n.stanford.edu/{ARCHIVE}"),)

    def listing(self, folder: Path) -> Listing:
        """List 100,000 training and 10,000 validation images; each is read out of the archive when asked for."""
        path = folder / ARCHIVE
        try:
            with zipfile.ZipFile(path) as archive:
                synsets = zip_member(archive, f"{TOP}/wnids.txt").decode("ascii").split()
                told = zip_member(archive, f"{TOP}/val/val_annotations.txt").decode("ascii")
                trained = [
                    match for name in sorted(archive.namelist()) if (match := TRAIN.fullmatch(name))
                ]
        except (zipfile.BadZipFile, UnicodeDecodeError) as error:
            raise ValueError(f"{ARCHIVE} cannot be read: {error}; get it again") from error
        number = {synset: place for place, synset in enumerate(sorted(synsets))}
        rows = [(match.group(), match.group(1)) for match in trained]
        tested = [line.split("\t")[:2] for line in told.splitlines() if line.strip()]
        rows += [(f"{TOP}/val/images/{name}", synset) for name, synset in tested]
        unknown = next((synset for _, synset in rows if synset not in number), None)
        if unknown is not None:
            raise ValueError(f"{ARCHIVE}: {unknown} is none of its {len(number)} classes")
        labels = np.array([number[synset] for _, synset in rows], dtype=np.int64)

        def read(indices: Integers) -> Iterator[Bytes]:
            with zipfile.ZipFile(path) as archive:
                for index in indices.tolist():
                    name = rows[index][0]
                    yield decode_bytes(zip_member(archive, name), name)

        return Listing(tuple(sorted(synsets)), labels, read, np.arange(len(rows)) >= len(trained))

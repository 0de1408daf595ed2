"""CIFAR-100: 60,000 photographs of a hundred classes, 32 px (Krizhevsky, 2009), from the binary version."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gradsiege.datasets.base import Dataset
from gradsiege.datasets.formats.cifar_binary import list_archive
from gradsiege.datasets.preparation.listing import Listing
from gradsiege.datasets.sources.supply import File, Origin

VERSION = 1
OBTAINED = "downloaded"

ARCHIVE = "cifar-100-binary.tar.gz"
MEMBERS = "cifar-100-binary"
ORIGIN = Origin(
    description="Colour photographs of a hundred (fine) classes, 32x32 pixels.",
    source="Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009, "
    "https://www.cs.toronto.edu/~kriz/cifar.html",
    licence="no licence is stated; its authors ask for a citation",
    sharing="public",
    steps="`gradsiege download cifar100` gets it; no registration.",
    limits="Collected from the web by search terms; some images are near copies of others.",
)


@dataclass(frozen=True)
class CIFAR100(Dataset):
    """`from_test`: roles that are dealt from the official test part; the others never are."""

    name = "cifar100"
    origin = ORIGIN

    from_test: tuple[str, ...] = ("test",)

    def files(self) -> tuple[File, ...]:
        """Return the one archive; its checksum is the one that TensorFlow Datasets verifies."""
        digest = "sha256:58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"
        return (File(ARCHIVE, digest, 168513733, f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}"),)

    def listing(self, folder: Path) -> Listing:
        """List 50,000 training and 10,000 test images by their fine class."""
        train, test = [f"{MEMBERS}/train.bin"], [f"{MEMBERS}/test.bin"]
        names = f"{MEMBERS}/fine_label_names.txt"
        return list_archive(folder / ARCHIVE, train, test, names, label_bytes=2)

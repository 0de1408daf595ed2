"""CIFAR-10: 60,000 photographs of ten classes, 32 px (Krizhevsky, 2009), from the binary version."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gradsiege.datasets.base import Dataset
from gradsiege.datasets.formats.cifar_binary import list_archive
from gradsiege.datasets.preparation.listing import Listing
from gradsiege.datasets.sources.supply import File, Origin

VERSION = 1
OBTAINED = "downloaded"

ARCHIVE = "cifar-10-binary.tar.gz"
MEMBERS = "cifar-10-batches-bin"
ORIGIN = Origin(
    description="Colour photographs of ten classes of animals and vehicles, 32x32 pixels.",
    source="Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009, "
    "https://www.cs.toronto.edu/~kriz/cifar.html",
    licence="no licence is stated; its authors ask for a citation",
    sharing="public",
    steps="`gradsiege download cifar10` gets it; no registration.",
    limits="Collected from the web by search terms; some images are near copies of others.",
)


@dataclass(frozen=True)
class CIFAR10(Dataset):
    """`from_test`: roles that are dealt from the official test part; the others never are."""

    name = "cifar10"
    origin = ORIGIN

    from_test: tuple[str, ...] = ("test",)

    def files(self) -> tuple[File, ...]:
        """Return the one archive; its checksum is the one that TensorFlow Datasets verifies."""
        digest = "sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
        return (File(ARCHIVE, digest, 170052171, f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}"),)

    def listing(self, folder: Path) -> Listing:
        """List 50,000 training and 10,000 test images."""
        train = [f"{MEMBERS}/data_batch_{number}.bin" for number in range(1, 6)]
        test, names = [f"{MEMBERS}/test_batch.bin"], f"{MEMBERS}/batches.meta.txt"
        return list_archive(folder / ARCHIVE, train, test, names, label_bytes=1)

"""MNIST: 70,000 handwritten digits, grey, 28 px (LeCun et al., 1998), from the IDX files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gradsiege.datasets.base import Dataset
from gradsiege.datasets.formats.idx import list_parts
from gradsiege.datasets.preparation.listing import Listing
from gradsiege.datasets.sources.supply import File, Origin

VERSION = 1
OBTAINED = "downloaded"

CLASSES = tuple(str(digit) for digit in range(10))
ADDRESS = "https://ossci-datasets.s3.amazonaws.com/mnist"
ORIGIN = Origin(
    description="Handwritten digits, grey, 28x28 pixels, white on black.",
    source="LeCun, Bottou, Bengio and Haffner, Proceedings of the IEEE, 1998, through torchvision's mirror",
    licence="CC BY-SA 3.0, as commonly stated",
    sharing="public",
    steps="`gradsiege download mnist` gets it; no registration.",
    limits="Writers are not named: one writer may stand in several roles of one official part.",
)


@dataclass(frozen=True)
class MNIST(Dataset):
    """`from_test`: roles that are dealt from the official test part; the others never are."""

    name = "mnist"
    origin = ORIGIN

    from_test: tuple[str, ...] = ("test",)

    def files(self) -> tuple[File, ...]:
        """Return the four files; checksums are torchvision's."""
        published = {
            "train-images-idx3-ubyte.gz": ("f68b3c2dcbeaaa9fbdd348bbdeb94873", 9912422),
            "train-labels-idx1-ubyte.gz": ("d53e105ee54ea40749a09fcbcd1e9432", 28881),
            "t10k-images-idx3-ubyte.gz": ("9fb629c4189551a2d022fa330f9573f3", 1648877),
            "t10k-labels-idx1-ubyte.gz": ("ec29112dd5afa0611ce80d1b7f02629c", 4542),
        }
        return tuple(
            File(name, f"md5:{digest}", size, f"{ADDRESS}/{name}")
            for name, (digest, size) in published.items()
        )

    def listing(self, folder: Path) -> Listing:
        """List 60,000 training and 10,000 test images."""
        return list_parts(folder, CLASSES, "mnist")

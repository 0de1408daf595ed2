"""Fashion-MNIST: 70,000 photographs of clothes, grey, 28 px (Xiao, Rasul and Vollgraf, 2017), from the IDX files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gradsiege.datasets.base import Dataset
from gradsiege.datasets.formats.idx import list_parts
from gradsiege.datasets.preparation.listing import Listing
from gradsiege.datasets.sources.supply import File, Origin, Packaged

VERSION = 1
OBTAINED = "downloaded"

CLASSES = (
    *("T-shirt or top", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)
ADDRESS = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
ORIGIN = Origin(
    description="Articles of clothing of an online shop, grey, 28x28 pixels, light on black.",
    source="Xiao, Rasul and Vollgraf, arXiv 1708.07747, 2017, https://github.com/zalandoresearch/fashion-mnist",
    licence="MIT",
    sharing="public",
    steps="`gradsiege download fashion_mnist` gets it, or install Debian's package dataset-fashion-mnist; no registration.",
    limits="Photographs of one article from one shop; several colours of one article may stand in several roles.",
)
# Debian's package holds the published files with another gzip header (no name, another time), hence other checksums.
PACKAGED = Packaged(
    Path("/usr/share/datasets/fashion-mnist"),
    (
        File(
            "train-images-idx3-ubyte.gz",
            "sha256:b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
            26421856,
        ),
        File(
            "train-labels-idx1-ubyte.gz",
            "sha256:0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
            29491,
        ),
        File(
            "t10k-images-idx3-ubyte.gz",
            "sha256:cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
            4422079,
        ),
        File(
            "t10k-labels-idx1-ubyte.gz",
            "sha256:8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
            5125,
        ),
    ),
)


@dataclass(frozen=True)
class FashionMNIST(Dataset):
    """`from_test`: roles that are dealt from the official test part; the others never are."""

    name = "fashion_mnist"
    origin = ORIGIN
    packaged = PACKAGED

    from_test: tuple[str, ...] = ("test",)

    def files(self) -> tuple[File, ...]:
        """Return the four files; checksums are torchvision's."""
        published = {
            "train-images-idx3-ubyte.gz": ("8d4fb7e6c68d591d4c3dfef9ec88bf0d", 26421880),
            "train-labels-idx1-ubyte.gz": ("25c81989df183df01b3e8a0aad5dffbe", 29515),
            "t10k-images-idx3-ubyte.gz": ("bef4ecab320f06d8554ea6380940ec79", 4422102),
            "t10k-labels-idx1-ubyte.gz": ("bb300cfdad3c16e7a12a480ee83cd310", 5148),
        }
        return tuple(
            File(name, f"md5:{digest}", size, f"{ADDRESS}/{name}")
            for name, (digest, size) in published.items()
        )

    def listing(self, folder: Path) -> Listing:
        """List 60,000 training and 10,000 test images."""
        return list_parts(folder, CLASSES, "fashion_mnist")

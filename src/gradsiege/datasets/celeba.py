"""CelebA: 202,599 aligned faces of 10,177 persons with forty attributes (Liu et al., 2015)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gradsiege.datasets.base import Dataset
from gradsiege.datasets.formats.pictures import Row, list_files
from gradsiege.datasets.preparation.listing import Listing
from gradsiege.datasets.sources.supply import File, Origin, inside

VERSION = 1

IMAGES = "img_align_celeba"
ATTRIBUTES, PERSONS, PARTS = (
    "list_attr_celeba.txt",
    "identity_CelebA.txt",
    "list_eval_partition.txt",
)
ORIGIN = Origin(
    description="Aligned faces of celebrities, colour, 178x218 pixels, in two classes by one attribute.",
    source="Liu, Luo, Wang and Tang, ICCV 2015, https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
    licence="release agreement: non-commercial research; not to be redistributed",
    sharing="restricted",
    steps="Accept the agreement on the project's page; lay img_align_celeba/ (from img_align_celeba.zip, md5 "
    "00d2c5bc6d35e252742224ab0c1e8fcb) and the three lists into celeba/.",
    limits="Celebrities, mostly white and young. A person stands in one role only.",
)


@dataclass(frozen=True)
class CelebA(Dataset):
    """`attribute`: the class is whether a face has it; `from_test`: roles that are dealt from the official test part."""

    name = "celeba"
    origin = ORIGIN

    attribute: str = "Smiling"
    from_test: tuple[str, ...] = ("test",)

    def files(self) -> tuple[File, ...]:
        """Return the folder of images and the lists; checksums are torchvision's."""
        return (
            File(f"{IMAGES}/"),
            File(ATTRIBUTES, "md5:75e246fa4810816ffd6ee81facbd244c"),
            File(PERSONS, "md5:32bd1bd63d3c78cd57e08160ec5ed1e2"),
            File(PARTS, "md5:d32c9cbf5e040fd4025c592c306e6668"),
        )

    def listing(self, folder: Path) -> Listing:
        """List the faces; persons are groups, and the validation part belongs to the training part."""
        lines = (folder / ATTRIBUTES).read_text(encoding="ascii").splitlines()
        names = lines[1].split()
        if self.attribute not in names:
            raise ValueError(
                f"celeba: no attribute {self.attribute!r}; there are {', '.join(names)}"
            )
        column = 1 + names.index(self.attribute)
        person, part = _pairs(folder / PERSONS), _pairs(folder / PARTS)
        rows = []
        for line in lines[2:]:
            values = line.split()
            if values[0] not in person or values[0] not in part:
                raise ValueError(
                    f"celeba: {PERSONS} or {PARTS} does not name {values[0]}; get it again"
                )
            label = int(values[column] == "1")
            path = f"{IMAGES}/{inside(values[0])}"
            rows.append(Row(path, label, person[values[0]], part[values[0]] == "2"))
        return list_files(folder, rows, (f"not {self.attribute}", self.attribute))


def _pairs(path: Path) -> dict[str, str]:
    """File names with their entries in a list."""
    return dict(
        line.split() for line in path.read_text(encoding="ascii").splitlines() if line.strip()
    )

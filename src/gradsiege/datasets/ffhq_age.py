"""FFHQ thumbnails with ages: 70,000 faces, 128 px, in ten classes of ten years (Karras et al., 2019)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from gradsiege.datasets.base import Dataset
from gradsiege.datasets.formats.folders import Scan
from gradsiege.datasets.formats.pictures import Row, list_files
from gradsiege.datasets.preparation.listing import Listing
from gradsiege.datasets.sources.supply import File, Origin
from gradsiege.errors import in_words

VERSION = 1

CLASSES = (*(f"{10 * decade}-{10 * decade + 9} years" for decade in range(9)), "90 years or more")
IMAGES, AGES = "thumbnails128x128", "json"
ORIGIN = Origin(
    description="Aligned faces, colour, 128x128 pixels; the class is the age that a program estimated, divided by ten.",
    source="Karras, Laine and Aila, CVPR 2019, https://github.com/NVlabs/ffhq-dataset; ages: "
    "https://github.com/DCGM/ffhq-features-dataset",
    licence="CC BY-NC-SA 4.0; single images under the licences of their photographers",
    sharing="restricted",
    steps="Get thumbnails128x128 (1.95 GB) with NVlabs' download script, folders of a thousand as they come, and the "
    "folder json of ffhq-features-dataset; lay both into ffhq_age/.",
    limits="Faces without an estimated age are left out. StyleGAN2-FFHQ was trained on all of these images. Ages are "
    "estimates.",
)


@dataclass(frozen=True)
class FFHQAge(Dataset):
    """No parameters: there is no official test part."""

    name = "ffhq_age"
    origin = ORIGIN

    def files(self) -> tuple[File, ...]:
        """Return the folder of images and that of ages."""
        return (File(f"{IMAGES}/"), File(f"{AGES}/"))

    def listing(self, folder: Path) -> Listing:
        """List the faces that have an age."""
        scan, rows = Scan(folder), []
        for path in scan.pictures(folder / IMAGES):
            age = _age(folder / AGES / f"{Path(path).stem}.json")
            if age is None:
                scan.remarks.add("faces without an estimated age are left out", path)
            else:
                rows.append(Row(path, min(int(age) // 10, 9)))
        return list_files(folder, rows, CLASSES, scan.remarks.sentences())


def _age(path: Path) -> float | None:
    """Age of the first face that was found in an image, or None."""
    if not path.is_file():
        return None
    try:
        faces = json.loads(path.read_text(encoding="utf-8"))
        age = float(faces[0]["faceAttributes"]["age"]) if faces else None
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ValueError(
            f"{path.name} states no age as ffhq-features-dataset does: {in_words(error)}"
        ) from error
    if age is not None and not 0 <= age <= 150:
        raise ValueError(f"{path.name}: an age of {age} years")
    return age

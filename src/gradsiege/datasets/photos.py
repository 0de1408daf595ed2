"""Ten real photographs that scikit-image ships, cut into crops: each photograph is a class.

Every photograph is divided into a grid of rectangular regions and each region belongs to one role,
so no pixel of a victim is in any other split. Crops keep the box they were cut from.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from gradsiege.datasets.base import Dataset
from gradsiege.datasets.preparation.crops import (
    CELLS,
    GRID,
    LIVELY_SHARE,
    MINIMUM_DEVIATION,
    RUNGS,
    Crops,
    deal_cells,
    draw,
    draw_apart,
    grid,
    inside,
    ladder,
    shows_something,
    summed_areas,
)
from gradsiege.datasets.preparation.resample import square
from gradsiege.datasets.preparation.splits import (
    CYCLING_ROLES,
    ROLES,
    Bytes,
    Prepared,
    Split,
    arrange,
    check_request,
    even_quota,
    make_card,
    stream,
)
from gradsiege.datasets.sources.packaged import packaged_file

VERSION = 1
OBTAINED = "shipped"


@dataclass(frozen=True)
class Source:
    """A photograph in scikit-image's data folder.

    Attributes:
        name: here; file: there.
        origin, licence: as scikit-image's documentation states them.
        sha256: of the file.
    """

    name: str
    file: str
    origin: str
    licence: str
    sha256: str


SOURCES = (
    Source(
        "astronaut",
        "astronaut.png",
        "Eileen Collins, NASA Great Images, https://flic.kr/p/r9qvLn",
        "public domain, no known copyright restrictions",
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    ),
    Source(
        "camera",
        "camera.png",
        "photograph by Lav Varshney (grey)",
        "CC0",
        "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
    ),
    Source(
        "chelsea",
        "chelsea.png",
        "photograph of a cat by Stefan van der Walt",
        "CC0",
        "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
    ),
    Source(
        "coffee",
        "coffee.png",
        "photograph by Rachel Michetti, courtesy of Pikolo Espresso Bar",
        "CC0",
        "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
    ),
    Source(
        "coins",
        "coins.png",
        "Greek coins from Pompeii, Brooklyn Museum (grey), "
        "https://www.brooklynmuseum.org/opencollection/archives/image/51611",
        "no known copyright restrictions",
        "f8d773fc9cfa6f4d8e5942dc34d0a0788fcaed2a4fefbbed0aef5398d7ef4cba",
    ),
    Source(
        "hubble_deep_field",
        "hubble_deep_field.jpg",
        "Hubble eXtreme Deep Field, NASA, "
        "http://hubblesite.org/newscenter/archive/releases/2012/37/image/a/",
        "public domain",
        "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4",
    ),
    Source(
        "immunohistochemistry",
        "ihc.png",
        "stained colonic glands, Center for Microscopy and Molecular Imaging (CMMI)",
        "no known copyright restrictions",
        "f8dd1aa387ddd1f49d8ad13b50921b237df8e9b262606d258770687b0ef93cef",
    ),
    Source(
        "motorcycle",
        "motorcycle_left.png",
        "left view of a Middlebury 2014 stereo pair (Scharstein et al., GCPR 2014), "
        "http://vision.middlebury.edu/stereo/data/scenes2014/",
        "not stated by scikit-image, which ships the file",
        "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
    ),
    Source(
        "retina",
        "retina.jpg",
        "fundus of a left eye, Mikael Häggström, "
        "https://commons.wikimedia.org/wiki/File:Fundus_photograph_of_normal_left_eye.jpg",
        "CC0 1.0",
        "38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6",
    ),
    Source(
        "rocket",
        "rocket.jpg",
        "launch of DSCOVR on Falcon 9, SpaceX, "
        "https://www.flickr.com/photos/spacexphotos/16511594820/in/photostream/",
        "public domain",
        "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
    ),
)

CLASSES = tuple(source.name for source in SOURCES)

RULE = (
    f"Each photograph is divided into {GRID}x{GRID} equal regions, dealt at random to the roles: "
    + ", ".join(f"{role} {cells}" for role, cells in CELLS.items())
    + ". A crop lies inside one region of its role, so no pixel is in two roles. The deal is "
    f"repeated until every role owns a region where at least {LIVELY_SHARE:.0%} of the crops are "
    f"accepted. Crops have {RUNGS} sides in geometric steps, from the size of the set to the "
    "shorter side of a region, each as likely as the others. A crop is accepted when in "
    "at least two of its four quarters the green levels have a standard deviation of at least "
    f"{MINIMUM_DEVIATION:g} of 255. Crops of "
    f"{' and '.join(CYCLING_ROLES)} are chosen to overlap as little as they can."
)

LIMITS = (
    "Ten photographs, not a sample of the world: a class is one scene, and crops of one split "
    "overlap each other. A test region may show what no training region of its photograph shows, "
    "so accuracy measures more than memory and stays below 100%. camera and coins are grey, "
    "replicated to three channels."
)


@dataclass(frozen=True)
class Photos(Dataset):
    """Crops of ten photographs; no parameters."""

    name = "photos"

    def prepare(
        self, size: int, counts: Mapping[str, int], seed: int, folder: Path | None = None
    ) -> Prepared:
        """Cut the splits; ``groups`` is the index of the photograph, which is also the label."""
        check_request("photos", counts, seed)
        photographs = [load(source) for source in SOURCES]
        crops = [
            crops_by_role(photograph, source.name, size, seed)
            for photograph, source in zip(photographs, SOURCES, strict=True)
        ]
        splits = {
            role: cut(
                role, counts[role], photographs, [of_photo[role] for of_photo in crops], size, seed
            )
            for role in ROLES
            if role in counts
        }
        card = make_card(
            name="photos",
            version=VERSION,
            size=size,
            seed=seed,
            synthetic=False,
            description="Square crops of ten photographs, resized with an anti-aliasing filter.",
            sources=[
                asdict(source) | {"file": f"skimage/data/{source.file}"} for source in SOURCES
            ],
            rule=RULE,
            limits=LIMITS,
            classes=CLASSES,
            splits=splits,
        )
        return Prepared("photos", size, CLASSES, splits, card)


def load(source: Source) -> Bytes:
    """Read a photograph, uint8 ``[height, width, 3]``."""
    content = packaged_file("skimage", f"data/{source.file}", source.sha256)
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def crops_by_role(photograph: Bytes, name: str, size: int, seed: int) -> dict[str, Crops]:
    """List the crops that each role may use in one photograph."""
    regions = grid(*photograph.shape[:2])
    longest = int((regions[:, 2:] - regions[:, :2]).min())
    if not 8 <= size <= longest:
        raise ValueError(
            f"photos: size {size} does not fit: use 8 to {longest}, the shorter side of the "
            f"regions of '{name}'"
        )
    table = summed_areas(photograph[..., 1])  # green: vessels of the retina vanish in the others
    tried = [inside(region, ladder(size, longest)) for region in regions]
    good = [shows_something(table, crops.boxes) for crops in tried]
    lively = np.array([passed.mean() >= LIVELY_SHARE for passed in good])
    dealt = deal_cells(lively, stream(seed, "photos", "cells", name))
    return {
        role: join([tried[cell][good[cell]] for cell in cells]) for role, cells in dealt.items()
    }


def join(parts: list[Crops]) -> Crops:
    """Put the crops of several regions together."""
    return Crops(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.rungs for part in parts]),
    )


def cut(
    role: str, number: int, photographs: list[Bytes], crops: list[Crops], size: int, seed: int
) -> Split:
    """Choose, cut and resize the crops of one role."""
    quota = even_quota("photos", role, number, np.array([len(candidates) for candidates in crops]))
    choose = draw_apart if role in CYCLING_ROLES else draw
    boxes = np.concatenate(
        [
            candidates.boxes[choose(candidates, int(share), stream(seed, "photos", role, name))]
            for candidates, share, name in zip(crops, quota, CLASSES, strict=True)
        ]
    )
    labels = np.repeat(np.arange(len(photographs)), quota)
    order = arrange(labels, role, stream(seed, "photos", "order", role))
    boxes, labels = boxes[order], labels[order]
    images = np.empty((number, 3, size, size), dtype=np.uint8)
    for index, (label, (y0, x0, y1, x1)) in enumerate(zip(labels, boxes, strict=True)):
        images[index] = square(photographs[label][y0:y1, x0:x1], size)
    return Split(images, labels, labels.copy(), boxes)

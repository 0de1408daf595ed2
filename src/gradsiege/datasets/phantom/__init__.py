"""Synthetic chest radiographs, drawn from a seed: the offline stand-in for the medical sets.

No patient stands behind any of these pictures. Each image is a new subject; the class is one drawn
finding, or none. Sizes from 32 to 224 pixels show the same subjects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gradsiege.datasets.base import Dataset
from gradsiege.datasets.phantom.radiograph import (
    Chest,
    Field,
    Subject,
    air,
    bones,
    bump,
    draw_subject,
    expose,
    lay_out,
    soft_tissue,
    step,
)
from gradsiege.datasets.preparation.splits import (
    ROLES,
    Bytes,
    Integers,
    Prepared,
    Split,
    arrange,
    check_request,
    even_quota,
    make_card,
    stream,
)

VERSION = 1
OBTAINED = "shipped"

CLASSES = ("normal", "opacity", "nodule", "effusion")

SIZES = (32, 224)

# Each role draws its subjects from a block of numbers of its own.
BLOCK = 1_000_000


@dataclass(frozen=True)
class Phantom(Dataset):
    """Synthetic radiographs; no parameters."""

    name = "phantom"

    def prepare(
        self, size: int, counts: Mapping[str, int], seed: int, folder: Path | None = None
    ) -> Prepared:
        """Draw the splits; ``groups`` is the subject, and no subject has two images."""
        check_request("phantom", counts, seed)
        if not SIZES[0] <= size <= SIZES[1]:
            raise ValueError(f"phantom: size {size} is out of range: use {SIZES[0]} to {SIZES[1]}")
        splits = {
            role: draw_role(role, counts[role], size, seed) for role in ROLES if role in counts
        }
        card = make_card(
            name="phantom",
            version=VERSION,
            size=size,
            seed=seed,
            synthetic=True,
            description="Synthetic stand-in for chest radiographs: procedural lungs, ribs, heart, "
            "mediastinum, diaphragm and noise, with one drawn finding or none. Grey, replicated to "
            "three channels.",
            sources=[
                {"name": "phantom", "origin": "drawn by this package", "licence": "Apache-2.0"}
            ],
            rule="Every image is a subject of its own, drawn from the seed and the subject's number; "
            "each role has its own block of numbers.",
            limits="Synthetic. Shapes were tuned by eye; no result on it says anything about patients "
            "or about the accuracy of a diagnosis.",
            classes=CLASSES,
            splits=splits,
        )
        return Prepared("phantom", size, CLASSES, splits, card)


def draw_role(role: str, number: int, size: int, seed: int) -> Split:
    """Draw the subjects of one role; a longer split begins with the same subjects, unshuffled."""
    supply = np.full(len(CLASSES), BLOCK // len(CLASSES))
    even_quota("phantom", role, number, supply)
    subjects: Integers = np.arange(number) + BLOCK * ROLES.index(role)
    labels = subjects % len(CLASSES)
    order = arrange(labels, role, stream(seed, "phantom", "order", role))
    subjects, labels = subjects[order], labels[order]
    images = np.empty((number, 3, size, size), dtype=np.uint8)
    for index, (subject, label) in enumerate(zip(subjects, labels, strict=True)):
        images[index] = radiograph(CLASSES[label], size, stream(seed, "phantom", int(subject)))
    return Split(images, labels, subjects)


def radiograph(finding: str, size: int, rng: np.random.Generator) -> Bytes:
    """One picture, uint8 ``[size, size]``, of a new subject with the named finding.

    Everything but the film's noise is drawn before the size matters, so the same stream shows the
    same subject at every size.
    """
    subject = draw_subject(rng)
    finding_rng, noise_rng = rng.spawn(2)
    chest = lay_out(subject, size * (3 if size < 64 else 2))
    filled = FINDINGS[finding](chest, subject, finding_rng)
    density = soft_tissue(subject, chest) + bones(subject, chest) - air(subject, chest)
    # Fluid and tumour displace the air behind them, up to all of it.
    density = density + filled * chest.lung * subject["lung_air"]
    return expose(subject, density, size, noise_rng)


def no_finding(chest: Chest, subject: Subject, rng: np.random.Generator) -> Field:
    """Nothing displaces the air."""
    return np.zeros_like(chest.x)


def opacity(chest: Chest, subject: Subject, rng: np.random.Generator) -> Field:
    """Patchy consolidation of one or both lungs: a cluster of soft hills, mottled."""
    sides = rng.permutation([-1.0, 1.0])[: 2 if rng.random() < 0.35 else 1].tolist()
    cloud = np.zeros_like(chest.x)
    for side in sides:
        focus = rng.uniform((0.30, -0.35), (0.55, 0.35))
        for _ in range(3):
            x, y = (focus + rng.normal(0, 0.10, size=2)).tolist()
            rx, ry = rng.uniform(0.10, 0.22, size=2).tolist()
            cloud += bump(chest.x, chest.y, (side * x, y), (rx, ry))
    fast, slow = rng.uniform(12, 20, size=2).tolist()
    mottle = 0.85 + 0.15 * np.sin(fast * chest.x + 3 * np.sin(slow * chest.y))
    filled: Field = float(rng.uniform(0.7, 1.0)) * mottle * (1 - np.exp(-1.4 * cloud))
    return filled


def nodule(chest: Chest, subject: Subject, rng: np.random.Generator) -> Field:
    """One round shadow with a fairly sharp border, clear of the midline and the ribs' edge."""
    side = -1 if rng.random() < 0.5 else 1
    x, y = rng.uniform((0.32, -0.45), (0.58, 0.25)).tolist()
    radius = float(rng.uniform(0.08, 0.13))
    reach = ((chest.x - side * x) ** 2 + (chest.y - y) ** 2) / radius**2
    filled: Field = float(rng.uniform(0.65, 1.0)) * np.sqrt(np.clip(1 - reach, 0, 1))
    return filled


def effusion(chest: Chest, subject: Subject, rng: np.random.Generator) -> Field:
    """Fluid at the base of one lung, its surface climbing towards the chest wall."""
    on_right = rng.random() < 0.5
    level = subject["base"] - float(rng.uniform(0.30, 0.80))
    surface = level + 0.22 * (1 - chest.across**2)
    side = chest.right if on_right else 1 - chest.right
    return float(rng.uniform(0.9, 1.2)) * side * step(chest.y - surface, 0.04)


FINDINGS: dict[str, Callable[[Chest, Subject, np.random.Generator], Field]] = {
    "normal": no_finding,
    "opacity": opacity,
    "nodule": nodule,
    "effusion": effusion,
}

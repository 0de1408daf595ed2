"""A drawn chest radiograph: anatomy as smooth fields on a square, bright where tissue absorbs.

Coordinates: ``x`` grows to the viewer's right (the patient's left, where the heart lies), ``y``
grows downwards, the picture spans -1 to 1 in both. All fields are float32 ``[side, side]``. Shapes
and levels were tuned by eye: this is a picture of a radiograph, not a simulation of one.
Fourth powers are written as squares of squares, which NumPy computes far faster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gradsiege.datasets.preparation.splits import Bytes

Field = npt.NDArray[np.floating[Any]]

# Range of every number that differs between subjects; lengths are in half-widths of the picture.
RANGES: dict[str, tuple[float, float]] = {
    "tilt": (-0.09, 0.09),  # radians
    "shift_x": (-0.08, 0.08),
    "shift_y": (-0.08, 0.08),
    "zoom": (0.88, 1.14),
    "chest_width": (0.68, 0.86),
    "apex": (-0.84, -0.72),
    "base": (0.60, 0.80),  # costophrenic angle
    "dome": (0.14, 0.26),  # rise of the diaphragm above the angle
    "dome_offset": (0.02, 0.10),  # how much higher the patient's right dome stands
    "lung_air": (0.33, 0.44),
    "heart_x": (0.09, 0.15),
    "heart_y": (0.26, 0.38),
    "heart_width": (0.36, 0.50),
    "heart_height": (0.27, 0.35),
    "mediastinum": (0.10, 0.15),
    "knob": (0.06, 0.18),  # aortic knob
    "rib_spacing": (0.155, 0.19),
    "rib_phase": (0.0, 1.0),
    "rib_slope": (0.22, 0.40),
    "rib_contrast": (0.05, 0.10),
    "clavicle_y": (-0.70, -0.58),
    "clavicle_rise": (0.02, 0.16),
    "vessels": (0.07, 0.14),
    "breast": (0.0, 0.09),
    "stomach": (0.0, 0.18),  # gas under the patient's left dome
    "gamma": (0.8, 1.3),
    "floor": (0.00, 0.06),
    "noise": (0.006, 0.020),
}


@dataclass(frozen=True)
class Subject:
    """One person: a value for each of ``RANGES``, and phases that make textures personal."""

    body: dict[str, float]
    phases: tuple[float, ...]

    def __getitem__(self, name: str) -> float:
        return self.body[name]


def draw_subject(rng: np.random.Generator) -> Subject:
    """Draw a subject; the draw does not depend on the size of the picture."""
    body = {name: float(rng.uniform(*limits)) for name, limits in RANGES.items()}
    return Subject(body, tuple(rng.uniform(0, 2 * np.pi, size=4).tolist()))


@dataclass(frozen=True)
class Chest:
    """Geometry of one subject on the pixel grid.

    ``right`` is 1 on the viewer's right of the midline and 0 on the left; ``across`` runs from 0 at
    the medial to 1 at the lateral border of a lung, ``dome`` is the height of the diaphragm, and
    ``lung`` is 1 inside the lungs.
    """

    x: Field
    y: Field
    right: Field
    lateral: Field
    across: Field
    dome: Field
    lung: Field


def step(distance: Field, softness: float) -> Field:
    """0 to 1 as the distance passes 0, over about twice the softness; a cubic, cheaper than tanh.

    >>> step(np.array([-1, 0, 1], dtype=np.float32), 0.5).tolist()
    [0.0, 0.5, 1.0]
    """
    t = np.clip(distance / (2 * softness) + 0.5, 0, 1)
    smooth: Field = t * t * (3 - 2 * t)
    return smooth


def bump(x: Field, y: Field, centre: tuple[float, float], radii: tuple[float, float]) -> Field:
    """Gaussian hill of height 1."""
    hill: Field = np.exp(-(((x - centre[0]) / radii[0]) ** 2) - ((y - centre[1]) / radii[1]) ** 2)
    return hill


def lay_out(subject: Subject, side: int) -> Chest:
    """Place the subject on a square of ``side`` pixels."""
    axis = (np.arange(side, dtype=np.float32) + 0.5) * np.float32(2 / side) - 1
    column, row = axis[None, :], axis[:, None]
    cosine, sine = float(np.cos(subject["tilt"])), float(np.sin(subject["tilt"]))
    x = (cosine * column + sine * row - subject["shift_x"]) / subject["zoom"]
    y = (cosine * row - sine * column - subject["shift_y"]) / subject["zoom"]
    out = np.abs(x)
    right = step(x, 0.02)

    down = np.clip((y - subject["apex"]) / (subject["base"] - subject["apex"]), 0, 1)
    lateral = 0.42 + (subject["chest_width"] - 0.42) * np.sqrt(1 - (1 - down) ** 2)
    medial = 0.14 + 0.07 * (1 - down) ** 2
    across = np.clip((out - medial) / (lateral - medial), 0, 1)
    arch = 1 - ((out - 0.36) / 0.46) ** 2
    dome = subject["base"] - subject["dome"] * arch - subject["dome_offset"] * (0.5 - right)
    lung = (
        step(out - medial, 0.03)
        * step(lateral - out, 0.025)
        * step(y - subject["apex"] - 3.0 * (out - 0.30) ** 2, 0.03)
        * step(dome - y, 0.02)
    )
    return Chest(x, y, right, lateral, across, dome, lung)


def air(subject: Subject, chest: Chest) -> Field:
    """Radiolucency of healthy lungs: thickest between the borders, thinner behind vessels."""
    depth = np.sqrt(np.clip(4 * chest.across * (1 - chest.across), 0, 1))
    return chest.lung * (subject["lung_air"] * (0.45 + 0.55 * depth) - vessels(subject, chest))


def vessels(subject: Subject, chest: Chest) -> Field:
    """Vascular markings: curved streaks that leave the hilum and fade outwards."""
    dx, dy = np.abs(chest.x) - 0.16, chest.y + 0.08
    radius = np.sqrt(dx * dx + dy * dy) + 0.02
    angle = np.arctan2(dy, dx) + 0.9 * chest.right  # so that the two lungs do not mirror
    bend = subject.phases
    thick = np.cos(7 * angle + bend[0] + 2.0 * np.sin(5 * radius + bend[1]))
    thin = np.cos(17 * angle + bend[2] + 2.5 * np.sin(9 * radius + bend[3]))
    streaks = (np.clip(thick, 0, 1) ** 2) ** 2 + 0.8 * (np.clip(thin, 0, 1) ** 2) ** 2
    hilum = np.exp(-((radius / 0.15) ** 2))  # hides the point where all streaks would meet
    markings: Field = subject["vessels"] * (streaks * np.exp(-2.5 * radius) * (1 - hilum) + hilum)
    return markings


def soft_tissue(subject: Subject, chest: Chest) -> Field:
    """Body wall, mediastinum, heart, abdomen, breasts, and the gas in the stomach."""
    x, y = chest.x, chest.y
    out = np.abs(x)
    shoulder = -1.08 + 0.42 * np.clip(out - 0.24, 0, 1)
    body = step(y - shoulder, 0.05) * step(0.98 + 0.12 * (y + 0.3) ** 2 - out, 0.06)
    wall = 0.52 + 0.10 * y - 0.10 * out * out + 0.13 * step(out - chest.lateral, 0.06)
    below = step(y - chest.dome, 0.03) * (0.20 + 0.08 * (1 - chest.right))
    gas = subject["stomach"] * bump(x, y - chest.dome, (0.42, 0.13), (0.17, 0.07))
    breast = subject["breast"] * bump(out, y, (0.44, 0.42), (0.24, 0.17))
    tissue: Field = body * (wall + below + breast - gas + midline(subject, x, y))
    return tissue


def midline(subject: Subject, x: Field, y: Field) -> Field:
    """Spine, great vessels and heart, less the trachea that runs down to its fork."""
    width = subject["mediastinum"]
    column = 0.16 * np.exp(-(((x / width) ** 2) ** 2))
    spine = 0.07 * np.exp(-(((x / 0.075) ** 2) ** 2)) * (1 + 0.35 * np.cos(36 * y))
    trachea = 0.13 * np.exp(-((x / 0.042) ** 2)) * step(-0.28 - y, 0.06)
    knob = subject["knob"] * bump(x, y, (0.13, -0.36), (0.10, 0.11))
    shadow: Field = column + spine - trachea + knob + heart(subject, x, y)
    return shadow


def heart(subject: Subject, x: Field, y: Field) -> Field:
    """Project a tilted ellipsoid, its apex towards the viewer's lower right."""
    dx, dy = x - subject["heart_x"], y - subject["heart_y"]
    along, over = 0.87 * dx + 0.50 * dy, 0.87 * dy - 0.50 * dx
    reach = (along / subject["heart_width"]) ** 2 + (over / subject["heart_height"]) ** 2
    shadow: Field = 0.27 * np.sqrt(np.clip(1 - reach, 0, 1)) * step(1 - reach, 0.08)
    return shadow


def bones(subject: Subject, chest: Chest) -> Field:
    """Posterior ribs that sink outwards, fainter anterior ribs that sink inwards, clavicles."""
    out = np.abs(chest.x)
    cage = step(chest.lateral + 0.05 - out, 0.03) * step(chest.y + 0.86, 0.05)
    cage = cage * step(chest.dome + 0.08 - chest.y, 0.08)
    spacing = subject["rib_spacing"]
    sink = subject["rib_slope"] * (out / 0.8) ** 2 - 0.06 * np.sin(4 * np.clip(out, 0, 0.78))
    back = tube((chest.y - sink) / spacing + subject["rib_phase"], 0.36) * step(out - 0.09, 0.03)
    rise = 0.50 * np.clip(1 - out / 0.8, 0, 1)
    front = tube((chest.y - rise) / spacing + subject["rib_phase"] + 0.4, 0.40)
    front = front * step(out - 0.34, 0.12)
    ribs = subject["rib_contrast"] * cage * (back + 0.5 * front)
    return ribs + clavicles(subject, chest)


def clavicles(subject: Subject, chest: Chest) -> Field:
    """Two bars from the sternum to the shoulders, bent like a flat S."""
    out = np.abs(chest.x)
    line = subject["clavicle_y"] - subject["clavicle_rise"] * out + 0.03 * np.sin(7 * out)
    bar = np.clip(1 - ((chest.y - line) / 0.045) ** 2, 0, 1)
    extent = step(out - 0.07, 0.03) * step(0.86 - out, 0.06)
    shadow: Field = 0.15 * np.sqrt(bar) * extent
    return shadow


def tube(phase: Field, share: float) -> Field:
    """Projection of hollow tubes, one for each unit of phase, each ``share`` of a unit thick."""
    offset = (phase - np.floor(phase) - 0.5) / (share / 2)
    inside = np.clip(1 - offset * offset, 0, 1)
    wall: Field = np.sqrt(inside) * (0.75 + 0.45 * offset * offset)
    return wall


def expose(subject: Subject, density: Field, side: int, rng: np.random.Generator) -> Bytes:
    """Develop a density into uint8 ``[side, side]``: average down, response, quantum noise."""
    factor = len(density) // side
    mean = density.reshape(side, factor, side, factor).mean(axis=(1, 3))
    level = subject["floor"] + (1 - subject["floor"]) * (1 - np.exp(-1.8 * np.clip(mean, 0, None)))
    level = np.clip(level * 1.16, 0, 1) ** subject["gamma"]
    grain = rng.standard_normal((side, side), dtype=np.float32)
    # Dark film has met more photons, so its relative noise is smaller.
    noisy = level + subject["noise"] * grain * np.sqrt(0.25 + level)
    film: Bytes = np.rint(np.clip(noisy, 0, 1) * 255).astype(np.uint8)
    return film

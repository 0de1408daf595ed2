"""One row per private picture and attacker, with the columns of a study's score table, so that a study's rules judge them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from gradsiege.auditing.auxiliary import Auxiliary
from gradsiege.auditing.parts import Outcome
from gradsiege.auditing.plan import Plan
from gradsiege.auditing.situations import Situation
from gradsiege.auditing.subject import Subject
from gradsiege.auditing.times import EXTRA, LEAST_OTHERS
from gradsiege.metrics.controls import CONTROLS
from gradsiege.metrics.measurement import Measured, Scene, measure
from gradsiege.metrics.scoring import Scored, reconstructed
from gradsiege.seeds import torch_generator

DATASET = "pictures"


@dataclass(frozen=True, eq=False)
class Scores:
    """The measured attacks of an audit.

    Attributes:
        table: one row per picture, situation and attacker.
        pictures: reconstructions in the order of the truths, ``[n, c, h, w]`` in [0, 1], by (key of a situation, threat model, attacker).
        refused: (key of a situation, attacker, reason) of attacks that do not apply.
    """

    table: pd.DataFrame
    pictures: dict[tuple[str, str, str], Tensor]
    refused: list[tuple[str, str, str]]


def gallery_of(subject: Subject, owned: Auxiliary, distractors: int, count: int) -> Tensor:
    """Return the pictures among which the private ones must be told apart, the private ones first, ``[g, c, h, w]``.

    The user's other pictures are the distractors; where they are few, the attacker's own fill the gallery up.

    Args:
        distractors: at most so many; count: number of private pictures in the situation.
    """
    others = subject.others(count)[:distractors]
    if len(others) < LEAST_OTHERS:
        others = torch.cat([others, owned.images[: min(distractors, EXTRA)].to(others)])
    return torch.cat([subject.images[:count], others])


def scored(
    subject: Subject,
    plan: Plan,
    outcomes: Mapping[str, Outcome],
    galleries: Mapping[int, Tensor],
    owned: Mapping[str, Auxiliary],
) -> Scores:
    """Measure every outcome against the private pictures. Nothing here is handed to an attack.

    Every gallery is ``[m, c, h, w]`` in [0, 1].

    Args:
        galleries: by number of private pictures; owned: the attacker's pictures by stage, from which controls are drawn.
    """
    rows: list[dict[str, Any]] = []
    pictures: dict[tuple[str, str, str], Tensor] = {}
    refused = []
    scenes: dict[str, Scene] = {}
    for part in plan.parts:
        outcome = outcomes.get(part.key)
        if outcome is None:
            continue
        situation = part.situation
        if outcome.reconstruction is None:
            refused.append((situation.key, part.attacker.id, outcome.reason))
            continue
        if situation.key not in scenes:
            scenes[situation.key] = _scene(subject, plan, situation, galleries)
            for control in _controls(
                subject, situation, scenes[situation.key], owned[situation.stage]
            ):
                rows += _rows(subject, situation, control, 0.0)
        attack = part.attacker.attack
        cost = {"iterations": attack.iterations, "restarts": attack.restarts, "evaluations": 0}
        found = reconstructed(
            outcome.reconstruction,
            scenes[situation.key],
            part.attacker.id,
            part.attacker.threat.id,
            cost,
        )
        rows += _rows(subject, situation, found, outcome.seconds)
        pictures[situation.key, part.attacker.threat.id, part.attacker.id] = found.measured.images
    return Scores(pd.DataFrame(rows), pictures, refused)


def _scene(
    subject: Subject, plan: Plan, situation: Situation, galleries: Mapping[int, Tensor]
) -> Scene:
    clients = subject.clients(situation, plan.size.pictures)
    images, labels = subject.truth(situation, clients)
    return Scene(images, labels, galleries[clients * situation.training.images])


def _controls(
    subject: Subject, situation: Situation, scene: Scene, owned: Auxiliary
) -> list[Scored]:
    """Return what guesses without any update reach."""
    truths, labels = scene.truths.flatten(0, 1), scene.labels.flatten()
    controls = []
    for name, control in CONTROLS.items():
        generator = torch_generator(subject.seed, situation.stage, situation.protocol, name)
        drawn = control(truths, labels, owned.images, owned.labels, generator)
        measured: Measured = measure(drawn.view(scene.truths.shape), scene)
        controls.append(Scored(name, "control", measured))
    return controls


def _rows(
    subject: Subject, situation: Situation, found: Scored, seconds: float
) -> list[dict[str, Any]]:
    """Return the rows of one source of reconstructions, with what a study's table calls its cell."""
    per_client = situation.training.images
    listed = []
    for row in found.rows():
        place = row["victim"] * per_client + row["image"]
        group = None if subject.groups is None else int(subject.groups[place])
        listed.append(
            {
                "dataset": DATASET,
                "model": "network",
                "defense": situation.name,
                "training_stage": situation.stage,
                "protocol": situation.protocol,
                "seed": subject.seed,
                "picture": place,
                **({} if group is None else {"scene": group}),
                **{name: value for name, value in row.items() if not name.endswith("_by_stage")},
                "seconds": seconds,
            }
        )
    return listed

"""A small audit: a classifier of five classes, twelve pictures with stripes, and attacks of a few iterations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from small_classifiers import small
from torch import Tensor, nn

import gradsiege as gs
from gradsiege.auditing.audit import Audit
from gradsiege.auditing.budget import Budget
from gradsiege.defenses.base import Client, Defense
from gradsiege.protocol.local_update import LocalTraining, Tensors

# A client that takes one step on one picture.
ONE = LocalTraining("fedsgd", 1, 1, 1, 0.1, "eval")
BUDGET = Budget("tiny", 1e6, pictures=4, iterations=4, distractors=8, trials=1)


@dataclass(frozen=True)
class Nothing(Defense):
    """A user's own defense: it uploads zeros."""

    def transform_update(self, update: Tensors, client: Client) -> Tensors:
        """Return zeros."""
        return {name: torch.zeros_like(value) for name, value in update.items()}


@dataclass(frozen=True)
class Broken(Defense):
    """A user's own defense whose code fails on pictures of every class but the first, so that a trial on one picture finds nothing."""

    def transform_update(self, update: Tensors, client: Client) -> Tensors:
        """Fail, but not on the first class."""
        if int(client.labels[0]):
            raise ZeroDivisionError("a defect of the user's code")
        return update


def later() -> nn.Module:
    """Return the classifier of a later stage: of the same shapes, with other weights."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 49, 5))


def pictures(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Pictures [count, 3, 16, 16] and labels 0 to 4 in turn."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 4, 4, generator=generator)
    images = torch.nn.functional.interpolate(coarse, (16, 16), mode="bilinear")
    return images, torch.arange(count) % 5


def arguments(**changed: Any) -> dict[str, Any]:
    """Arguments of `gradsiege.audit`, some of them changed."""
    images, labels = pictures(12)
    aux, aux_labels = pictures(20, seed=1)
    given = {
        "model": small(),
        "images": images,
        "labels": labels,
        "budget": BUDGET,
        "aux": aux,
        "aux_labels": aux_labels,
    }
    return given | changed


def audited(**changed: Any) -> Audit:
    """The audit of these arguments."""
    found: Audit = gs.audit(**arguments(**changed))
    return found

"""Victims for GIFD: a random staged generator as the prior, and images that it did not make."""

import copy
from typing import Any

import torch
from torch import Tensor
from victims import SIDE, observed, smooth

from gradsiege.attacks import recipes
from gradsiege.attacks.engine.loop import State
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.recipe import Recipe
from gradsiege.attacks.reconstruct import reconstruct
from gradsiege.models.layers import initialize
from gradsiege.priors.base import TrainedPrior
from gradsiege.priors.staged_gan.generator import StagedGenerator
from gradsiege.protocol.threat_model import ThreatModel, strip

LATENT, CLASSES = 6, 3
GIVEN, INFERRED = ThreatModel(id="given", labels="given"), ThreatModel(id="inferred")


def generator() -> StagedGenerator:
    """Random weights; the last layer is made stronger, so that images have contrast."""
    network = StagedGenerator(LATENT, 8, CLASSES, 3, SIDE)
    initialize(network, torch.Generator().manual_seed(0))
    network.requires_grad_(False).stages[-1].image.weight.mul_(4)
    return network


PRIOR = TrainedPrior("staged_gan", dict(generator().state_dict()), {"classes": CLASSES})


def observe(truth: Tensor, labels: Tensor, threat: ThreatModel, **more: Any) -> Knowledge:
    """What an attacker knows of victims that hold ``truth [victims, images, c, h, w]``."""
    seen = observed(truth, labels, 4, **more)
    return Knowledge(strip(seen, threat), threat, (PRIOR,))


def natural_victims() -> tuple[Knowledge, Tensor]:
    """Two victims of two images that the generator did not make."""
    truth, labels = smooth(4).view(2, 2, 3, SIDE, SIDE), torch.tensor([[0, 1], [2, 1]])
    return observe(truth, labels, GIVEN), truth


def gifd(knowledge: Knowledge, iterations: int, arm: str = "faithful", **parameters: Any) -> Recipe:
    return recipes.build("gifd", parameters, arm, iterations, knowledge)


def visited(knowledge: Knowledge, recipe: Recipe, restarts: int = 1) -> list[State]:
    """The state before every iteration."""
    states: list[State] = []
    reconstruct(
        knowledge, recipe, restarts, ("s",), pause=lambda state: states.append(copy.copy(state))
    )
    return states

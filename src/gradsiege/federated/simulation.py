"""Clients of an attacker's own: the client loop with the disclosed defense on images that the attacker has.

The defense is built of its disclosure alone, the model and the protocol are those of the observation. The secrets of a
client stay with it: every simulated client starts without state, and all it draws comes from the attacker's
generator, so its noise, its draws and its searched latents are others than a victim's. A generator that the
defender pretrained is not disclosed either; the attacker brings one of its own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gradsiege import catalogue, defenses
from gradsiege.defenses.base import Client, Defense
from gradsiege.errors import ThreatModelError
from gradsiege.federated.client import run_client
from gradsiege.protocol.local_update import Tensors
from gradsiege.protocol.observation import Observation
from gradsiege.protocol.simulation import Simulate


def disclosed_defense(disclosure: dict[str, Any], shadow: Tensors | None = None) -> Defense:
    """Return the defense that a disclosure describes.

    >>> disclosed_defense({"defense": "gaussian", "sigma": 0.5}).disclosure()
    {'defense': 'gaussian', 'sigma': 0.5}

    Raises:
        ThreatModelError: a parameter is not disclosed, or a generator is needed and none is brought.
    """
    name = str(disclosure.get("defense"))
    entry = catalogue.lookup("defenses", name, "the disclosed defense")
    missing = [one for one in entry.parameters if one not in disclosure]
    if missing:
        raise ThreatModelError(
            f"{name} discloses no {', '.join(missing)}: its clients cannot be simulated. "
            "Leave attacks that simulate clients out for this defense."
        )
    if "shadow" in entry.requires and shadow is None:
        raise ThreatModelError(
            f"{name} perturbs images by a shadow generator, and the attacker has none of its own to simulate it with: "
            "add the prior 'shadow_generator' to the attack in the study file"
        )
    given = entry.validate({one: disclosure[one] for one in entry.parameters}, f"disclosed {name}")
    return defenses.build(name, given, str(disclosure.get("arm", "faithful")), shadow)


def simulator(
    observation: Observation, at_round: int, rounds: int, shadow: Tensors | None = None
) -> Simulate:
    """Return ``simulate(images, labels, generator) -> update``: one client with these images, from theta_t to its upload.

    Raises:
        ThreatModelError: disclosure or protocol are not granted.
    """
    training, disclosure = observation.training, observation.disclosure
    if training is None or disclosure is None:
        raise ThreatModelError(
            "clients are simulated by their protocol and their defense, and the threat model does not grant both"
        )
    # Clients draw on the CPU, wherever the attack runs.
    seen = observation.to(torch.device("cpu"))
    defense = disclosed_defense(disclosure, shadow)
    model = seen.model.build()

    def simulate(images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensors:
        client = Client(
            model=model,
            parameters=seen.parameters,
            buffers=seen.buffers,
            images=images,
            labels=labels,
            training=training,
            generator=generator,
            round=at_round,
            rounds=rounds,
        )
        return run_client(client, defense)[0]

    return simulate

"""Simulated clients of an attacker: the client loop with the disclosed defense on the attacker's images.

The defense is built from its disclosure alone; the model and the protocol are those of the observation. An attacker does
not know a client's secrets: every simulated client starts without state and draws from the attacker's random
generator, so its noise and its searched latents differ from a victim's. A shadow generator that the
defender pretrained is not disclosed either; the attacker needs its own.
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
        ThreatModelError: a parameter is not disclosed, or the defense needs a shadow generator and none is given.
    """
    name = str(disclosure.get("defense"))
    entry = catalogue.lookup("defenses", name, "the disclosed defense")
    missing = [parameter for parameter in entry.parameters if parameter not in disclosure]
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
    given = entry.validate(
        {parameter: disclosure[parameter] for parameter in entry.parameters}, f"disclosed {name}"
    )
    return defenses.build(name, given, str(disclosure.get("arm", "faithful")), shadow)


def simulator(
    observation: Observation,
    at_round: int,
    rounds: int,
    shadow: Tensors | None = None,
    defense: Defense | None = None,
) -> Simulate:
    """Return ``simulate(images, labels, generator) -> update``, the upload of one client with these images at theta_t.

    images: ``[b, c, h, w]`` in [0, 1]; labels: ``[b]``; the update has the shapes of the parameters.

    Args:
        observation: what the attacker was granted.
        at_round, rounds: position in the federation.
        shadow: weights of the attacker's own shadow generator, for a defense that needs one.
        defense: the disclosed defense as an object, where no catalogue knows it by its name; else it is built from its disclosure.

    Raises:
        ThreatModelError: disclosure or protocol are not granted.
    """
    training, disclosure = observation.training, observation.disclosure
    if training is None or disclosure is None:
        raise ThreatModelError(
            "clients are simulated by their protocol and their defense, and the threat model does not grant both: grant them, in Python "
            "by gradsiege.ThreatModel(protocol=True, disclosure=True), or in the study file by the same keys of the threat model"
        )
    # Clients draw random numbers on the CPU, whatever the device of the attack.
    seen = observation.to(torch.device("cpu"))
    defended = disclosed_defense(disclosure, shadow) if defense is None else defense
    model, like = seen.model.build(), next(iter(seen.parameters.values()))

    def simulate(images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensors:
        client = Client(
            model=model,
            parameters=seen.parameters,
            buffers=seen.buffers,
            images=images.to(like),
            labels=labels,
            training=training,
            generator=generator,
            round=at_round,
            rounds=rounds,
        )
        return run_client(client, defended)[0]

    return simulate

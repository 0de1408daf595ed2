"""Simulated clients: an attacker who knows the defense computes updates of images of its own.

An attack that learns the map from updates to images needs such updates. Attacks do not import the client's code or
the defenses; the command line hands them a `Simulator`, which reads only the parts of the observation that the
threat model grants.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from gradsiege.protocol.local_update import Tensors
from gradsiege.protocol.observation import Observation

# A function of images [n, c, h, w] in [0, 1], labels [n] and the attacker's random generator that returns a client's update.
Simulate = Callable[[Tensor, Tensor, torch.Generator], Tensors]


class Simulator(Protocol):
    """Creates simulated clients of an attacker, see `gradsiege.federated.simulation`."""

    def __call__(
        self, observation: Observation, at_round: int, rounds: int, shadow: Tensors | None
    ) -> Simulate:
        """Return the client loop with the disclosed defense, at the observed model in round `at_round` of `rounds`.

        `shadow` holds the weights of the attacker's own shadow generator, for a defense that needs one.
        """

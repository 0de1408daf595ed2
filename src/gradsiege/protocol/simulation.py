"""What an attacker who knows the defense can do with images of its own: be a client.

An attack that learns how a client's update follows from its images needs such updates. The client's code and the
defenses are none of an attacker's imports; the command line hands it a `Simulator`, which takes from the attacker
nothing but what the threat model has left in the observation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from gradsiege.protocol.local_update import Tensors
from gradsiege.protocol.observation import Observation

# From images [n, c, h, w] in [0, 1], labels [n] and the attacker's own generator to the update of a client that has these.
Simulate = Callable[[Tensor, Tensor, torch.Generator], Tensors]


class Simulator(Protocol):
    """Makes clients of an attacker's own, see `gradsiege.federated.simulation`."""

    def __call__(
        self, observation: Observation, at_round: int, rounds: int, shadow: Tensors | None
    ) -> Simulate:
        """Return the client loop with the disclosed defense, at the observed model in round `at_round` of `rounds`.

        `shadow` are the weights of a shadow generator of the attacker's own, for a defense that has one.
        """

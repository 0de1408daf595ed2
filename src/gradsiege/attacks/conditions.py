"""Under which conditions an attack runs, and how it ends: the same for a call in Python and for a job of a study."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gradsiege.attacks.engine.autotune import EnginePolicy
from gradsiege.attacks.matching import Seed
from gradsiege.priors.resumable import Interruptible
from gradsiege.protocol.reconstruction import Reconstruction
from gradsiege.protocol.simulation import Simulate


@dataclass(frozen=True)
class Conditions:
    """Everything but knowledge that an attack is given.

    Attributes:
        seed: names that seed all randomness of the attack.
        policy: how engines are chosen, for an attack that matches updates.
        progress: keeps the attack's progress and says when to stop; None where nothing is kept.
        simulate: creates simulated clients, for attacks and counters that learn from them.
    """

    seed: Seed
    policy: EnginePolicy
    progress: Interruptible | None = None
    simulate: Simulate | None = None


@dataclass(frozen=True)
class Completed:
    """The end of an attack.

    Attributes:
        reconstruction: its result; failures that follow from the observation are not yet in it.
        evaluations: number of candidate updates per victim, or of updates that a learning attack computed.
        notes: what else a record of the attack says, as plain data.
    """

    reconstruction: Reconstruction
    evaluations: int
    notes: dict[str, Any] = field(default_factory=dict)

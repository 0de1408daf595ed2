"""GradSiege: what gradient inversion in federated learning can and cannot do.

    import gradsiege as gs

    seen = gs.observe(model, images, labels, defense=gs.defenses.Gaussian(sigma=0.01))  # what a server would see
    found = gs.attacks.InvertingGradients(iterations=1000)(seen)
    gs.metrics.table(found.images, images)  # one row per image

`evaluate` runs many attacks on many defenses and returns a table, `audit` writes a page about a federation of your own (`Budget`
says what it may cost), `audit_updates` does so for recorded updates, `audit_rounds` for those of several rounds, and
`choose_settings` finds an attack's settings. `Observation` holds what a server sees, `ThreatModel` what an attacker knows beyond it,
`LocalTraining` how clients train. `attacks`, `datasets`, `defenses`, `metrics`, `models` and `priors` hold the methods:
`dir(gs.attacks)` names them. Errors are of `GradSiegeError`, but a parameter out of its range, in a method,
`ThreatModel`, `LocalTraining` or `Budget`, is a `ValueError`.

Importing this package loads no heavy library; each name is imported when it is used.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.2.0"

# The names that the package offers in Python, and their modules.
_OFFERED = {
    "observe": "gradsiege.federated.observing",
    "Observation": "gradsiege.protocol.observation",
    "ThreatModel": "gradsiege.protocol.threat_model",
    "LocalTraining": "gradsiege.protocol.local_update",
    "evaluate": "gradsiege.evaluation",
    "audit": "gradsiege.auditing.call",
    "audit_updates": "gradsiege.auditing.recorded",
    "audit_rounds": "gradsiege.auditing.rounds",
    "Budget": "gradsiege.auditing.budget",
    "choose_settings": "gradsiege.tuning.settings",
    "GradSiegeError": "gradsiege.errors",
}
_PACKAGES = ("attacks", "datasets", "defenses", "metrics", "models", "priors")
__all__ = [*_OFFERED, *_PACKAGES]


def __getattr__(name: str) -> Any:
    """Import one of the offered names."""
    if name in _PACKAGES:
        return importlib.import_module(f"gradsiege.{name}")
    if name in _OFFERED:
        return getattr(importlib.import_module(_OFFERED[name]), name)
    raise AttributeError(f"gradsiege offers {', '.join(__dir__())}, and no {name!r}")


def __dir__() -> list[str]:
    """Return the offered names."""
    return sorted([*_OFFERED, *_PACKAGES])

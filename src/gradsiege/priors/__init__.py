"""Priors: models that an attacker or a defender learns from its own images, one frozen dataclass each over one small base.

`gradsiege.priors.Autoencoder(epochs=20).fit(images, labels)` trains one in Python and returns a `TrainedPrior`, which attacks take
in `priors`; `build` makes one from an entry of a study file. A prior is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradsiege import catalogue

if TYPE_CHECKING:
    from torch import Tensor

    from gradsiege.priors.base import Prior


def build(name: str, parameters: dict[str, Any]) -> Prior:
    """Return the prior of a study file's entry, parameters already resolved."""
    prior: Prior = _kind(name)(**parameters)
    return prior


def load(name: str, weights: dict[str, Tensor]) -> Any:
    """Return the object that the weights of the prior called `name` describe, such as a frozen network.

    weights: by name, each in the shape with which the prior stored it.
    """
    return _kind(name).load(weights)


def _kind(name: str) -> type[Prior]:
    kind: type[Prior] = catalogue.implementation(catalogue.lookup("priors", name, "the prior"))
    return kind


def __getattr__(name: str) -> Any:
    """Import a prior by the name of its class, or `TrainedPrior`."""
    if name == "TrainedPrior":
        from gradsiege.priors.base import TrainedPrior

        return TrainedPrior
    return catalogue.attribute("priors", name)


def __dir__() -> list[str]:
    """Name every prior, and `TrainedPrior`."""
    return sorted([*catalogue.classes("priors"), "TrainedPrior"])

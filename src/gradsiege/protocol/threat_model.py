"""The attacker's knowledge, and the stripping of everything else.

A recipe lists its requirements (``REQUIRES`` in its module); a threat model grants them or not. The check happens when
the attack is built, before any work, and the error names the missing ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from gradsiege.errors import ThreatModelError
from gradsiege.ranges import Checked, Count

if TYPE_CHECKING:
    from torch import Tensor

    from gradsiege.protocol.observation import Observation


@dataclass(frozen=True, kw_only=True)
class ThreatModel(Checked):
    """The attacker's knowledge beyond the global model, the update, and the images' shape and count.

    Attributes:
        id: name in the study file; ``own`` for a threat model built in Python.
        labels: ``given``; ``inferred`` from the update; or ``wrong``: given, but each is the class after the true one. An
            attacker who was misled, whom a study compares with the others to see what labels are worth.
        protocol: local learning rate, steps, batch-norm mode.
        disclosure: the defense and its public parameters.
        auxiliary: auxiliary images and the priors trained on them.
        batch_statistics: the private batch's own statistics at every batch norm, which some published attacks take.
        rounds: number of rounds of a client that the attacker knows to be of the same images; 1 if it treats each separately.
        candidates: a gallery of images that holds the private ones, never which they are.
    """

    id: str = "own"
    labels: Literal["given", "inferred", "wrong"] = "inferred"
    protocol: bool = True
    disclosure: bool = False
    auxiliary: bool = True
    batch_statistics: bool = False
    rounds: Count = 1
    candidates: bool = False

    @property
    def has_labels(self) -> bool:
        """Whether the attacker is told labels, right or wrong ones, and infers none."""
        return self.labels != "inferred"

    def grants(self, requirement: str) -> bool:
        """Return whether the threat model grants one requirement of a recipe.

        >>> ThreatModel(id="strict").grants("labels"), ThreatModel(id="strict").grants("protocol")
        (False, True)
        """
        if requirement == "labels":
            return self.has_labels
        if requirement.startswith("prior:") or requirement == "auxiliary":
            return self.auxiliary
        if requirement == "rounds":
            return self.rounds > 1
        return bool(getattr(self, requirement))

    def describe(self) -> str:
        """Return one sentence for tables and figures.

        >>> ThreatModel(id="strict").describe()
        'honest-but-curious server (SoK model D); labels inferred; knows the protocol and auxiliary data'
        """
        known = [
            name
            for name, granted in (
                ("the protocol", self.protocol),
                ("the defense", self.disclosure),
                ("auxiliary data", self.auxiliary),
                ("the private batch's statistics", self.batch_statistics),
                (f"{self.rounds} rounds of the same images", self.rounds > 1),
                ("a gallery that holds the private images", self.candidates),
            )
            if granted
        ]
        labels = {"given": "labels known", "wrong": "told wrong labels"}.get(
            self.labels, "labels inferred"
        )
        knows = "knows " + " and ".join(known) if known else "knows nothing else"
        return f"honest-but-curious server (SoK model {self.sok_model()}); {labels}; {knows}"

    def sok_model(self) -> str:
        """Return the letter of the nearest threat model of Carletti et al. (SoK, USENIX Security 2025).

        B knows the architecture and the weights, C also the training, D also surrogate data, E also statistics of the
        client's data. Given labels and a disclosed defense are outside their models; `describe` names them.

        >>> ThreatModel(id="t", auxiliary=False).sok_model(), ThreatModel(id="t", batch_statistics=True).sok_model()
        ('C', 'E')
        """
        if self.batch_statistics:
            return "E"
        if self.auxiliary:
            return "D"
        return "C" if self.protocol else "B"


def require(threat: ThreatModel, requirements: tuple[str, ...], attack: str) -> None:
    """Refuse an attack that needs more than the threat model grants."""
    missing = [name for name in requirements if not threat.grants(name)]
    if missing:
        raise ThreatModelError(
            f"{attack} needs {', '.join(missing)}, which the threat model {threat.id!r} does not grant. "
            f"Grant it: in Python by gradsiege.ThreatModel({_arguments(missing)}), or in the study file, where the 'only' of the "
            "attack may also name other threat models."
        )


def _arguments(requirements: list[str]) -> str:
    """Return the arguments of `ThreatModel` that grant some requirements.

    >>> _arguments(["labels", "candidates", "rounds", "prior:pca"])
    "labels='given', candidates=True, rounds=2, auxiliary=True"
    """
    values: dict[str, object] = {"labels": "given", "rounds": 2}
    names = ["auxiliary" if name.startswith("prior:") else name for name in requirements]
    return ", ".join(f"{name}={values.get(name, True)!r}" for name in dict.fromkeys(names))


def strip(observation: Observation, threat: ThreatModel) -> Observation:
    """Return the observation without everything that the threat model does not grant.

    Raises:
        ThreatModelError: labels or candidates are granted, and the observation holds none.
    """
    if threat.candidates and observation.candidates is None:
        raise ThreatModelError(
            f"the threat model {threat.id!r} grants candidates, and the observation holds none: call the attack with "
            "`candidates`, or make the observation again"
        )
    if threat.has_labels and observation.labels is None:
        raise ThreatModelError(
            f"the threat model {threat.id!r} grants labels, and the observation holds none: give `labels` when the observation "
            "is made, or let them be inferred"
        )
    return replace(
        observation,
        labels=_labels(observation, threat),
        training=observation.training if threat.protocol else None,
        disclosure=observation.disclosure if threat.disclosure else None,
        statistics=observation.statistics if threat.batch_statistics else {},
        later=observation.later[: threat.rounds - 1],
        progress=observation.progress[: threat.rounds] if threat.rounds > 1 else (),
        candidates=observation.candidates if threat.candidates else None,
    )


def _labels(observation: Observation, threat: ThreatModel) -> Tensor | None:
    """Return the labels ``[victims, images]`` that the attacker is told."""
    if observation.labels is None or not threat.has_labels:
        return None
    if threat.labels == "given":
        return observation.labels
    return (observation.labels + 1) % observation.model.classes

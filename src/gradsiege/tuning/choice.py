"""The choice of an attack's settings: every trial runs against the same simulated clients, and the best mean PSNR wins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from gradsiege import catalogue
from gradsiege.analysis.summary import PSNR_CAP
from gradsiege.attacks.base import Attack
from gradsiege.attacks.conditions import Conditions
from gradsiege.attacks.engine.autotune import FIXED, EnginePolicy
from gradsiege.attacks.identity import identity
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.matching import with_failures
from gradsiege.checkpoints import FolderProgress, identity_of
from gradsiege.errors import UsageError
from gradsiege.metrics.assignment import assign
from gradsiege.metrics.fidelity import peak_signal_noise_ratio
from gradsiege.protocol.reconstruction import Reconstruction
from gradsiege.protocol.simulation import Simulate
from gradsiege.ranges import is_given
from gradsiege.tuning.clients import simulated_clients
from gradsiege.tuning.kept import KeptScores
from gradsiege.tuning.trials import Settings, trials_of

# The decibels of an image that was not recovered: its squared error counts as the largest there is.
FAILED = 0.0


@dataclass(frozen=True)
class Trial:
    """One choice of settings, and the mean PSNR in dB over all images of the simulated clients."""

    settings: Settings
    psnr: float


@dataclass(frozen=True)
class Choice:
    """What was chosen, and from what.

    Attributes:
        attack: the attack with the settings of the best trial.
        trials: all trials; the first is the attack as it was given. Of equal ones the first is taken.
        clients: number of simulated clients.
        identity: digest of all that the choice depends on.
    """

    attack: Attack
    trials: tuple[Trial, ...]
    clients: int
    identity: str

    @property
    def best(self) -> int:
        """The place of the trial that was chosen."""
        return best_of([trial.psnr for trial in self.trials])

    @property
    def gain(self) -> float:
        """The decibels that the choice gains over the attack as it was given, on the simulated clients."""
        return self.trials[self.best].psnr - self.trials[0].psnr

    def record(self) -> dict[str, Any]:
        """Return plain data for a manifest."""
        return {
            "chosen": self.best,
            "clients": self.clients,
            "identity": self.identity,
            "trials": [asdict(trial) for trial in self.trials],
        }


@dataclass(frozen=True)
class OwnImages:
    """Images of the attacker's own that no prior of it has learned from: ``[n, c, h, w]`` in [0, 1], and labels ``[n]``."""

    images: Tensor
    labels: Tensor

    def first(self, count: int) -> OwnImages:
        """Return the first ones.

        Raises:
            UsageError: there are fewer.
        """
        if len(self.labels) != len(self.images) or len(self.images) < count:
            raise UsageError(
                f"{count} images with labels are needed for the simulated clients, not {len(self.images)} with "
                f"{len(self.labels)} labels; give more, or simulate fewer clients"
            )
        return OwnImages(self.images[:count], self.labels[:count])


@dataclass(frozen=True)
class Budget:
    """The effort of a choice, equal for all attacks that are compared.

    Attributes:
        trials: choices of settings that are tried, the attack as it is among them.
        clients: simulated clients that each trial meets.
    """

    trials: int = 6
    clients: int = 4


def choose(
    attack: Attack,
    knowledge: Knowledge,
    own: OwnImages,
    simulates: Sequence[Simulate],
    budget: Budget,
    seed: tuple[object, ...],
    *,
    among: Sequence[str] | None = None,
    engine: str = FIXED,
    folder: Path | None = None,
    saving: Callable[[str], FolderProgress | None] = lambda name: None,
) -> Choice:
    """Choose the settings of an attack.

    Args:
        attack: the attack as it is, which is the first trial.
        knowledge: what the attacker has; nothing that came from its victims is looked at.
        own: the attacker's own images, the first of which become those of simulated clients.
        simulates: for every round that is granted, the client loop at its model.
        budget: number of trials and of clients.
        seed: names that seed all randomness. Every trial has the same clients and the same starting points.
        among: names of the fields to choose from; by default those with a range that stand at their default.
        engine: as for `Attack.__call__`; the fixed one makes equal calls choose equally on a CPU.
        folder: where the scores of finished trials are kept; the same choice is then never made twice.
        saving: returns what keeps the progress of one trial, by a name of its own.

    Raises:
        ThreatModelError: the attacker cannot simulate clients.
        UsageError: it has too few images.
    """
    own = own.first(budget.clients * knowledge.observation.images_per_client)
    met = simulated_clients(knowledge, own.images, own.labels, simulates, (*seed, "clients"))
    planned = trials_of(attack, budget.trials, among)
    about = _about(attack, planned, seed, engine)
    name = identity_of({"images": own.images, "labels": own.labels}, {"all": identity(met, about)})
    kept = KeptScores(folder, name, planned)
    simulate = simulates[0] if attack.simulates else None
    how = Conditions((*seed, "attack"), EnginePolicy(engine), None, simulate)
    scores = kept.recall()
    for number in range(len(scores), len(planned)):
        trial = replace(attack, **planned[number])
        progress = saving(f"{name}-trial{number}")
        reconstruction = trial.run(met, replace(how, progress=progress)).reconstruction
        scores.append(mean_psnr(with_failures(reconstruction, met.observation), own.images))
        kept.remember(scores)
        if progress is not None:
            progress.remove()
    best = replace(attack, **planned[best_of(scores)])
    trials = (Trial(settings, score) for settings, score in zip(planned, scores, strict=True))
    return Choice(best, tuple(trials), budget.clients, name)


def best_of(scores: Sequence[float]) -> int:
    """Return the place of the highest score, the first of equal ones.

    >>> best_of([20.0, 21.5, 21.5])
    1
    """
    return max(range(len(scores)), key=lambda number: (scores[number], -number))


def mean_psnr(reconstruction: Reconstruction, images: Tensor) -> float:
    """Return the mean PSNR in dB over all images, each client's in the order of the least total squared error.

    A perfect image counts as the cap of all averages, one of a client without a usable result as 0 dB.

    Args:
        reconstruction: of all clients.
        images: theirs, ``[clients * images_per_client, c, h, w]``.
    """
    values: list[float] = []
    per_client = reconstruction.images.shape[1]
    for client, (guesses, wanted) in enumerate(
        zip(reconstruction.images.cpu(), images.split(per_client), strict=True)
    ):
        if client in reconstruction.failures or not bool(guesses.isfinite().all()):
            values += [FAILED] * per_client
            continue
        guesses = guesses.clamp(0, 1).to(wanted.dtype)
        measured = peak_signal_noise_ratio(guesses[assign(guesses, wanted)], wanted)
        values += measured.clamp(max=PSNR_CAP).tolist()
    return sum(values) / len(values)


def _about(
    attack: Attack, planned: list[Settings], seed: tuple[object, ...], engine: str
) -> dict[str, Any]:
    """Return all that a choice depends on, beside the images and what the attacker knows of the clients."""
    entry = catalogue.entries("attacks").get(attack.name)
    counter = catalogue.entries("counters")[attack.counter] if attack.counter else None
    settings = {
        field.name: getattr(attack, field.name) for field in fields(attack) if not is_given(field)
    }
    return {
        "attack": f"{type(attack).__module__}.{type(attack).__qualname__}",
        "versions": [entry.version if entry else None, counter.version if counter else None],
        "settings": settings,
        "trials": planned,
        "seed": [str(name) for name in seed],
        "engine": engine,
    }

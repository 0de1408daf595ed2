"""The base of all attacks: a budget, the constants of a paper, and a recipe or a learning method."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from gradsiege import catalogue
from gradsiege.attacks import given_priors
from gradsiege.attacks.conditions import Completed, Conditions
from gradsiege.attacks.device import AUTO, where_to_run
from gradsiege.attacks.engine.autotune import FIXED, EnginePolicy
from gradsiege.attacks.identity import identity
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.matching import Matched, Seed, match, with_failures
from gradsiege.attacks.progress import LoopCheckpointer
from gradsiege.attacks.recipe import Recipe, UpdateModel
from gradsiege.attacks.result import Result
from gradsiege.checkpoints import FolderProgress
from gradsiege.errors import MissingError, UsageError
from gradsiege.priors.base import TrainedPrior
from gradsiege.priors.resumable import UNSAVED, Checkpointer
from gradsiege.protocol.arguments import refuse_kinds
from gradsiege.protocol.local_update import with_gradients
from gradsiege.protocol.observation import Observation
from gradsiege.protocol.reconstruction import Reconstruction
from gradsiege.protocol.simulation import Simulate
from gradsiege.protocol.threat_model import ThreatModel, require, strip
from gradsiege.ranges import Checked, Count, is_given
from gradsiege.seeds import global_state

Arm = Literal["faithful", "as_released"]
LabelRule = Literal["automatic", "row_sum", "row_minimum", "bias_corrected", "projection"]


@dataclass(frozen=True, kw_only=True)
class Attack(Checked):
    """Base of all attacks. A subclass adds the constants of its paper as fields, and `recipe` or `learn`.

    Its fields and their ranges hold in study files and in Python alike. ``attack(seen, knows=...)`` runs it.

    Attributes:
        iterations: steps of optimisation, over all phases.
        restarts: independent starts per client; the one that matches best is returned.
        label_rule: how labels are inferred where the threat model does not grant them.
        update_model: how the attacker models several local steps.
        evaluated_at: weights at which the candidate's update is taken.
        patience: a client's attack stops after so many iterations without progress; None for never.
        rounds: which of the granted rounds are matched.
        counter: what an informed attacker does about a defense, ``<defense>.<idea>`` (`gradsiege list counters`).
    """

    name: ClassVar[str] = "attack"
    requires: ClassVar[tuple[str, ...]] = ()
    # Kinds of priors that the attack uses beside the one that it requires.
    further_priors: ClassVar[tuple[str, ...]] = ()

    iterations: Count = 1000
    restarts: Count = 1
    label_rule: LabelRule = "automatic"
    update_model: UpdateModel = "unroll"
    evaluated_at: Literal["global", "defended"] = "global"
    patience: Count | None = None
    rounds: Literal["first", "joint", "average"] = "first"
    counter: str | None = None

    def __init_subclass__(cls) -> None:
        """Name an attack after its class, unless it has a name."""
        if "name" not in vars(cls):
            cls.name = cls.__name__

    def recipe(self, knowledge: Knowledge) -> Recipe:
        """Return the optimisation problem, given the attacker's knowledge."""
        raise UsageError(f"{type(self).__name__} has no recipe: define `recipe(self, knowledge)`")

    @with_gradients()
    def __call__(
        self,
        seen: Observation,
        knows: ThreatModel | None = None,
        priors: TrainedPrior | Sequence[TrainedPrior] = (),
        *,
        seed: int = 0,
        device: str | torch.device = AUTO,
        engine: str = FIXED,
        resume: Path | str | None = None,
        simulate: Simulate | None = None,
        candidates: Tensor | None = None,
    ) -> Result:
        """Attack every client of an observation, in float32, also one of a network in float64.

        Args:
            seen: the server's observation.
            knows: the attacker's further knowledge; by default labels are inferred and the defense is unknown.
            priors: one or several priors that the attacker trained on its own images (`gradsiege.priors`, `fit`).
            seed: seed of all randomness of the attack. Equal calls on a CPU, with as many threads, end with equal images.
            device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda`` or a `torch.device`.
            engine: ``fixed`` takes ``factored`` where it applies, else ``loop``, on every run. ``measured`` times the engines in
                this call and takes the fastest. Engines round differently, so equal seeds may then end with unequal images. Or
                the name of an engine.
            resume: folder of the attack's progress, saved every half minute: an interruption loses the time since the last save.
                The same call then goes on from there, and ends with the same images on a CPU; the progress is deleted when the attack ends. The same call
                means equal settings, observation, knowledge, priors, seed and engine; `device` may differ, and `simulate` is not
                compared.
            simulate: creates simulated clients, for attacks and counters that learn from them.
            candidates: a gallery ``[n, c, h, w]`` in [0, 1] that holds the private images, for attacks that choose among them
                under a threat model that grants `candidates`. The attack gets it in an order that says nothing.

        Raises:
            ThreatModelError: the threat model does not grant a need of the attack.
            UsageError: the device or the engine is not there, an argument is of another kind, or a prior is untrained or of no use to
                the attack.
            ArtifactError: the folder holds the progress of another attack.
        """
        _refuse_others(seen)
        refuse_kinds(knows, resume, seed, simulate=simulate)
        if candidates is not None:
            self._refuse_candidates()
            seen = seen.with_candidates(candidates)
        threat = knows or ThreatModel()
        require(threat, self.required, self.name)
        priors = given_priors.trained_ones(priors)
        given_priors.check(priors, self.name, self.prior_kinds, self.further_kinds)
        stripped = strip(seen, threat).to(where_to_run(device, engine), torch.float32)
        knowledge = Knowledge(stripped, threat, priors)
        started = time.monotonic()
        progress = None
        if resume is not None:
            progress = FolderProgress(Path(resume), self._identity(knowledge, seed, engine))
            progress.prepare()
        conditions = Conditions((seed, "attack"), EnginePolicy(engine), progress, simulate)
        with global_state(seed, "attack"):
            reconstruction = self.run(knowledge, conditions).reconstruction
        if progress is not None:
            progress.remove()
        return Result(with_failures(reconstruction, stripped), time.monotonic() - started)

    def _refuse_candidates(self) -> None:
        if "candidates" not in self.requires:
            raise UsageError(f"{self.name} chooses among no candidates; leave `candidates` out")

    @property
    def required(self) -> tuple[str, ...]:
        """The grants that the attack needs from a threat model, then those that its counter needs."""
        several = ("rounds",) if self.rounds != "first" else ()
        return tuple(dict.fromkeys((*self.requires, *self._counter_requires, *several)))

    @property
    def _counter_requires(self) -> tuple[str, ...]:
        """The needs of the counter; empty without one."""
        if self.counter is None:
            return ()
        return catalogue.lookup("counters", self.counter, "the counter").requires

    @property
    def prior_kinds(self) -> tuple[str, ...]:
        """The kinds of priors of which the attack needs one; empty if it needs none."""
        return given_priors.kinds_in(self.requires)

    @property
    def further_kinds(self) -> tuple[str, ...]:
        """The kinds of priors that the attack or its counter uses beside the one that the attack needs."""
        more = given_priors.kinds_in(self._counter_requires)
        # A counter that simulates clients of a defense with a shadow generator needs the attacker's own.
        simulating = ("shadow_generator",) if self.simulates else ()
        return tuple(dict.fromkeys((*self.further_priors, *more, *simulating)))

    @property
    def simulates(self) -> bool:
        """Whether the attack learns from simulated clients, by its counter or by itself, and wants `simulate`."""
        return "prior:auxiliary_images" in self._counter_requires

    def run(self, knowledge: Knowledge, how: Conditions) -> Completed:
        """Run the attack on what it knows, without the checks of a call."""
        matched = self._match(knowledge, how)
        notes: dict[str, Any] = {"engines": matched.reconstruction.engines}
        if self.rounds != "first":
            notes["rounds"] = f"{self.rounds} of {1 + len(knowledge.observation.later)}"
        return Completed(matched.reconstruction, matched.evaluations, notes)

    def _match(self, knowledge: Knowledge, how: Conditions) -> Matched:
        if how.progress is None:
            return match(self, knowledge, how.seed, how.policy, simulate=how.simulate)
        loop = LoopCheckpointer(how.progress)
        resume, pause = loop.resume, loop.pause
        return match(self, knowledge, how.seed, how.policy, resume, pause, how.simulate)

    def _identity(self, knowledge: Knowledge, seed: int, engine: str) -> str:
        """Return a digest of all that the result depends on, which identifies the saved progress."""
        settings = {
            parameter.name: getattr(self, parameter.name)
            for parameter in fields(self)
            if not is_given(parameter)
        }
        cls = f"{type(self).__module__}.{type(self).__qualname__}"
        return identity(
            knowledge, {"attack": cls, "settings": settings, "seed": seed, "engine": engine}
        )


def _refuse_others(seen: object) -> None:
    """Refuse to attack anything but an observation."""
    if not isinstance(seen, Observation):
        raise UsageError(
            f"an attack is called with an observation, not with {type(seen).__name__}: make one by `gradsiege.observe` or "
            "`gradsiege.Observation.of`"
        )


@dataclass(frozen=True, kw_only=True)
class Learned(Attack):
    """Base of attacks that learn from simulated clients instead of matching an update."""

    @property
    def simulates(self) -> bool:
        """True: that is how such an attack learns."""
        return True

    def learn(
        self,
        knowledge: Knowledge,
        simulate: Simulate,
        seed: Seed,
        checkpointer: Checkpointer = UNSAVED,
    ) -> Reconstruction:
        """Return the reconstructions that the trained attack predicts from the observed updates."""
        raise UsageError(f"{type(self).__name__} does not learn: define `learn`")

    @property
    def evaluations(self) -> int:
        """Number of updates that the attack computes."""
        return self.iterations

    def run(self, knowledge: Knowledge, how: Conditions) -> Completed:
        """Learn from simulated clients, on the CPU.

        Raises:
            MissingError: nothing creates simulated clients.
        """
        if how.simulate is None:
            raise MissingError(
                f"{self.name} learns from simulated clients: call it through `gradsiege.evaluate`, which simulates them, or give "
                "`simulate` (gradsiege.federated.simulation.simulator makes one)"
            )
        learned = self.learn(knowledge, how.simulate, how.seed, Checkpointer(how.progress))
        return Completed(learned, self.evaluations, {"device": "cpu"})

"""Settings that an attack chooses inside its job, on simulated clients; the choice is kept for all cells that would make the same."""

from __future__ import annotations

from dataclasses import dataclass

from gradsiege.attacks.base import Attack
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.checkpoints import FolderProgress
from gradsiege.images import load_images
from gradsiege.pipeline.jobs import Job
from gradsiege.protocol.simulation import Simulator
from gradsiege.study.tuning import images_set_aside
from gradsiege.tuning.choice import Budget, Choice, OwnImages, choose
from gradsiege.tuning.clients import as_known
from gradsiege.tuning.images import divided


@dataclass(frozen=True)
class TrialProgress(FolderProgress):
    """The progress of one trial, which stops when its job is asked to."""

    job: Job

    def should_stop(self) -> bool:
        """Whether the job is to stop."""
        return self.job.should_stop()

    def interrupt(self) -> None:
        """Leave as the job does."""
        self.job.interrupt()


def chosen_settings(job: Job, attack: Attack, knowledge: Knowledge, simulator: Simulator) -> Choice:
    """Return the choice of an attack's settings, and record it in the job's notes.

    It depends on the global model, what the attacker knows of clients, the attack and its budget: not on the victims, nor on a
    defense that the attacker does not know. Its digest names the file that keeps it, ``results/<study>/settings``, so that cells
    that agree in all of that choose once.
    """
    study, cell = job.study, job.cell
    assert study.tuning is not None
    entry = study.one("attacks", cell.attack)
    images, labels, _ = load_images(job.input(cell.at("fetch"), "aux.safetensors"))
    places, _ = divided(len(labels), images_set_aside(study), (study.seed, cell.dataset))
    shadow = knowledge.trained("shadow_generator")
    weights = shadow.weights if shadow else None
    first = study.federation.round_of(cell.training_stage)
    simulates = [
        simulator(round_, first + number, study.federation.rounds, weights)
        for number, round_ in enumerate(as_known(knowledge.observation).rounds())
    ]
    choice = choose(
        attack,
        knowledge,
        OwnImages(images[places], labels[places]),
        simulates,
        Budget(study.tuning.trials, study.tuning.clients),
        # Not the cell's key: cells that differ in their victims alone share the choice.
        (study.seed, "tuning"),
        among=entry.tuned,
        folder=job.root / "results" / study.study / "settings",
        saving=lambda name: TrialProgress(job.scratch / "settings" / name, name, job),
    )
    job.notes["tuning"] = choice.record()
    return choice

"""Learning To Invert: a regression learns from simulated clients what image an update comes from (Wu et al., UAI 2023, arXiv 2210.10880)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from gradsiege.attacks import labels
from gradsiege.attacks.auxiliary import auxiliary_images
from gradsiege.attacks.base import Learned
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.learned.hashing import Hashing, log_lengths
from gradsiege.attacks.learned.inverter import Training, plan
from gradsiege.attacks.learned.kernel import KernelRegression
from gradsiege.errors import StudyError
from gradsiege.priors.resumable import UNSAVED, Checkpointer
from gradsiege.protocol.local_update import Tensors
from gradsiege.protocol.reconstruction import Reconstruction
from gradsiege.protocol.simulation import Simulate
from gradsiege.ranges import Count, PartialShare, Range, Rate, Tuned, Width
from gradsiege.seeds import torch_generator

VERSION = 2
LEAST_IMAGES = 3
REQUIRES = ("protocol", "disclosure", "auxiliary", "prior:auxiliary_images")
# It learns from simulated clients and matches no update.
UNUSED = ("restarts", "update_model", "evaluated_at", "patience", "rounds", "counter")


@dataclass(frozen=True)
class LearnedInversion(Learned):
    """The simulated clients and what learns from them, by default in closed form.

    Attributes:
        updates: simulated clients, each with one auxiliary image; a second turn through the images mirrors them.
        bins: numbers that an update is hashed to, about; the logarithm of every tensor's length is added to them.
        learner: ``kernel`` ridge regression, or a ``perceptron`` with one hidden layer, as in the paper. The attack's iterations are
            the perceptron's training steps; the regression has none, and none of the settings below.
        width: of the hidden layer.
        dropout: share of its units that drop out in a step.
        learning_rate, batch_size: of Adam.
    """

    name = "learned_inversion"
    requires = REQUIRES
    further_priors = ("shadow_generator",)

    updates: Annotated[int, Range(3, 1_000_000)] = 1500
    bins: Annotated[int, Range(1, 1_048_576)] = 4096
    width: Width = 256
    dropout: PartialShare = 0.3
    learning_rate: Annotated[Rate, Tuned(3e-4, 0.01)] = 1e-3
    batch_size: Count = 64
    learner: Literal["perceptron", "kernel"] = "kernel"

    @property
    def turns(self) -> int:
        """Training steps after the last simulated client."""
        return 1 if self.learner == "kernel" else self.iterations

    @property
    def evaluations(self) -> int:
        """Number of simulated clients and of training steps."""
        return self.updates + self.turns

    def learn(
        self,
        knowledge: Knowledge,
        simulate: Simulate,
        seed: tuple[object, ...],
        checkpointer: Checkpointer = UNSAVED,
    ) -> Reconstruction:
        """Return the images that a learner, trained on updates of simulated clients, predicts from the victims' updates.

        The mean squared error on held-out auxiliary images chooses the regression's width and ridge, or the training step, and
        replaces the matching loss; the victims have no influence. One learner serves all victims. The attack works for every
        disclosed defense, since it learns from updates under that defense. It needs no labels; `label_rule` infers the
        returned ones, unless they are granted.

        Args:
            knowledge: the stripped observation and a prior `auxiliary_images`.
            simulate: the client loop with the disclosed defense (`gradsiege.protocol.simulation`).
            seed: names that all randomness is drawn from, the simulated clients' own included: never what a victim drew.
            checkpointer: checkpoints, among simulated clients and among training steps.

        Raises:
            StudyError: clients with several images, which have no order that a network could learn to answer in.
            ThreatModelError: no auxiliary images, or of another shape.
        """
        seen = knowledge.observation
        if seen.images_per_client != 1:
            raise StudyError(
                f"learned_inversion inverts the update of one image, not of {seen.images_per_client}: "
                "observe clients of one image, or in the study file name such protocols in the attack's 'only'"
            )
        images, classes = auxiliary_images(self.name, knowledge)
        update = {name: value.cpu() for name, value in seen.update.items()}
        victims = [{k: v[n] for k, v in update.items()} for n in range(seen.victims)]
        hashing = Hashing.draw(victims[0], self.bins, torch_generator(*seed, "hashing"))

        def features(update: Tensors) -> Tensor:
            directions = hashing(update)
            return torch.cat([directions, log_lengths(update).to(directions)])

        observed = torch.stack([features(victim) for victim in victims])
        examples = plan(images, classes, self.updates, observed.shape[1])
        settings = (
            self.width,
            self.learning_rate,
            self.batch_size,
            self.dropout,
            self.iterations,
        )
        training: Training | KernelRegression = (
            KernelRegression(examples, observed, seed)
            if self.learner == "kernel"
            else Training(examples, observed, *settings, seed)
        )
        steps = checkpointer.steps(
            self.updates + self.turns, "attack", training.parts(), training.generator
        )
        for number in steps:
            if number < self.updates:
                victim = slice(number, number + 1)
                generator = torch_generator(*seed, "simulated client", number)
                client = simulate(examples.images[victim], examples.labels[victim], generator)
                examples.features[number] = features(client)
            else:
                training.step(number - self.updates)
        known = seen.labels
        guessed = labels.inferred(seen, self.label_rule) if known is None else known
        return _answers(training, guessed.cpu())


def _answers(training: Training | KernelRegression, found_labels: torch.Tensor) -> Reconstruction:
    """Return every victim's images with the error on the held-out ones for their loss, infinite where there is no image."""
    images, looks = training.answers, training.looks
    finite = images.flatten(1).isfinite().all(1)
    place = int(looks.argmin())
    zeros = torch.full((len(images),), 0)
    return Reconstruction(
        images=images[:, None],
        labels=found_labels,
        matching_loss=torch.where(finite, looks[place], torch.inf),
        restart=zeros,
        iteration=torch.full_like(zeros, training.look_steps[place]),
        trace=[
            (step, error.expand(len(images), 1))
            for step, error in zip(training.look_steps, looks, strict=True)
        ],
    )

"""Auxiliary lookup: the auxiliary image whose update fits the received one best, with its label."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gradsiege.attacks.auxiliary import auxiliary_images
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.lookup.base import Lookup, answer, refuse_batches
from gradsiege.attacks.lookup.distances import Candidates, distances
from gradsiege.attacks.matching import Seed
from gradsiege.priors.resumable import UNSAVED, Checkpointer
from gradsiege.protocol.reconstruction import Reconstruction
from gradsiege.protocol.simulation import Simulate

VERSION = 1
REQUIRES = ("protocol", "auxiliary", "prior:auxiliary_images")
UNUSED = ("iterations", "restarts", "update_model", "evaluated_at", "patience")


def of_label(losses: Tensor, labels: Tensor, given: Tensor) -> Tensor:
    """Return the losses ``[victims, n]``, infinite for images of another label than the victim's.

    A victim whose label no image has keeps all.

    Args:
        labels: ``[n]``; given: ``[victims]``.

    >>> losses = torch.tensor([[1.0, 2.0], [1.0, 2.0]])
    >>> of_label(losses, torch.tensor([0, 1]), torch.tensor([1, 7])).tolist()
    [[inf, 2.0], [1.0, 2.0]]
    """
    other = labels != given[:, None]
    return losses.masked_fill(other & ~other.all(1, keepdim=True), torch.inf)


@dataclass(frozen=True)
class AuxiliaryLookup(Lookup):
    """The best answer that the attacker's own images hold: what an update gives away beyond its label without any optimisation."""

    name = "auxiliary_lookup"
    requires = REQUIRES

    def look_up(
        self,
        knowledge: Knowledge,
        checkpointer: Checkpointer = UNSAVED,
        simulate: Simulate | None = None,
        seed: Seed = (),
    ) -> Reconstruction:
        """Return the auxiliary image of least distance, of the victim's label if that is granted.

        Raises:
            StudyError: clients with several images.
            ThreatModelError: no auxiliary images, or of another shape.
        """
        refuse_batches(self.name, knowledge)
        images, labels = (
            part.to(knowledge.device) for part in auxiliary_images(self.name, knowledge)
        )
        plans = self.plans(knowledge, simulate, seed)
        losses = distances(plans, Candidates.labelled(images, labels), checkpointer)
        images, labels = images.cpu(), labels.cpu()
        given = knowledge.observation.labels
        if given is not None:
            losses = of_label(losses, labels, given[:, 0].cpu())
        best = losses.argmin(1)
        least = losses.gather(1, best[:, None])[:, 0]
        return answer(images[best][:, None], labels[best][:, None], least)

    def evaluations(self, knowledge: Knowledge) -> int:
        """Return the number of auxiliary images."""
        return len(auxiliary_images(self.name, knowledge)[0])

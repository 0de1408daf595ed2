"""Prior-aware identification: which image of a gallery is the private one (Hayes, Mahloujifar, Balle, NeurIPS 2023, arXiv 2302.07225)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gradsiege.attacks import several_rounds
from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.lookup.base import Lookup, answer, refuse_batches
from gradsiege.attacks.lookup.distances import Candidates, distances
from gradsiege.attacks.matching import Seed
from gradsiege.errors import ThreatModelError
from gradsiege.priors.resumable import UNSAVED, Checkpointer
from gradsiege.protocol.reconstruction import Reconstruction
from gradsiege.protocol.simulation import Simulate

VERSION = 1
REQUIRES = ("protocol", "candidates")
UNUSED = ("iterations", "restarts", "update_model", "evaluated_at", "patience")


@dataclass(frozen=True)
class Identification(Lookup):
    """The candidates are ranked by how well their updates fit, and the first one is returned.

    With a counter whose distance is -log p(received | candidate) that is the likeliest candidate, and the best attacker on a victim
    drawn at random from the gallery. The gallery holds the victims' images, so its PSNR says nothing.

    Attributes:
        labels: the labels that a candidate is tried with where they are not granted: ``every`` class, of which the best counts, or
            the ``inferred`` one of each victim, which costs less and fails where the defense hides the label.
    """

    name = "identification"
    requires = REQUIRES

    labels: Literal["every", "inferred"] = "every"

    def look_up(
        self,
        knowledge: Knowledge,
        checkpointer: Checkpointer = UNSAVED,
        simulate: Simulate | None = None,
        seed: Seed = (),
    ) -> Reconstruction:
        """Return the candidate of least loss for every victim, and the losses of all candidates.

        Raises:
            StudyError: clients with several images.
            ThreatModelError: there are no candidates.
        """
        refuse_batches(self.name, knowledge)
        images = _gallery(knowledge)
        plans = self.plans(knowledge, simulate, seed)
        labels = self._labels(knowledge, plans)
        tried = torch.arange(knowledge.observation.model.classes)
        if labels is not None:
            tried = labels.unique().cpu()
        candidates = Candidates.with_each(images, tried.to(images.device))
        # A victim's candidates count with its own label alone, so that no other pair needs to be compared.
        wanted = None if labels is None else (tried == labels.cpu()).repeat(1, len(images))
        losses = distances(plans, candidates, checkpointer, wanted)
        if wanted is not None:
            losses = losses.masked_fill(~wanted, torch.inf)
        losses = losses.unflatten(1, (len(images), len(tried)))
        of_candidates, with_label = losses.min(2)
        best = of_candidates.argmin(1, keepdim=True)
        least = of_candidates.gather(1, best)[:, 0]
        return answer(images.cpu()[best], tried[with_label.gather(1, best)], least, of_candidates)

    def evaluations(self, knowledge: Knowledge) -> int:
        """Return the number of candidates, times the number of labels that a victim's candidates are tried with."""
        single = self._knows_label(knowledge)
        return len(_gallery(knowledge)) * (1 if single else knowledge.observation.model.classes)

    def _knows_label(self, knowledge: Knowledge) -> bool:
        return self.labels == "inferred" or knowledge.observation.labels is not None

    def _labels(self, knowledge: Knowledge, plans: list[AttackPlan]) -> Tensor | None:
        """Return the label ``[victims, 1]`` that a victim's candidates are tried with, or None for all of them."""
        return several_rounds.agreed_labels(plans) if self._knows_label(knowledge) else None


def _gallery(knowledge: Knowledge) -> Tensor:
    """Return the candidates ``[n, c, h, w]``."""
    images = knowledge.observation.candidates
    if images is None:
        raise ThreatModelError(
            "identification chooses among candidates, and it was handed none: give the attack `candidates`, under a threat model "
            "that grants them"
        )
    return images

"""Label lookup: the label that the update tells, and the mean of the attacker's own images of that class."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gradsiege.attacks import several_rounds
from gradsiege.attacks.auxiliary import auxiliary_images
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.lookup.base import Lookup, answer
from gradsiege.attacks.matching import Seed
from gradsiege.priors.resumable import UNSAVED, Checkpointer
from gradsiege.protocol.reconstruction import Reconstruction
from gradsiege.protocol.simulation import Simulate

VERSION = 1
REQUIRES = ("auxiliary", "prior:auxiliary_images")
UNUSED = ("iterations", "restarts", "update_model", "evaluated_at", "patience")


def class_means(images: Tensor, classes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean image of each label and the mean squared distance of the class's images from it.

    The mean is the guess of least expected squared error for someone who knows the label alone. A class without images gets the
    mean of all images.

    Args:
        images: ``[n, c, h, w]`` in [0, 1]; classes: ``[n]``.
        labels: of any shape.

    Returns:
        Means ``[*labels, c, h, w]``, errors ``[*labels]``.

    >>> images = torch.tensor([0.25, 0.75, 0.5]).reshape(3, 1, 1, 1)
    >>> means, errors = class_means(images, torch.tensor([0, 0, 1]), torch.tensor([[0], [1]]))
    >>> means.flatten().tolist(), errors.tolist()
    ([0.5, 0.5], [[0.0625], [0.0]])
    """
    distinct, places = labels.unique(return_inverse=True)
    means, errors = [], []
    for label in distinct:
        members = classes == label
        chosen = images[members] if bool(members.any()) else images
        means.append(chosen.mean(0))
        errors.append((chosen - means[-1]).square().mean())
    return torch.stack(means)[places], torch.stack(errors)[places]


@dataclass(frozen=True)
class LabelLookup(Lookup):
    """The strongest attacker who uses an update for its labels alone: no protection is worth more than it leaves to this one."""

    name = "label_lookup"
    requires = REQUIRES

    def look_up(
        self,
        knowledge: Knowledge,
        checkpointer: Checkpointer = UNSAVED,
        simulate: Simulate | None = None,
        seed: Seed = (),
    ) -> Reconstruction:
        """Return the class's mean auxiliary image for every granted or inferred label.

        Its loss is the mean squared distance of that class's images from their mean: what the attacker expects of its guess.
        It takes no time worth a checkpoint.

        Raises:
            ThreatModelError: no auxiliary images, or of another shape.
        """
        images, classes = auxiliary_images(self.name, knowledge)
        labels = several_rounds.agreed_labels(self.plans(knowledge, simulate, seed)).cpu()
        means, errors = class_means(images, classes, labels)
        return answer(means, labels, errors.mean(1))

    def evaluations(self, knowledge: Knowledge) -> int:
        """Return 0: no update is computed."""
        return 0

"""The attacker's own images, as the prior `auxiliary_images` holds them."""

from __future__ import annotations

from torch import Tensor

from gradsiege.attacks.given_priors import lacking
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.errors import ThreatModelError
from gradsiege.priors.auxiliary_images import AuxiliaryImages


def auxiliary_images(user: str, knowledge: Knowledge) -> tuple[Tensor, Tensor]:
    """Return the attacker's images ``[n, c, h, w]`` in [0, 1] and their labels ``[n]``, on the CPU.

    Args:
        user: the attack or counter that needs them, for messages.
        knowledge: what the attacker has.

    Raises:
        ThreatModelError: there are none, or they have another shape than the private ones.
    """
    prior = knowledge.trained("auxiliary_images")
    if prior is None:
        raise lacking(user, ("auxiliary_images",))
    images, labels = AuxiliaryImages.load(prior.weights)
    shape = knowledge.observation.image_shape
    if tuple(images.shape[1:]) != tuple(shape):
        raise ThreatModelError(
            f"{user}: the auxiliary images have shape {list(images.shape[1:])}, the private ones {list(shape)}; give images "
            "of their shape"
        )
    return images.cpu(), labels.cpu()

"""The generator of an attack, with checks."""

from __future__ import annotations

from gradsiege.attacks.given_priors import lacking
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.priors.staged_gan.generator import Staged

GENERATORS = ("staged_gan", "biggan", "stylegan2")


def staged_generator(knowledge: Knowledge, attack: str) -> Staged:
    """Return the attacker's generator; refuse if there is none, or if its images have another shape than the private ones."""
    from gradsiege.errors import ThreatModelError
    from gradsiege.priors import load

    prior = knowledge.trained(*GENERATORS)
    if prior is None:
        raise lacking(attack, GENERATORS)
    network: Staged = load(prior.name, prior.weights).to(knowledge.device)
    made = (network.channels, network.size, network.size)
    if made != knowledge.observation.image_shape:
        raise ThreatModelError(
            f"{attack}: the generator makes images of shape {made}, the private ones have "
            f"{knowledge.observation.image_shape}; train it on images of their size"
        )
    return network

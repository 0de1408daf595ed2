"""Simulated clients of a counter: updates of the attacker's own images, without the defense and with it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from gradsiege.attacks.auxiliary import auxiliary_images
from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.errors import MissingError, ThreatModelError
from gradsiege.protocol.local_update import Tensors, local_update
from gradsiege.protocol.observation import Observation
from gradsiege.seeds import torch_generator

# Thirty are enough; eight did as well on the two defenses that were tried with both.
CLIENTS = 30


def simulated(plan: AttackPlan, name: str) -> Iterator[tuple[Tensors, Tensors, Tensor]]:
    """Yield, for every simulated client, its update without the defense, its upload, and its labels ``[images]``.

    Images are drawn without repetition as long as there are enough. All randomness of a client is fresh: it comes from the
    attack's seed, never from a victim's. For the mean of several rounds a client's uploads are averaged as well. A client whose
    upload is not finite says nothing and is left out.

    Raises:
        MissingError: the attack was given no `simulate`.
        ThreatModelError: there are no auxiliary images, or they have another shape; or no upload is finite.
    """
    if plan.simulate is None:
        raise MissingError(
            f"{name} learns from simulated clients: give `simulate`, see gradsiege.federated.simulation.simulator"
        )
    seen = plan.knowledge.observation.to(torch.device("cpu"))
    images, labels = auxiliary_images(name, plan.knowledge)
    images = images.to(next(iter(seen.parameters.values())).dtype)
    order = torch.randperm(len(images), generator=torch_generator(*plan.seed, name, "images"))
    sound = 0
    for number in range(CLIENTS):
        first = number * seen.images_per_client
        chosen = order[torch.arange(first, first + seen.images_per_client) % len(order)]
        uploads = [
            plan.simulate(
                images[chosen],
                labels[chosen],
                torch_generator(*plan.seed, name, "client", number, turn),
            )
            for turn in range(plan.averaged)
        ]
        upload = {
            key: torch.stack([tensors[key] for tensors in uploads]).mean(0) for key in uploads[0]
        }
        if all(bool(value.isfinite().all()) for value in upload.values()):
            sound += 1
            yield undefended(seen, images[chosen], labels[chosen]), upload, labels[chosen]
    if not sound:
        raise ThreatModelError(
            f"{name} learns from {CLIENTS} simulated clients, and none of them uploads finite numbers under this defense: look for NaN, "
            "infinity or a division by zero in it"
        )


def undefended(seen: Observation, images: Tensor, labels: Tensor) -> Tensors:
    """Return the update of one client with these images and no defense, at the observed model.

    images: ``[b, c, h, w]`` in [0, 1]; labels: ``[b]``. The update has the shapes of the parameters.
    """
    assert seen.training is not None  # granted, since the counter's REQUIRES names the protocol
    network = seen.model.build().to(next(iter(seen.parameters.values())).dtype)
    update, _ = local_update(network, seen.parameters, seen.buffers, images, labels, seen.training)
    return {name: value.detach() for name, value in update.items()}

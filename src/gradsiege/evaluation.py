"""Every attack against every defense, on any network and images, as one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from gradsiege import catalogue
from gradsiege.attacks.base import Attack
from gradsiege.attacks.result import Result
from gradsiege.defenses.base import Defense
from gradsiege.errors import GradSiegeError, UsageError
from gradsiege.federated.observing import observe
from gradsiege.metrics.assignment import assign
from gradsiege.metrics.image_table import table
from gradsiege.protocol.observation import Observation
from gradsiege.protocol.threat_model import ThreatModel


def evaluate(
    model: nn.Module,
    images: Any,
    labels: Any,
    defenses: Sequence[Defense | None] = (None,),
    attacks: Sequence[Attack] = (),
    knows: ThreatModel | None = None,
    adaptive: bool = True,
    seed: int = 0,
    **observed: Any,
) -> pd.DataFrame:
    """Return how close every attack comes to every image, under every defense.

    Args:
        model, images, labels: as for `observe`.
        defenses: each meets the same images; None for no defense.
        attacks: each meets every defense, unaware of it.
        knows: the attackers' knowledge; by default labels are inferred.
        adaptive: also run every attack with each counter to the present defense, by an attacker who knows the defense.
        seed: seed of all randomness of clients and attacks.
        observed: further arguments of `observe`, such as `images_per_client`, `training` or `normalisation`.

    Returns:
        One row per image, attack and counter. ``defense``, ``attack``, ``counter`` (empty for an attack that does not know the
        defense), ``client``, ``image``, ``reason`` (why there is no result, else empty), then a column per image metric.

    Raises:
        UsageError: there is no attack, or no defense.
        ModelError: images, labels and network do not fit each other.
    """
    for name, given in (("attacks", attacks), ("defenses", defenses)):
        if not given:
            raise UsageError(f"{name} is empty, so nothing would be evaluated; give at least one")
    rows = []
    for defense in defenses:
        seen = observe(model, images, labels, defense, seed=seed, **observed)
        truths = torch.as_tensor(images).detach().cpu()
        for attack in attacks:
            for variant in [attack, *(_informed(attack, seen) if adaptive else ())]:
                rows.append(_measured(variant, seen, truths, knows or ThreatModel(), seed))
    return pd.concat(rows, ignore_index=True)


def _informed(attack: Attack, seen: Observation) -> list[Attack]:
    """Return the attack with every counter to the observed defense."""
    defense = (seen.disclosure or {}).get("defense")
    names = [name for name in catalogue.entries("counters") if name.partition(".")[0] == defense]
    return [replace(attack, counter=name) for name in names]


def _measured(
    attack: Attack, seen: Observation, truths: Tensor, knows: ThreatModel, seed: int
) -> pd.DataFrame:
    """Run one attack and measure every image; an attack that cannot run gives a row with the reason."""
    per_client = seen.images_per_client
    about = {"defense": (seen.disclosure or {}).get("defense", "none"), "attack": attack.name}
    about["counter"] = attack.counter or ""
    places = pd.DataFrame(
        [{**about, "client": n // per_client, "image": n % per_client} for n in range(len(truths))]
    )
    threat = replace(knows, disclosure=True) if attack.counter else knows
    try:
        result = attack(seen, threat, seed=seed)
    except GradSiegeError as error:
        return places.assign(reason=str(error))
    reasons = [result.failures.get(client, "") for client in places.client]
    return places.assign(reason=reasons).join(table(_in_order(result, truths, per_client), truths))


def _in_order(result: Result, truths: Tensor, per_client: int) -> Tensor:
    """Return the reconstructions, each beside its truth: within a client by the least total squared error."""
    pairs = zip(result.images.split(per_client), truths.split(per_client), strict=True)
    return torch.cat([images[assign(images, of_client)] for images, of_client in pairs]).to(
        truths.dtype
    )

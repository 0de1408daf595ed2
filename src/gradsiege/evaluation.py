"""Every attack against every defense, on any network and images, as one table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from gradsiege import catalogue
from gradsiege.attacks import given_priors
from gradsiege.attacks.base import Attack, Learned
from gradsiege.attacks.counters import OF_SEVERAL_ROUNDS
from gradsiege.attacks.device import AUTO, where_to_run
from gradsiege.attacks.result import Result
from gradsiege.defenses import is_user_defined
from gradsiege.defenses.base import Defense
from gradsiege.errors import UsageError
from gradsiege.federated.observing import as_images, observe
from gradsiege.federated.simulation import simulator
from gradsiege.metrics.assignment import assign
from gradsiege.metrics.image_table import refuse_unmeasurable, table
from gradsiege.metrics.registry import METRICS
from gradsiege.priors.base import TrainedPrior
from gradsiege.protocol.arguments import refuse_kinds
from gradsiege.protocol.observation import Observation
from gradsiege.protocol.simulation import Simulate
from gradsiege.protocol.threat_model import ThreatModel, strip
from gradsiege.ranges import is_given, shown


def evaluate(
    model: nn.Module,
    images: Any,
    labels: Any,
    defenses: Iterable[Defense | None] = (None,),
    attacks: Iterable[Attack] = (),
    knows: ThreatModel | None = None,
    adaptive: bool = True,
    seed: int = 0,
    *,
    priors: TrainedPrior | Sequence[TrainedPrior] = (),
    device: str = AUTO,
    **observed: Any,
) -> pd.DataFrame:
    """Return how close every attack comes to every image, under every defense.

    An error of a defense or an attack, its own code included, fails its rows alone: they say why, and all others are computed.

    Args:
        model, images, labels: as for `observe`.
        defenses: each meets the same images; None for no defense.
        attacks: each meets every defense, unaware of it.
        knows: the attackers' knowledge; by default labels are inferred.
        adaptive: also run every attack with each counter to the present defense, by an attacker who knows the defense. A defense
            that no counter answers, such as a class of your own, meets the `generic` ones if the prior
            `AuxiliaryImages().fit(images, labels)` is given: they run the defense on these images. Counters that need several
            rounds of a client are left out, since one is observed.
        seed: seed of all randomness of clients and attacks.
        priors: trained priors (`Prior.fit`); every attack gets those that it uses. An attack that learns
            from simulated clients simulates them by the observed protocol and the disclosed defense.
        device: of the attacks, as for `Attack.__call__`.
        observed: further arguments of `observe`, such as `images_per_client`, `training` or `normalisation`.

    Returns:
        One row per image, attack and counter. ``defense`` and ``attack`` with ``defense_parameters`` and ``attack_parameters``
        (those that differ from the defaults, such as ``sigma=0.1``, else empty), ``counter`` (empty for an attack that does not
        know the defense), ``client``, ``image``, ``reason`` (type and sentence of the error if there is no
        result, else empty), then a column per image metric, NaN where there is no result.

    Raises:
        UsageError: there is no attack, or no defense, or something else among them; a prior is not trained, or no attack uses
            it; the device is not there.
        ModelError: images, labels and network do not fit each other, or no metric is defined for the images.
    """
    for name in ("attack", "defense"):
        if name in observed:
            value = observed[name]
            wanted = shown(value) if isinstance(value, list | tuple) else f"[{shown(value)}]"
            raise UsageError(f"evaluate has no argument {name!r}; did you mean {name}s={wanted}?")
    defenses, attacks = _listed("defenses", defenses), _listed("attacks", attacks)
    _refuse_others(defenses, attacks)
    refuse_kinds(knows, seed=seed)
    trained = given_priors.trained_ones(priors)
    strange = any(_is_strange(defense.name) for defense in defenses if defense is not None)
    _refuse_unused(trained, attacks, generic=adaptive and strange)
    where_to_run(device)
    # Images or labels that do not fit the network fail here, before any defense, and end the evaluation.
    undefended = observe(model, images, labels, seed=seed, **observed)
    truths = as_images(images)
    refuse_unmeasurable(undefended.image_shape)
    how = _Conditions(truths, undefended, knows or ThreatModel(), trained, seed, device)
    rows = []
    for defense in defenses:
        try:
            seen = observe(model, images, labels, defense, seed=seed, **observed)
        except Exception as error:
            rows += [how.failed(defense, attack, error) for attack in attacks]
            continue
        for attack in attacks:
            for variant in [attack, *(_informed(attack, seen, trained) if adaptive else ())]:
                rows.append(how.measured(defense, variant, seen))
    return _with_metrics(pd.concat(rows, ignore_index=True), *undefended.image_shape[1:])


def _with_metrics(rows: pd.DataFrame, height: int, width: int) -> pd.DataFrame:
    """Return the rows with a column of NaN per metric where all of them failed, and no row brought the columns."""
    if any(name in rows for name in METRICS):
        return rows
    defined = [name for name, metric in METRICS.items() if not metric.absence(height, width)]
    return rows.assign(**dict.fromkeys(defined, math.nan))


def _listed(name: str, given: Any) -> list[Any]:
    """Return what an iterable, a generator included, gives once; refuse what gives nothing."""
    if not isinstance(given, Iterable):
        raise UsageError(f"{name} is {shown(given)}; give a list, such as [{shown(given)}]")
    listed = list(given)
    if not listed:
        raise UsageError(f"{name} is empty, so nothing would be evaluated; give at least one")
    return listed


def _refuse_others(defenses: Sequence[Any], attacks: Sequence[Any]) -> None:
    """Refuse what is no defense among defenses and no attack among attacks, a class instead of its instance included."""
    for defense in defenses:
        if defense is not None and not isinstance(defense, Defense):
            raise UsageError(
                f"defenses holds {defense!r}; give None or a defense, such as gradsiege.defenses.TopK()"
            )
    for attack in attacks:
        if not isinstance(attack, Attack):
            raise UsageError(
                f"attacks holds {attack!r}; give an attack, such as gradsiege.attacks.Dlg()"
            )


def _refuse_unused(
    priors: Sequence[TrainedPrior], attacks: Sequence[Attack], generic: bool
) -> None:
    """Refuse a prior that would change nothing; `generic` counters have a use for auxiliary images."""
    used = {kind for attack in attacks for kind in _kinds(attack)}
    if generic:
        used |= {"auxiliary_images"}
    for prior in priors:
        if prior.name not in used:
            raise UsageError(f"no attack uses the prior {prior.name}; leave it out")


def _kinds(attack: Attack) -> tuple[str, ...]:
    """Return the kinds of priors that an attack and its counter use."""
    return (*attack.prior_kinds, *attack.further_kinds)


def _informed(attack: Attack, seen: Observation, priors: Sequence[TrainedPrior]) -> list[Attack]:
    """Return the attack with every counter to the observed defense; the generic ones, if there is none but auxiliary images."""
    defense = (seen.disclosure or {}).get("defense")
    names = [name for name in catalogue.entries("counters") if catalogue.answers(name, defense)]
    lacking = all(prior.name != "auxiliary_images" for prior in priors)
    if lacking or defense is None or not _is_strange(defense) or isinstance(attack, Learned):
        names = [name for name in names if name.partition(".")[0] == defense]
    if not seen.later:
        names = [name for name in names if name not in OF_SEVERAL_ROUNDS]
    return [replace(attack, counter=name) for name in names]


def _is_strange(defense: str) -> bool:
    """Return whether a defense does something, and no counter was written for it."""
    answered = {name.partition(".")[0] for name in catalogue.entries("counters")}
    return defense not in {Defense.name, *answered}


@dataclass(frozen=True)
class _Conditions:
    """What all attacks of an evaluation share: the private images, what clients do, knowledge, priors, seed and device."""

    truths: Tensor
    undefended: Observation
    knows: ThreatModel
    priors: tuple[TrainedPrior, ...]
    seed: int
    device: str

    def measured(self, defense: Defense | None, attack: Attack, seen: Observation) -> pd.DataFrame:
        """Run one attack and measure every image; an attack that fails gives rows with the reason."""
        try:
            result = self._attacked(attack, seen, defense)
            ordered = _in_order(result, self.truths, seen.images_per_client)
            values = table(ordered, self.truths)
        except Exception as error:
            return self.failed(defense, attack, error)
        places = self._places(defense, attack)
        reasons = [result.failures.get(client, "") for client in places.client]
        return places.assign(reason=reasons).join(values)

    def failed(self, defense: Defense | None, attack: Attack, error: Exception) -> pd.DataFrame:
        """Return the rows of an attack that has no result."""
        return self._places(defense, attack).assign(reason=f"{type(error).__name__}: {error}")

    def _attacked(self, attack: Attack, seen: Observation, defense: Defense | None) -> Result:
        threat = replace(self.knows, disclosure=True) if attack.counter else self.knows
        priors = [prior for prior in self.priors if prior.name in _kinds(attack)]
        simulate = self._simulated(seen, threat, defense) if attack.simulates else None
        return attack(seen, threat, priors, seed=self.seed, device=self.device, simulate=simulate)

    def _simulated(
        self, seen: Observation, threat: ThreatModel, defense: Defense | None
    ) -> Simulate:
        """Return clients that the attacker simulates from what the threat model grants.

        A defense that no catalogue knows is disclosed as an object: the attacker runs it as it is.
        """
        weights = {prior.name: prior.weights for prior in self.priors}
        own = defense if defense is not None and is_user_defined(defense) else None
        return simulator(strip(seen, threat), 0, 1, weights.get("shadow_generator"), own)

    def _places(self, defense: Defense | None, attack: Attack) -> pd.DataFrame:
        """Return what identifies the rows of an attack on a defense, one per image."""
        about = {
            "defense": "none" if defense is None else defense.name,
            "defense_parameters": _parameters(defense),
            "attack": attack.name,
            "attack_parameters": _parameters(attack),
            "counter": attack.counter or "",
        }
        per_client = self.undefended.images_per_client
        return pd.DataFrame(
            [
                {**about, "client": n // per_client, "image": n % per_client}
                for n in range(len(self.truths))
            ]
        )


def _parameters(method: Defense | Attack | None) -> str:
    """Return the parameters of a method that differ from their defaults; the counter has a column of its own.

    >>> from gradsiege.attacks.recipes.inverting_gradients import InvertingGradients
    >>> _parameters(InvertingGradients(iterations=2, restarts=1, counter="tip.whitened"))
    'iterations=2'
    """
    if method is None or not is_dataclass(method):
        return ""
    # A switch that is left open follows the arm.
    switches = dict.fromkeys(
        getattr(method, "switches", ()), getattr(method, "arm", "") == "as_released"
    )
    changed = []
    for parameter in fields(method):
        value, default = getattr(method, parameter.name), parameter.default
        default = switches.get(parameter.name, default)
        shown = parameter.name != "counter" and not is_given(parameter)
        if shown and (default is MISSING or value != default):
            changed.append(f"{parameter.name}={value}")
    return ", ".join(changed)


def _in_order(result: Result, truths: Tensor, per_client: int) -> Tensor:
    """Return the reconstructions, each beside its truth: within a client by the least total squared error."""
    images = result.images.to(truths.dtype)
    pairs = zip(images.split(per_client), truths.split(per_client), strict=True)
    return torch.cat([of_client[assign(of_client, true)] for of_client, true in pairs])

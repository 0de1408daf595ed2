"""`gradsiege.audit_updates`: reconstructions from recorded updates, judged by how well they match, since nobody holds the truth."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gradsiege import __version__, artifacts
from gradsiege.arithmetic import square_root
from gradsiege.attacks import labels as label_rules
from gradsiege.attacks.device import AUTO, describe, where_to_run
from gradsiege.auditing.audit import DOCUMENT, PAGE
from gradsiege.auditing.auxiliary import Auxiliary, auxiliary
from gradsiege.auditing.budget import Budget, budget_named
from gradsiege.auditing.call import Tell
from gradsiege.auditing.document import plain
from gradsiege.auditing.given import of_choices
from gradsiege.auditing.machine import processor_settings_restored
from gradsiege.auditing.page.recorded import render_recorded
from gradsiege.auditing.parts import Outcome, Parts
from gradsiege.auditing.plan import Part, Plan
from gradsiege.auditing.private import delete_parts, held, lock_up, private_folder
from gradsiege.auditing.recorded_result import Match, RecordedResult
from gradsiege.auditing.recorded_source import RecordedUpdates
from gradsiege.auditing.resumption import announced
from gradsiege.auditing.run import Runner
from gradsiege.auditing.settings import Chooser
from gradsiege.auditing.situations import NONE, Situation, name_of
from gradsiege.auditing.sizing import planned
from gradsiege.auditing.subject import Normalisation, refuse_others
from gradsiege.auditing.words import attacker_in_words
from gradsiege.defenses.base import Defense
from gradsiege.errors import ModelError, StudyError
from gradsiege.models.adapted import adapt
from gradsiege.protocol.arguments import refuse_kinds, sentences
from gradsiege.protocol.local_update import LocalTraining, Tensors, with_gradients
from gradsiege.protocol.observation import Observation
from gradsiege.protocol.recorded import training_of
from gradsiege.ranges import counted

# Uploads whose cosine exceeds this are one and the same: rounding remains.
EQUAL = 1 - 1e-6


@dataclass(frozen=True, eq=False, repr=False)
class RecordedAudit(RecordedResult):
    """Results of recorded updates, as `gradsiege.audit_updates` returns it."""

    def save(self, folder: Path | str, pictures: bool = True) -> Path:
        """Write ``index.html`` and ``audit.json``, which the owner of the folder alone may read; return the page."""
        place = private_folder(Path(folder))
        with held(place):
            artifacts.write_text(place / PAGE, render_recorded(self, pictures))
            artifacts.write_json(place / DOCUMENT, plain(self.document()))
            if not pictures:
                delete_parts(place)
            lock_up(place)
        return place / PAGE


@with_gradients()
@processor_settings_restored()
def audit_updates(
    model: nn.Module,
    updates: Mapping[str, Any] | Sequence[Any],
    image_shape: tuple[int, int, int],
    training: LocalTraining | None = None,
    defense: Defense | None = None,
    budget: str | Budget = "quick",
    *,
    unit: Literal["gradient", "difference"] = "gradient",
    normalisation: Normalisation | None = None,
    head: str | None = None,
    name: str = "",
    seed: int = 0,
    device: str = AUTO,
    resume: Path | str | None = None,
    tell: Tell = lambda words: None,
    remarks: str | Sequence[str] = (),
) -> RecordedAudit:
    """Reconstruct the pictures behind recorded updates; how like the private ones they are, this cannot say.

    Args:
        model: the network that the clients started from.
        updates, unit: as for `Observation.of`.
        image_shape: channels, height and width of a private picture.
        training: of every client; by default one gradient of one picture.
        defense: of every client, if the server knows it.
        budget, name, seed, device, resume, tell, remarks, normalisation, head: as for `gradsiege.audit`.

    Raises:
        ModelError: the updates do not fit the network, give no labels away, or one of them is zero or not finite.
    """
    refuse_kinds(resume=resume, seed=seed, tell=tell)
    where = where_to_run(device)
    chosen = budget_named(budget)
    refuse_others([defense])
    training = training_of(1 if training is None else training.images, training)
    seen = Observation.of(
        model,
        updates,
        image_shape,
        training.images,
        training,
        normalisation,
        disclosure=None if defense is None else defense.disclosure(),
        unit=unit,
        head=head,
    )
    _refuse_failures(seen)
    labels = _labels(seen)
    source = RecordedUpdates(model, seen, adapt(model, image_shape, normalisation, head), seed)
    place = Situation("recorded", training, defense, NONE if defense is None else name_of(defense))
    owned = auxiliary(source.adapted("recorded"), None, None)
    identity = source.identity() | of_choices([place], chosen)
    parts = Parts(None if resume is None else Path(resume), identity)
    with held(parts.folder):
        plan = planned(source, [place], chosen, parts, device, len(owned.spare))
        tell(announced(plan, parts))
        runner = Runner(
            source,
            {"recorded": owned},
            lambda count: torch.empty(0),
            parts,
            Chooser(plan.budget, seed, device, parts.settings),
        )
        plan, outcomes = runner.run(plan)
    about = _about(model, seen, place, owned, name) | {
        "device": describe(where),
        "seed": seed,
        "remarks": [*sentences(remarks), *_lacking(seen)],
    }
    return _result(plan, outcomes, seen, labels, about, source.clients(place, plan.size.pictures))


def _result(
    plan: Plan,
    outcomes: Mapping[str, Outcome],
    seen: Observation,
    labels: Tensor,
    about: dict[str, Any],
    attacked: int,
) -> RecordedAudit:
    """Return what the attacks on the first `attacked` clients found, beside what the updates of all tell by themselves."""
    return RecordedAudit(
        plan,
        [_match(part, outcomes[part.key]) for part in plan.parts if _finished(part, outcomes)],
        _norms(seen.update),
        labels,
        _all_equal(seen.update),
        _unfinished(plan, outcomes),
        about,
        attacked,
    )


def _about(
    model: nn.Module, seen: Observation, situation: Situation, owned: Auxiliary, name: str
) -> dict[str, Any]:
    """Return what the page says of the network and the uploads."""
    return {
        "version": __version__,
        "network": name or type(model).__name__,
        "image_shape": list(seen.image_shape),
        "training": asdict(situation.training),
        "defense": situation.name,
        "auxiliary": owned.source,
        "recorded": seen.victims,
    }


def _refuse_failures(seen: Observation) -> None:
    for client, reason in sorted(seen.failures.items()):
        raise ModelError(f"client {client}: {reason}; leave it out, or record it again")


def _unfinished(plan: Plan, outcomes: Mapping[str, Outcome]) -> list[tuple[str, str]]:
    """Return the attackers that have no reconstruction, in words, and why."""
    return [
        (attacker_in_words(part.attacker.id), part.reason or outcomes[part.key].reason)
        for part in plan.parts
        if not _finished(part, outcomes)
    ]


def _finished(part: Part, outcomes: Mapping[str, Outcome]) -> bool:
    outcome = outcomes.get(part.key)
    return outcome is not None and outcome.reconstruction is not None


def _match(part: Part, outcome: Outcome) -> Match:
    whole = outcome.reconstruction
    assert whole is not None  # asked for finished parts alone
    return Match(
        part.attacker.id,
        part.attacker.threat.id,
        whole.matching_loss,
        whole.labels,
        whole.images,
        whole.failures,
    )


def _lacking(seen: Observation) -> list[str]:
    """Return a remark on parameters of the network of which no update was given."""
    missing = [name for name in seen.parameters if name not in seen.update]
    if not missing:
        return []
    return [
        f"the updates lack {len(missing)} of the network's {counted(len(seen.parameters), 'parameter tensor')}, such as "
        f"{missing[0].removeprefix('body.')}; attackers match the others"
    ]


def _labels(seen: Observation) -> Tensor:
    """Return the labels that the updates give away, ``[clients, images]``; no record holds others.

    Raises:
        ModelError: they give none away.
    """
    try:
        return label_rules.inferred(seen)
    except StudyError as error:
        raise ModelError(
            f"no labels can be read off these updates, and a record holds no others: {re.split('[;:]', str(error))[0]}. Record every parameter of a "
            "network that ends in a linear layer"
        ) from error


def _norms(update: Tensors) -> Tensor:
    """Return the l2 norm of every update ``[clients]``; one by one, since there may be more than fit twice into memory.

    >>> _norms({"a": torch.tensor([[3.0], [0.0]]), "b": torch.tensor([[4.0], [1.0]])})
    tensor([5., 1.])
    """
    norms = [[torch.linalg.vector_norm(row).double() for row in value] for value in update.values()]
    return square_root(torch.tensor(norms).square().sum(0)).float()


def _all_equal(update: Tensors) -> bool:
    """Return whether all of several updates ``[clients, ...]`` are one and the same.

    >>> _all_equal({"a": torch.tensor([[1.0, 2.0], [1.0, 2.0]])}), _all_equal({"a": torch.tensor([[1.0, 2.0]])})
    (True, False)
    """
    norms = _norms(update).double()
    if len(norms) < 2:
        return False
    products = [
        [row.flatten().double() @ value[0].flatten().double() for row in value]
        for value in update.values()
    ]
    cosines = torch.tensor(products).sum(0) / (norms * norms[0])
    return bool((cosines > EQUAL).all()) and math.isclose(
        float(norms.max()), float(norms.min()), rel_tol=1e-5
    )

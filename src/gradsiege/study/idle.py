"""Keys that were written and would change nothing, because of what stands beside them."""

from __future__ import annotations

from collections.abc import Iterator

from gradsiege.errors import StudyError
from gradsiege.study.document import Study
from gradsiege.study.placement import id_of
from gradsiege.study.sections import Federation, Placed
from gradsiege.study.selection import LISTS
from gradsiege.study.tuning import is_tuned


def check_idle(study: Study) -> None:
    """Refuse a written key that nothing reads; one that was left to its default is none.

    Raises:
        StudyError: names the key, and the other one that decides.
    """
    for place, why in (*_of_federation(study.federation), *_of_study(study)):
        raise StudyError(f"{place} would change nothing: {why}; leave it out")


def _of_federation(federation: Federation) -> Iterator[tuple[str, str]]:
    written = federation.model_fields_set
    if "alpha" in written and federation.partition != "dirichlet":
        yield (
            "federation.alpha",
            f"it belongs to 'partition: dirichlet', and partition is {federation.partition}",
        )
    if "decay" in written and not federation.milestones:
        yield "federation.decay", "there are no milestones"
    if "batch_size" in written and federation.client_batches:
        yield "federation.batch_size", "client_batches says it for every client"


def _of_study(study: Study) -> Iterator[tuple[str, str]]:
    if study.tuning and not any(
        is_tuned(study, attack.id, threat.id)
        for attack in study.attacks
        for threat in study.threat_models
    ):
        yield "tuning", "no attack leaves a parameter with a range to be chosen out"
    for section in LISTS.values():
        for item in getattr(study, section):
            if isinstance(item, Placed) and "only" in item.model_fields_set and not item.only:
                yield f"{section}.{id_of(item)}.only", "it is an empty list"
    if study.gains and "table_gains" not in study.figures:
        yield "gains", "table_gains, which shows them, is not among figures"
    for attack in study.attacks:
        if attack.patience is not None and attack.patience >= attack.iterations:
            yield (
                f"attacks.{attack.id}.patience",
                f"it is {attack.patience}, and iterations is only {attack.iterations}",
            )
    if all(threat.labels != "inferred" for threat in study.threat_models):
        for attack in study.attacks:
            if "label_rule" in attack.model_fields_set:
                yield f"attacks.{attack.id}.label_rule", "every threat model gives the labels"

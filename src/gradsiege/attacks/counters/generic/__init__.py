"""One informed attacker for any defense: it runs the defense on images of its own and learns what an upload says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gradsiege.attacks.counters.generic.clients import simulated
from gradsiege.attacks.counters.generic.label_choice import with_likeliest_labels
from gradsiege.attacks.counters.generic.matching import learn
from gradsiege.attacks.counters.generic.moments import collected
from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.protocol.local_update import Tensors

VERSION = 2
REQUIRES = ("protocol", "disclosure", "auxiliary", "prior:auxiliary_images")


def learned_reliability(plan: AttackPlan) -> AttackPlan:
    """Weigh every coefficient of the update by what simulated clients say of it, whatever the defense.

    Labels that are not granted are inferred by the rule that finds most labels of these clients. See the modules beside this one
    for the steps: `clients`, `scales` (1), `moments` (2), `reliability` (3 to 6), `laws` and `additive` (where a simpler law holds),
    `lengths` (where no coefficient says anything), `information` (weight beside a regularizer or a prior), `matching` (7).
    """
    heads, labels = [], []

    def pairs() -> Iterator[tuple[Tensors, Tensors]]:
        for clean, upload, classes in simulated(plan, "generic.learned_reliability"):
            heads.append({name: upload[name] for name in plan.head.parameters if name in upload})
            labels.append(classes)
            yield clean, upload

    evidence, like = collected(pairs()), next(iter(plan.update.values()))
    units = {phase.unit for phase in plan.recipe.phases}
    matches = {unit: learn(evidence, like, unit) for unit in units}
    labelled = with_likeliest_labels(plan, heads, labels)
    return labelled.map_phases(lambda phase: replace(phase, distance=matches[phase.unit]))

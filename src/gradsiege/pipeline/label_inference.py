"""The version of label inference, as part of the digest of the attack cells whose inferred labels it may change.

The catalogue does not hold the rules (`attacks/labels.py`), so their version stands here. Version 1 is in no digest. It differed
in two ways: the automatic rule of `ROW_SUMS` took sums of the weight's rows, and batches were counted as if every entry of
the bias had been received.
"""

from __future__ import annotations

from collections.abc import Mapping

from gradsiege.study import Study
from gradsiege.study.sections import Attack

VERSION = 2
# Models whose defended clients version 1 judged by row sums, which are wrong behind features of both signs (PRECODE).
ROW_SUMS = ("convnet", "resnet18")
# Rules that did not change; a counter may use the automatic one beside them.
UNCHANGED = ("row_sum", "row_minimum", "bias_corrected")


def version_of(study: Study, ids: Mapping[str, str]) -> int:
    """Return the version of label inference that decides the labels of an attack cell, given by its ids; 1 if all agree.

    They agree on undefended clients: every entry of their biases is received, and behind the non-negative features of
    `ROW_SUMS` the sum of a single image's row is negative for its label alone. A change of the rules raises `VERSION` and says here
    which cells it may change.
    """
    chosen = study.one("attacks", ids["attack"])
    if not _infers(chosen, study.one("threat_models", ids["threat_model"]).labels):
        return 1
    if study.one("defenses", ids["defense"]).name == "none":
        return 1
    if chosen.label_rule in UNCHANGED and chosen.counter is None:
        return 1
    batches = study.one("protocols", ids["protocol"]).images > 1
    model = study.one("models", ids["model"]).name
    row_sums = model in ROW_SUMS and chosen.label_rule != "projection"
    return VERSION if batches or row_sums else 1


def _infers(attack: Attack, labels: str) -> bool:
    """Return whether an attack infers labels; as released, GIFD does so to put them into the order of the granted ones."""
    return labels == "inferred" or (attack.name, attack.arm) == ("gifd", "as_released")

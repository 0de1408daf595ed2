"""The stages of a study: one table of all that is particular to each. Its work stands in `stages`, its resources in its rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gradsiege.study import ROLES
from gradsiege.study import STAGES as TRAINING_STAGES

OBSERVED = ("dataset", "model", "defense", "training_stage", "protocol", "seed")


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        fields: the ids that its cells run on; unused ones of a cell stay empty.
        outputs: files of a finished cell, its manifest left out.
        reads: by earlier stage, the files of its cells that this one reads; ids in braces are the reader's.
        shares: fields that all cells of a shard share: programs and memory are made for one network.
        version: raised when the stage's code changes its results; methods have their own versions.
    """

    name: str
    fields: tuple[str, ...]
    outputs: tuple[str, ...]
    reads: Mapping[str, tuple[str, ...]]
    shares: tuple[str, ...]
    version: int


_TABLE = (
    Stage(
        "fetch",
        fields=("dataset",),
        outputs=(*(f"{role}.safetensors" for role in ROLES), "card.json"),
        reads={},
        shares=("dataset",),
        version=1,
    ),
    Stage(
        "prior",
        fields=("dataset", "prior", "seed"),
        outputs=("prior.safetensors", "card.json"),
        reads={"fetch": ("aux.safetensors",)},
        shares=("dataset", "prior"),
        version=2,
    ),
    Stage(
        "shadow",
        fields=("dataset", "seed"),
        outputs=("shadow.safetensors", "card.json"),
        reads={"fetch": ("public.safetensors",)},
        shares=("dataset",),
        version=2,
    ),
    Stage(
        "federate",
        fields=("dataset", "model", "defense", "seed"),
        outputs=(*(f"{stage}.safetensors" for stage in TRAINING_STAGES), "utility.parquet"),
        reads={
            "fetch": ("train.safetensors", "test.safetensors"),
            "shadow": ("shadow.safetensors",),
        },
        shares=("dataset", "model"),
        version=3,
    ),
    Stage(
        "observe",
        fields=OBSERVED,
        outputs=("observation.safetensors", "truth.safetensors", "explanation.safetensors"),
        reads={
            "fetch": ("victims.safetensors", "test.safetensors"),
            "shadow": ("shadow.safetensors",),
            "federate": ("{training_stage}.safetensors",),
        },
        shares=("dataset", "model"),
        version=2,
    ),
    Stage(
        "attack",
        fields=(*OBSERVED, "threat_model", "attack"),
        outputs=("reconstructions.safetensors", "trace.parquet"),
        reads={
            "fetch": ("aux.safetensors",),
            "prior": ("prior.safetensors",),
            "observe": ("observation.safetensors",),
        },
        shares=("dataset", "model"),
        version=2,
    ),
    Stage(
        "score",
        fields=OBSERVED,
        outputs=("scores.parquet", "pictures.safetensors"),
        reads={
            "fetch": ("aux.safetensors", "test.safetensors"),
            "observe": ("truth.safetensors", "explanation.safetensors"),
            "attack": ("reconstructions.safetensors",),
        },
        shares=("dataset", "model"),
        version=4,
    ),
)
STAGES = {stage.name: stage for stage in _TABLE}
# The files of a stage that figures, tables and the report read, if not all of them.
PUBLISHED: dict[str, tuple[str, ...]] = {
    "fetch": ("card.json",),
    "federate": ("utility.parquet",),
    "observe": ("explanation.safetensors",),
}


def names_read(reader: str, stage: str) -> tuple[str, ...]:
    """Return the files of a stage's cells that a later stage reads, or that ``publish`` reads; no attack is given a truth.

    >>> names_read("attack", "observe")
    ('observation.safetensors',)
    """
    reads = PUBLISHED if reader == "publish" else STAGES[reader].reads
    return reads.get(stage, STAGES[stage].outputs)

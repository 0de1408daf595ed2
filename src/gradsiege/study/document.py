"""A whole study file: its sections together."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from gradsiege.documents import Identifier, Section
from gradsiege.errors import StudyError, nearest
from gradsiege.ranges import Count, CountOrZero, Seed
from gradsiege.study.sections import (
    Attack,
    Dataset,
    Defense,
    Deviation,
    Federation,
    Gain,
    Model,
    Prior,
    Protocol,
    Threat,
    Tuning,
)


class Study(Section):
    """One study: the product of its lists, cut by what its items are `only` for."""

    study: Identifier
    description: str = ""
    seed: Seed = 0
    seeds: list[Seed] = Field([0], min_length=1)
    victims: Count = Field(8, description="updates attacked in every cell (the sampling unit)")
    explained: CountOrZero = Field(
        0,
        description="first victims whose uploaded models are explained, before and after the defense",
    )
    datasets: list[Dataset] = Field(min_length=1)
    models: list[Model] = Field(min_length=1)
    defenses: list[Defense] = Field(min_length=1)
    federation: Federation = Federation()
    training_stages: list[Literal["untrained", "early", "late"]] = Field(
        ["untrained"], min_length=1
    )
    protocols: list[Protocol] = Field(min_length=1)
    threat_models: list[Threat] = Field(min_length=1)
    priors: list[Prior] = Field([])
    attacks: list[Attack]
    tuning: Tuning | None = Field(
        None,
        description="attacks choose the parameters that the study file leaves out, on simulated clients of auxiliary images",
    )
    gains: list[Gain] = Field([], description="pairs of attacks whose paired gain is tabulated")
    figures: list[Identifier] = Field([])
    deviations: list[Deviation] = Field([])

    def one(self, section: str, identifier: str) -> Any:
        """Return the item of a section by id, e.g. ``study.one("defenses", "tip")``."""
        for item in getattr(self, section):
            if item.id == identifier:
                return item
        known = [item.id for item in getattr(self, section)]
        raise StudyError(
            f"{self.study}: no id {identifier!r} in {section}; {nearest(identifier, known)}"
        )

"""Data sets: one frozen dataclass each, over one small base, cut into role splits that share nothing.

`gradsiege.datasets.CIFAR10().prepare(32, {"victims": 8}, seed=0)` prepares one in Python, `prepare` prepares one from an
entry of a study file. Importing this package loads the standard library alone; a data set is imported when it is first used.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradsiege import catalogue

if TYPE_CHECKING:
    from gradsiege.datasets.base import Dataset
    from gradsiege.datasets.preparation.splits import Prepared


def kind(name: str) -> type[Dataset]:
    """Return the class of a data set."""
    dataset: type[Dataset] = catalogue.implementation(
        catalogue.lookup("datasets", name, "the data set")
    )
    return dataset


def build(name: str, parameters: Mapping[str, Any]) -> Dataset:
    """Return the data set of a study file's entry; a parameter that is left out has its default."""
    return kind(name)(**parameters)


def prepare(
    name: str,
    size: int,
    counts: Mapping[str, int],
    seed: int,
    parameters: Mapping[str, Any] | None = None,
    folder: Path | None = None,
) -> Prepared:
    """Return the role splits of a study file's entry; see `Dataset.prepare` (`datasets/base.py`)."""
    return build(name, parameters or {}).prepare(size, counts, seed, folder)


def obtained(how: str) -> tuple[str, ...]:
    """Return the names of the data sets that are ``shipped``, ``downloaded`` by this program, or ``supplied`` by a person.

    >>> obtained("shipped")
    ('digits', 'faces', 'phantom', 'photos')
    """
    entries = catalogue.entries("datasets").values()
    return tuple(entry.name for entry in entries if entry.obtained == how)


def __getattr__(name: str) -> Any:
    """Import a data set by the name of its class."""
    return catalogue.attribute("datasets", name)


def __dir__() -> list[str]:
    """Name every data set."""
    return catalogue.classes("datasets")

"""One small audit that several tests look at."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from small_audits import BUDGET, Nothing, audited, later, pictures
from small_classifiers import small

from gradsiege.auditing.audit import Audit
from gradsiege.auditing.situations import local_training
from gradsiege.auditing.subject import Subject, checked
from gradsiege.defenses import Gaussian


@pytest.fixture(autouse=True)
def modules_of_the_user(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test has a module `mine` of its own: what one imported, the next does not find."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("mine", None)


@pytest.fixture(scope="session")
def subject() -> Subject:
    """A small network and forty pictures, before any plan."""
    images, labels = pictures(40)
    return checked(Subject({"given": small()}, images, labels))


@pytest.fixture(scope="session")
def whole() -> Audit:
    """An audit of no defense and of one that uploads nothing."""
    return audited(defenses=[None, Nothing()])


@pytest.fixture(scope="session")
def saved(whole: Audit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of that audit."""
    folder = tmp_path_factory.mktemp("audit") / "out"
    whole.save(folder)
    return folder


@pytest.fixture(scope="session")
def varied() -> Audit:
    """Two rounds, three batch sizes, two numbers of steps, and a defense."""
    trainings = [
        local_training(1, 1, None, 0.1, "eval"),
        local_training(4, 1, None, 0.1, "eval"),
        local_training(2, 1, None, 0.1, "eval"),
        local_training(1, 2, None, 0.1, "eval"),
    ]
    return audited(
        model={"round 9": small(), "round 10": later()},
        training=trainings,
        defenses=[Gaussian(sigma=0.1)],
        budget=replace(BUDGET, rank=0, iterations=1),
    )

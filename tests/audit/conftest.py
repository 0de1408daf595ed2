"""One small audit that several tests look at."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_audits import Nothing, audited

from gradsiege.auditing.audit import Audit


@pytest.fixture(autouse=True)
def modules_of_the_user(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test has a module `mine` of its own: what one imported, the next does not find."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("mine", None)


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

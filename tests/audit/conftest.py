"""One small audit that several tests look at."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_audits import Nothing, audited

from gradsiege.auditing.audit import Audit


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

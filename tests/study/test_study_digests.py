"""No change of the code or of a study file makes kept results stale unless it says so (`tests/support/study_digests.py`)."""

from __future__ import annotations

import json

import pytest
from study_digests import KEPT, files, planned

EXPECTED = json.loads(KEPT.read_text())


def test_every_shipped_study_is_kept() -> None:
    assert sorted(EXPECTED) == sorted(files())


@pytest.mark.parametrize("name", sorted(files()))
def test_a_study_plans_the_cells_that_it_always_did(name: str) -> None:
    assert planned(files()[name]) == EXPECTED[name]

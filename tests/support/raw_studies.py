"""Studies as plain data, for tests of their grammar."""

from __future__ import annotations

from typing import Any

import pytest

from gradsiege.errors import StudyError
from gradsiege.study import parse

Raw = dict[str, Any]


def attack(raw: Raw, **keys: Any) -> Raw:
    """The study with Inverting Gradients alone, with these keys."""
    raw["attacks"] = [{"name": "inverting_gradients", "iterations": 5, **keys}]
    return raw


def swept(raw: Raw) -> Raw:
    """The study with defenses of every spelling, and someone who knows them."""
    raw["defenses"] = [
        "none",
        {"name": "tip", "sweep": {"ratio": [0.1, 0.6]}},
        {"name": "tip", "id": "curve", "sweep": {"epsilon": [0.5, 5.0]}},
        "censor",
        {"name": "censor", "arm": "as_released"},
        {"name": "gaussian", "id": "loud", "parameters": {"sigma": 1.0}},
    ]
    raw["threat_models"].append({"id": "informed", "disclosure": True})
    # Everything is met by someone, whatever the attacks of a test meet.
    raw["attacks"].append(
        {"name": "idlg", "iterations": 5, "only": {"threat_model": ["labels_inferred", "informed"]}}
    )
    return raw


def message(raw: Raw) -> str:
    """What the refusal of a study says."""
    with pytest.raises(StudyError) as caught:
        parse(raw)
    return str(caught.value)

"""What the attack tests share."""

from functools import partial

import pytest

from gradsiege.attacks import reconstruct as module
from gradsiege.attacks.engine.choice import Policy


@pytest.fixture(autouse=True)
def one_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines round differently, and a measurement may choose another one the next time: tests take one."""
    monkeypatch.setattr(module, "Policy", partial(Policy, "loop"))

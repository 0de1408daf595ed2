"""The models of the training stages, of a federation that ended early as well."""

from __future__ import annotations

import torch

from gradsiege.federated.progress import Progress


def state(value: float) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    return {"w": torch.tensor(value)}, {}


def values(progress: Progress) -> dict[str, tuple[float, int, str]]:
    stages = progress.training_stages(state(0.0), early_round=2, rounds=5)
    return {
        name: (float(reached.state[0]["w"]), reached.round, reached.failure)
        for name, reached in stages.items()
    }


def test_a_complete_federation_has_a_model_for_every_stage() -> None:
    assert values(Progress(*state(5.0), early=state(2.0), round=5)) == {
        "untrained": (0.0, 0, ""),
        "early": (2.0, 2, ""),
        "late": (5.0, 5, ""),
    }


def test_a_failure_marks_the_stages_that_were_not_reached() -> None:
    before = Progress(*state(1.0), round=1, failure="diverged")
    assert values(before) == {
        "untrained": (0.0, 0, ""),
        "early": (1.0, 2, "diverged"),
        "late": (1.0, 5, "diverged"),
    }
    between = Progress(*state(3.0), early=state(2.0), round=3, failure="diverged")
    assert values(between)["early"] == (2.0, 2, "")
    assert values(between)["late"] == (3.0, 5, "diverged")

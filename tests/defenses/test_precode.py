"""PRECODE: gradients with a draw, their expectation's pieces, and an architecture that the server can rebuild."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gradsiege import defenses
from gradsiege.defenses.base import Client
from gradsiege.federated.client import run_client
from gradsiege.models import build
from gradsiege.models.bottleneck import divergence, sampled
from gradsiege.pipeline.cells import cells
from gradsiege.protocol.checkpoint import load_checkpoint
from gradsiege.protocol.local_update import Tensors
from gradsiege.protocol.observation import load_observation
from gradsiege.study import load

UNITS = 6


def update(party: Callable[..., Client], seed: int, **parameters: float) -> Tensors:
    defense = defenses.build("precode", {"units": UNITS, **parameters})
    return run_client(party(defense, seed), defense)[0]


def test_two_draws_give_two_gradients_and_one_draw_one(party: Callable[..., Client]) -> None:
    first, again, other = (update(party, seed) for seed in (1, 1, 2))
    for name in first:
        assert torch.equal(first[name], again[name])
        assert not torch.equal(first[name], other[name]), name


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_the_gradient_is_that_of_cross_entropy_plus_divergence_at_the_draw(
    party: Callable[..., Client], mode: str
) -> None:
    defense = defenses.build("precode", {"units": UNITS, "beta": 0.5})
    found, _ = run_client(party(defense, 3, mode=mode), defense)
    client = party(defense, 3)
    noise = torch.randn(4, UNITS, generator=client.generator)
    with sampled(client.model, noise) as codes:
        logits = client.model(client.images)
    objective = torch.nn.functional.cross_entropy(logits, client.labels)
    objective = objective + 0.5 * divergence(*codes[0])
    objective.backward()
    for name, parameter in client.model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-6)


def test_beta_moves_only_what_makes_the_code(party: Callable[..., Client]) -> None:
    free, held = update(party, 1, beta=0.0), update(party, 1, beta=1.0)
    behind = ("decoder.weight", "decoder.bias", "head.head.weight", "head.head.bias")
    for name in free:
        # Other graphs, other order of summation: what is equal is so up to rounding.
        same = torch.allclose(free[name], held[name], rtol=1e-4, atol=1e-7)
        assert same == name.endswith(behind), name


def test_a_model_of_the_servers_own_takes_the_mean(party: Callable[..., Client]) -> None:
    """Its candidate has the names and shapes of the upload, and no gradient of the deviation."""
    defense = defenses.build("precode", {"units": UNITS})
    candidate, _ = run_client(party(defense), defenses.build("none", {}))
    uploaded = update(party, 1)
    assert {name: value.shape for name, value in candidate.items()} == {
        name: value.shape for name, value in uploaded.items()
    }
    rows = candidate["body.head.bottleneck.encoder.weight"]
    assert rows[:UNITS].any()
    assert not rows[UNITS:].any()
    assert uploaded["body.head.bottleneck.encoder.weight"][UNITS:].any()


def test_a_study_runs_through_and_the_observation_names_the_bottleneck(
    tiny_raw: dict[str, Any], tmp_path: Path, verb: Callable[..., int]
) -> None:
    import yaml

    tiny_raw["defenses"] = [{"name": "precode", "parameters": {"units": UNITS}}]
    tiny_raw["attacks"] = [{"name": "inverting_gradients", "iterations": 2}]
    tiny_raw["priors"], tiny_raw["training_stages"] = [], ["late"]
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(tiny_raw))
    study = load(file)
    for stage in ("fetch", "federate", "observe", "attack"):
        for cell in cells(study)[stage]:
            assert verb(stage, cell.key, "--study", file, "--root", tmp_path) == 0
    (federated,), (observed,) = (cells(study)[stage] for stage in ("federate", "observe"))
    checkpoint = load_checkpoint(federated.folder(study, tmp_path) / "late.safetensors")
    seen = load_observation(observed.folder(study, tmp_path) / "observation.safetensors")
    assert seen.model == checkpoint.model
    assert seen.model.bottleneck == UNITS
    rebuilt = dict(build(seen.model).named_parameters())
    assert {name: value.shape for name, value in rebuilt.items()} == {
        name: value.shape for name, value in seen.parameters.items()
    }


def test_a_code_without_units_is_refused() -> None:
    with pytest.raises(ValueError, match=r"units must be a whole number from 1 to .*, not 0"):
        defenses.build("precode", {"units": 0})

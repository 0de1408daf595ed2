"""The stages around Shadow: its generator is made when needed, and a client's state survives an interruption."""

from pathlib import Path
from typing import Any

import pytest
import torch

from gradsiege.artifacts import read_json
from gradsiege.errors import StoppedEarlyError
from gradsiege.pipeline.cells import Cell, cells, settings, upstream
from gradsiege.pipeline.jobs import Job
from gradsiege.priors import shadow_generator
from gradsiege.priors.trained import load_shadow
from gradsiege.protocol.checkpoint import load_checkpoint
from gradsiege.protocol.observation import load_observation
from gradsiege.stages import federate as federate_module
from gradsiege.stages.fetch import fetch
from gradsiege.stages.observe import observe
from gradsiege.stages.shadow import shadow
from gradsiege.study import Study, parse

torch.set_num_threads(1)
COUNTS = {"train": 16, "test": 20, "aux": 10, "public": 20, "tune": 4, "victims": 4}
CHEAP = {"shadow_steps": 1, "latent_steps": 3}


def study(*defenses: Any) -> Study:
    return parse(
        {
            "study": "tiny",
            "victims": 2,
            "datasets": [{"name": "digits", "size": 16, "counts": COUNTS}],
            "models": [{"name": "convnet", "parameters": {"width": 2}}],
            "defenses": list(defenses),
            "federation": {
                "clients": 2,
                "clients_per_round": 1,
                "rounds": 6,
                "batch_size": 4,
                "early_round": 1,
            },
            "training_stages": ["untrained", "late"],
            "protocols": ["fedsgd"],
            "threat_models": [{"id": "known", "labels": "given"}],
            "attacks": [{"name": "inverting_gradients", "iterations": 2}],
        }
    )


SHADOWED = study("none", {"name": "shadow", "parameters": CHEAP})
FEDERATE = Cell("federate", dataset="digits", model="convnet", defense="shadow")
OBSERVE = FEDERATE.at("observe", training_stage="late", protocol="fedsgd")


def run(work: Any, cell: Cell, root: Path) -> Job:
    with Job(cell, SHADOWED, root).running() as job:
        work(job)
    return job


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("study")
    run(fetch, Cell("fetch", dataset="digits"), folder)
    run(shadow, Cell("shadow", dataset="digits"), folder)
    return folder


def test_shadow_cells_exist_only_where_a_defense_needs_them() -> None:
    generator = Cell("shadow", dataset="digits")
    assert cells(SHADOWED)["shadow"] == [generator]
    assert cells(study("none", "tip"))["shadow"] == []
    assert generator in upstream(FEDERATE, SHADOWED)
    assert generator in upstream(OBSERVE, SHADOWED)
    assert generator not in upstream(FEDERATE.at("federate", defense="none"), SHADOWED)


def test_the_generators_version_and_settings_decide_its_cell() -> None:
    chosen = settings(Cell("shadow", dataset="digits"), SHADOWED)["generator"]
    assert chosen["version"] == shadow_generator.VERSION
    assert chosen["parameters"] == vars(shadow_generator.ShadowGenerator())


def test_the_card_says_what_the_generator_can_do(root: Path) -> None:
    folder = Cell("shadow", dataset="digits").folder(SHADOWED, root)
    weights, card = load_shadow(folder / "shadow.safetensors")
    assert card == read_json(folder / "card.json")
    assert card["role"] == "public"
    assert card["trained_on"] == 18
    assert card["held_out_error_mean"] < card["mean_image_error"]
    assert shadow_generator.ShadowGenerator.load(weights)(torch.zeros(1, 64)).shape[2:] == (16, 16)


def test_an_interrupted_federation_ends_with_the_same_model(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(federate_module.federate, FEDERATE, root)
    late = FEDERATE.folder(SHADOWED, root) / "late.safetensors"
    wanted = load_checkpoint(late)
    states: list[Any] = []
    real = federate_module._save

    def save(job: Job, progress: federate_module.Progress) -> None:
        states.append({client: dict(state) for client, state in progress.states.items()})
        real(job, progress)

    monkeypatch.setattr(federate_module, "_save", save)
    with monkeypatch.context() as patch:
        patch.setattr(Job, "should_stop", lambda job: len(states) == 3)
        with pytest.raises(StoppedEarlyError):
            run(federate_module.federate, FEDERATE, root)
    saved = states[-1]
    resumed = federate_module._resume(Job(FEDERATE, SHADOWED, root))
    assert resumed is not None
    assert resumed.round == 3
    assert resumed.states.keys() == saved.keys()
    for client, state in saved.items():
        assert state.keys() == resumed.states[client].keys()
        assert {"generator", "latent", "memory"} == {name.split(".")[0] for name in state}
        assert all(torch.equal(resumed.states[client][name], state[name]) for name in state)
    run(federate_module.federate, FEDERATE, root)
    found = load_checkpoint(late)
    for part in ("parameters", "buffers"):
        values, expected = getattr(found, part), getattr(wanted, part)
        assert all(torch.equal(values[name], value) for name, value in expected.items())


def test_victims_upload_the_update_of_perturbed_images(root: Path) -> None:
    for defense in ("none", "shadow"):
        cell = FEDERATE.at("federate", defense=defense)
        run(federate_module.federate, cell, root)
    found = run(observe, OBSERVE, root)
    assert not found.failures
    observation = load_observation(found.folder / "observation.safetensors")
    assert observation.disclosure is not None
    assert observation.disclosure["defense"] == "shadow"
    assert observation.disclosure["latent_steps"] == 3
    assert observation.victims == 2

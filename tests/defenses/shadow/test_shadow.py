"""Shadow in the client loop: the true step, the state of a client, and what each released switch does."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from shadow_party import CHEAP, ONE_STEP, Watched, generator_weights, make_client, perturbed
from torch import Tensor

from gradsiege import defenses
from gradsiege.defenses import shadow as shadow_module
from gradsiege.defenses.base import Defense
from gradsiege.defenses.shadow import Shadow, image_keys
from gradsiege.defenses.shadow import map as shadow_map
from gradsiege.errors import ArtifactError
from gradsiege.federated.client import run_client
from gradsiege.protocol.local_update import LocalTraining, Tensors, local_update

torch.set_num_threads(1)
TWO_STEPS = LocalTraining("fedavg", 4, 2, 1, 0.1, "train")


@pytest.fixture(scope="module")
def weights() -> Tensors:
    return generator_weights()


@pytest.mark.parametrize("training", [ONE_STEP, TWO_STEPS])
def test_the_true_step_is_the_plain_step_on_the_perturbed_batch(
    weights: Tensors, training: LocalTraining
) -> None:
    defense = Watched(**CHEAP, arm="faithful", pretrained=weights)
    update, buffers = run_client(make_client(training=training), defense)
    batches = torch.cat(defense.batches)
    assert len(defense.batches) == training.steps
    plain = replace(make_client(training=training), images=batches)
    wanted, wanted_buffers = run_client(plain, Defense())
    assert all(torch.equal(update[name], wanted[name]) for name in wanted)
    assert all(torch.equal(buffers[name], wanted_buffers[name]) for name in wanted_buffers)
    clean, _ = run_client(make_client(training=training), Defense())
    assert not torch.equal(update["body.head.weight"], clean["body.head.weight"])


def test_noise_is_positive_bounded_and_grows_with_the_rounds(weights: Tensors) -> None:
    client = make_client()
    first = perturbed(client, weights, unclamped=True) - client.images
    later = perturbed(make_client(99), weights, unclamped=True) - client.images
    mean, deviation = (client.buffers[f"normalisation.{name}"] for name in ("mean", "deviation"))
    normalised = (client.images - mean[:, None, None]) / deviation[:, None, None]
    peaks = 0.19 * normalised.amax((1, 2, 3)) * deviation[0]
    assert (first >= 0).all()
    assert torch.allclose(first.amax((1, 2, 3)), peaks, rtol=1e-4)
    assert later.amax() / first.amax() == pytest.approx(2.691, abs=1e-3)
    clamped = perturbed(make_client(99), weights)
    assert clamped.min() >= 0
    assert clamped.max() <= 1


def test_same_client_same_noise_and_nothing_is_modified(weights: Tensors) -> None:
    client = make_client()
    copies = {name: value.clone() for name, value in client.parameters.items()}
    images, pretrained = (
        client.images.clone(),
        {name: value.clone() for name, value in weights.items()},
    )
    assert torch.equal(perturbed(client, weights), perturbed(make_client(), weights))
    assert torch.equal(client.images, images)
    assert all(torch.equal(client.parameters[name], value) for name, value in copies.items())
    assert all(torch.equal(weights[name], value) for name, value in pretrained.items())
    assert client.buffers["body.features.1.running_mean"].abs().max() == 0


def test_state_is_keyed_by_content_and_never_changed_in_place(weights: Tensors) -> None:
    client = make_client()
    perturbed(client, weights)
    before = {name: value.clone() for name, value in client.state.items()}
    held = dict(client.state)
    keys = image_keys(client.images)
    assert {f"{kind}.{key}" for kind in ("latent", "memory") for key in keys} <= set(before)
    shuffled = make_client(1, state=client.state, order=(3, 1, 0, 2))
    perturbed(shuffled, weights)
    assert set(client.state) == set(before)
    assert all(torch.equal(held[name], value) for name, value in before.items())
    assert all(torch.equal(client.state[f"latent.{k}"], before[f"latent.{k}"]) for k in keys)
    moved = [name for name in before if not torch.equal(client.state[name], before[name])]
    assert any(name.startswith("memory.") for name in moved)
    assert any(name.startswith("generator.") for name in moved)


def test_memory_follows_its_recursion_and_is_what_later_rounds_use(
    weights: Tensors, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh: list[Tensor] = []
    real: Callable[..., Tensor] = shadow_map.sensitivity_map

    def keep(*arguments: object) -> Tensor:
        fresh.append(real(*arguments))
        return fresh[-1]

    used: list[Tensor] = []
    real_noise: Callable[..., Tensor] = shadow_map.spare

    def watch(sensitivity: Tensor, *rest: object) -> Tensor:
        used.append(sensitivity)
        return real_noise(sensitivity, *rest)

    monkeypatch.setattr(shadow_module.shadow_map, "sensitivity_map", keep)
    monkeypatch.setattr(shadow_module.shadow_map, "spare", watch)
    client = make_client()
    perturbed(client, weights)
    perturbed(make_client(1, state=client.state), weights)
    assert torch.equal(used[0], fresh[0])
    assert torch.equal(used[1], fresh[1])
    memory = torch.stack([client.state[f"memory.{key}"] for key in image_keys(client.images)])
    assert torch.allclose(memory, 0.1 * fresh[0] + 0.9 * fresh[1])
    before = dict(client.state)
    perturbed(make_client(20, state=client.state), weights)
    assert len(fresh) == 2
    assert torch.equal(used[2], memory)
    assert all(client.state[name] is value for name, value in before.items())


def test_an_image_first_met_after_the_learning_phase_gets_its_map_then(weights: Tensors) -> None:
    client = make_client(80)
    first = perturbed(client, weights)
    assert {f"memory.{key}" for key in image_keys(client.images)} <= set(client.state)
    assert torch.equal(perturbed(make_client(80, state=client.state), weights), first)


def test_the_generator_keeps_half_of_its_old_weights(
    weights: Tensors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        shadow_module,
        "update_generator",
        lambda network, old, *_: {name: value + 1 for name, value in old.items()},
    )
    client = make_client()
    perturbed(client, weights)
    for name, value in weights.items():
        assert torch.allclose(client.state[f"generator.{name}"], value + 0.5)


def test_a_single_image_in_eval_mode(weights: Tensors) -> None:
    training = LocalTraining("fedsgd", 1, 1, 1, 0.01, "eval")
    client = replace(make_client(training=training), images=torch.rand(1, 3, 16, 16))
    client.labels = client.labels[:1]
    update, buffers = run_client(client, Shadow(**CHEAP, arm="faithful", pretrained=weights))
    assert all(bool(torch.isfinite(value).all()) for value in update.values())
    assert all(torch.equal(buffers[name], value) for name, value in client.buffers.items())
    clean, _ = local_update(
        client.model, client.parameters, client.buffers, client.images, client.labels, training
    )
    assert not torch.equal(update["body.head.weight"], clean["body.head.weight"])


def test_disclosure_is_plain_data_and_a_missing_generator_is_named(weights: Tensors) -> None:
    told = Shadow(**CHEAP, arm="as_released", pretrained=weights).disclosure()
    assert json.loads(json.dumps(told)) == told
    assert told["amplitude"] == 0.19
    assert told["scrambled_map"] is True
    with pytest.raises(ArtifactError, match=r"shadow\.safetensors"):
        defenses.build("shadow", {}, "faithful")

"""Shadow as released: each switch alone, and all of them together."""

import pytest
import torch
from shadow_party import CHEAP, Watched, generator_weights, make_client, perturbed
from torch import Tensor

from gradsiege.defenses import shadow as shadow_module
from gradsiege.defenses.shadow import Shadow, image_keys
from gradsiege.federated.client import run_client
from gradsiege.protocol.local_update import Tensors

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def weights() -> Tensors:
    return generator_weights()


@pytest.mark.parametrize("switch", ["scrambled_map", "flat_cam", "signed"])
def test_each_released_switch_of_the_pattern_changes_the_noise(
    weights: Tensors, switch: str
) -> None:
    client = make_client(30)
    clean = perturbed(client, weights, unclamped=True)
    changed = perturbed(make_client(30), weights, unclamped=True, **{switch: True})
    assert (clean - changed).abs().max() > 1e-3
    difference = changed - client.images
    if switch == "scrambled_map":
        # Grey noise becomes coloured.
        assert ((clean - client.images).std(1) < 1e-6).all()
        assert (difference.std(1) > 1e-3).any()
    if switch == "signed":
        assert difference.min() < 0


@pytest.mark.parametrize("wrong", [False, True])
def test_class_one_is_explained_whatever_the_label(
    weights: Tensors, wrong: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []
    real = shadow_module.class_activation_plus_plus

    def watch(*arguments: Tensor) -> Tensor:
        seen.append(arguments[-1])
        return real(*arguments)

    monkeypatch.setattr(shadow_module, "class_activation_plus_plus", watch)
    perturbed(make_client(), weights, class_one=wrong)
    assert seen[0].tolist() == ([1, 1, 1, 1] if wrong else [0, 1, 2, 1])


def test_released_generator_and_latents_are_random_and_the_clients_own(weights: Tensors) -> None:
    settings = {"shadow_rate": 0.0, "random_generator": True, "random_latents": True}
    client = make_client()
    perturbed(client, weights, **settings)
    start = client.state["generator.start.weight"]
    assert not torch.equal(start, weights["start.weight"])
    latents = [client.state[f"latent.{key}"] for key in image_keys(client.images)]
    assert not torch.equal(latents[0], latents[1])
    assert torch.stack(latents).norm(dim=1).max() <= 1 + 1e-6
    other = make_client()
    other.generator.manual_seed(3)
    perturbed(other, weights, **settings)
    assert not torch.equal(other.state["generator.start.weight"], start)
    faithful = make_client()
    perturbed(faithful, weights, shadow_rate=0.0)
    assert torch.allclose(faithful.state["generator.start.weight"], weights["start.weight"])


def test_released_arm_turns_every_open_switch_on_and_keeps_the_set_ones() -> None:
    assert not any(getattr(Shadow(), name) for name in Shadow.switches)
    released = Shadow(random_generator=False, arm="as_released")
    assert not released.random_generator
    assert released.scrambled_map
    assert released.unclamped


def test_released_arm_runs_and_leaves_pixels_outside_the_range(weights: Tensors) -> None:
    client = make_client(99)
    defense = Watched(**CHEAP, arm="as_released", pretrained=weights)
    run_client(client, defense)
    assert torch.cat(defense.batches).max() > 1

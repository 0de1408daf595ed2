"""Shadow's released first round, in which server and clients hold different last layers."""

from dataclasses import replace

import pytest
import torch

from gradsiege.defenses.base import Client, Defense
from gradsiege.defenses.shadow import Shadow
from gradsiege.defenses.shadow.head import head_difference, moved
from gradsiege.federated.client import run_client
from gradsiege.models import ModelSpec, build
from gradsiege.models.head import Head
from gradsiege.models.layers import initialize
from gradsiege.priors.shadow_generator import ShadowGeneratorNetwork
from gradsiege.protocol.local_update import LocalTraining, Tensors, apply_update, split_state

torch.set_num_threads(1)
SYNCHRONISED = Shadow(shadow_steps=1, latent_steps=2, amplitude=0.0)
APART = replace(SYNCHRONISED, unsynchronised_heads=True)
RATE = 0.1
HEAD = Head("body.head.weight", "body.head.bias")


@pytest.fixture(scope="module")
def weights() -> Tensors:
    network = ShadowGeneratorNetwork(8, 4, 3, 16)
    initialize(network, torch.Generator().manual_seed(7))
    return dict(network.state_dict())


def client(number: int = 0, batch: int = 4, seed: int = 0) -> Client:
    model = build(ModelSpec("convnet", {"width": 4}, 3, 3, 16), torch.Generator().manual_seed(seed))
    return Client(
        model,
        *split_state(model),
        images=torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(1)),
        labels=torch.tensor([0, 1, 2, 1]),
        training=LocalTraining("fedavg", 4, batch, 1, RATE, "train"),
        generator=torch.Generator().manual_seed(2),
        round=number,
        rounds=100,
    )


@pytest.mark.parametrize("batch", [4, 2])
def test_the_first_upload_is_the_servers_weights_minus_those_of_a_client_with_its_own_head(
    weights: Tensors, batch: int
) -> None:
    """Without noise, so that plain local training from the client's own weights is the reference."""
    server = client(batch=batch)
    upload, buffers = run_client(server, replace(APART, pretrained=weights))
    start = moved(server.parameters, head_difference(server.parameters, HEAD))
    plain, plain_buffers = run_client(replace(client(batch=batch), parameters=start), Defense())
    trained = apply_update(start, plain, RATE)
    for name, value in server.parameters.items():
        wanted = (value - trained[name]) / RATE
        assert torch.allclose(upload[name], wanted, atol=2e-5), name
    assert all(torch.allclose(buffers[name], plain_buffers[name]) for name in buffers)
    # The server lands on the client's trained weights, so the second round starts from one model.
    after = apply_update(server.parameters, upload, RATE)
    assert all(torch.allclose(after[name], trained[name], atol=1e-6) for name in after)


def test_only_the_last_layer_and_only_the_first_round_are_apart(weights: Tensors) -> None:
    synchronised, apart = (replace(one, pretrained=weights) for one in (SYNCHRONISED, APART))
    difference = head_difference(client().parameters, HEAD)
    assert {name.rpartition(".")[2] for name in difference} == {"weight", "bias"}
    assert len(difference) == 2
    first, _ = run_client(client(), synchronised)
    mixed, _ = run_client(client(), apart)
    body = [name for name in first if name not in difference]
    # Another head sends another gradient to the layers below it.
    assert any(not torch.allclose(first[name], mixed[name]) for name in body)
    for name in difference:
        assert (mixed[name] - first[name]).norm() > 2 * first[name].norm()
    again, _ = run_client(client(1), synchronised)
    later, _ = run_client(client(1), apart)
    assert all(torch.equal(again[name], later[name]) for name in again)


def test_the_clients_head_is_one_for_all_and_drawn_like_any_linear_layer() -> None:
    one, other = client().parameters, client(seed=5).parameters
    heads = [moved(each, head_difference(each, HEAD)) for each in (one, other)]
    for name in head_difference(one, HEAD):
        assert not torch.equal(one[name], other[name])
        assert torch.allclose(heads[0][name], heads[1][name], atol=1e-7)
    weight = heads[0]["body.head.weight"]
    bound = weight.shape[1] ** -0.5
    assert weight.abs().max() <= bound + 1e-7
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)


def test_the_released_arm_is_apart_and_the_faithful_one_is_not(weights: Tensors) -> None:
    assert Shadow(arm="as_released").unsynchronised_heads is True
    assert Shadow(arm="faithful").unsynchronised_heads is False

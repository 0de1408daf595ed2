"""What holds for every defense: pure functions of their arguments and the client's generator, and nothing else."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from gradsiege import catalogue, defenses
from gradsiege.defenses.base import Client, Defense
from gradsiege.defenses.shadow import Shadow
from gradsiege.federated.client import run_client
from gradsiege.models.layers import initialize
from gradsiege.priors.shadow_generator import ShadowGeneratorNetwork
from gradsiege.protocol.local_update import Step

torch.set_num_threads(1)
# Budgets that keep the test short; every other parameter is the default.
CHEAP: dict[str, dict[str, Any]] = {
    "shadow": {"shadow_steps": 1, "latent_steps": 2},
    "precode": {"units": 6},
    "censor": {"trials": 3},
}
# AGP as released scales its noise by zero for one local epoch.
DRAWN_AND_LOST = {("agp", "as_released")}
EVERY = [(name, arm) for name, entry in catalogue.entries("defenses").items() for arm in entry.arms]
Make = Callable[[str, str], Defense]


@pytest.fixture(scope="module")
def make() -> Make:
    network = ShadowGeneratorNetwork(8, 4, 3, 16)
    initialize(network, torch.Generator().manual_seed(7))

    def build(name: str, arm: str) -> Defense:
        parameters = catalogue.entries("defenses")[name].validate(CHEAP.get(name, {}), "test")
        if name == "shadow":  # its generator comes from a finished stage; here it is untrained
            return Shadow(**parameters, arm=arm, pretrained=dict(network.state_dict()))
        return defenses.build(name, parameters, arm)

    return build


def copies(client: Client) -> list[Tensor]:
    held = [*client.parameters.values(), *client.buffers.values(), client.images, client.labels]
    return [value.clone() for value in held]


@pytest.mark.parametrize(("name", "arm"), EVERY)
def test_an_upload_depends_on_the_generator_and_keeps_names_shapes_and_types(
    name: str, arm: str, make: Make, party: Callable[..., Client]
) -> None:
    defense = make(name, arm)
    client = party(defense, 1)
    before = copies(client)
    torch.manual_seed(1)
    upload, _ = run_client(client, defense)
    for now, then in zip(copies(client), before, strict=True):
        assert torch.equal(now, then)
    assert list(upload) == list(client.parameters)
    for key, value in upload.items():
        assert value.shape == client.parameters[key].shape
        assert value.dtype == client.parameters[key].dtype
        assert torch.isfinite(value).all()
        assert not value.requires_grad
    torch.manual_seed(2)  # the global generator is of no concern
    again, _ = run_client(party(defense, 1), defense)
    assert all(torch.equal(upload[key], again[key]) for key in upload)
    documented = "state" in (type(defense).__doc__ or "")
    assert documented or not client.state, "a docstring says what is kept in the client's state"


@pytest.mark.parametrize(("name", "arm"), EVERY)
def test_hooks_change_none_of_their_arguments(
    name: str, arm: str, make: Make, party: Callable[..., Client]
) -> None:
    defense = make(name, arm)
    client = party(defense, 1)
    step = Step(client.model, client.parameters, client.buffers, client.images, client.labels)
    generator = torch.Generator().manual_seed(3)
    gradient = {
        key: torch.randn(value.shape, generator=generator)
        for key, value in client.parameters.items()
    }
    before = [*copies(client), *(value.clone() for value in gradient.values())]
    model = {key: value.clone() for key, value in client.model.state_dict().items()}
    defense.transform_batch(client.images, client.labels, step, client)
    defense.transform_gradient(gradient, step, client)
    defense.transform_update(gradient, client)
    after = [*copies(client), *gradient.values()]
    assert all(torch.equal(now, then) for now, then in zip(after, before, strict=True))
    for key, value in client.model.state_dict().items():
        assert torch.equal(value, model[key]), key
    assert all(not part._forward_hooks for part in client.model.modules())
    assert all(not part._forward_pre_hooks for part in client.model.modules())


@pytest.mark.parametrize(("name", "arm"), EVERY)
def test_only_defenses_that_draw_differ_between_generators(
    name: str, arm: str, make: Make, party: Callable[..., Client]
) -> None:
    defense = make(name, arm)
    client, undefended = party(defense, 1), party(None, 1)
    first, _ = run_client(client, defense)
    run_client(undefended, Defense())
    draws = not torch.equal(client.generator.get_state(), undefended.generator.get_state())
    others = [run_client(party(defense, seed), defense)[0] for seed in (2, 3)]
    same = all(torch.equal(first[key], other[key]) for other in others for key in first)
    assert same == (not draws or (name, arm) in DRAWN_AND_LOST)


@pytest.mark.parametrize(("name", "arm"), EVERY)
def test_disclosure_is_plain_data_that_names_the_defense(name: str, arm: str, make: Make) -> None:
    import json

    stated = make(name, arm).disclosure()
    assert stated["defense"] == name
    assert json.loads(json.dumps(stated, allow_nan=False)).keys() == stated.keys()
    assert set(CHEAP.get(name, {})) <= set(stated)

"""Clients of an attacker's own: the client's very code, the disclosed defense, and nothing that is a client's alone."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from shadow_party import generator_weights
from torch import Tensor

from gradsiege import catalogue, defenses
from gradsiege.defenses.base import Client, Defense
from gradsiege.errors import StudyError, ThreatModelError
from gradsiege.federated.client import run_client
from gradsiege.federated.simulation import disclosed_defense, simulator
from gradsiege.models import ModelSpec, build
from gradsiege.protocol.local_update import LocalTraining, Tensors, split_state
from gradsiege.protocol.observation import Observation, stacked
from gradsiege.seeds import torch_generator

SPEC = ModelSpec("convnet", {"width": 4}, 10, 3, 16)
FEDSGD = LocalTraining("fedsgd", 1, 1, 1, 0.1, "eval")
FEDAVG = LocalTraining("fedavg", 2, 1, 2, 0.1, "train")


def defense_of(name: str) -> Defense:
    cheap = {"latent_steps": 2, "shadow_steps": 1} if name == "shadow" else {}
    settings = catalogue.entries("defenses")[name].validate(cheap, "test")
    shadow = generator_weights() if name == "shadow" else None
    return defenses.build(name, settings, shadow=shadow)


def victim(defense: Defense, training: LocalTraining, who: int = 0) -> tuple[Client, Observation]:
    """A client as the stage `observe` makes it, and what the server sees of it."""
    network = build(defense.wrap_model(SPEC), torch.Generator().manual_seed(1))
    parameters, buffers = split_state(network)
    images = torch.rand(training.images, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    labels = torch.arange(training.images) + 3
    own = torch_generator(0, "cell", "victim", who)
    client = Client(network, parameters, buffers, images, labels, training, own)
    # What crosses is JSON: tuples come back as lists.
    disclosure = json.loads(json.dumps(defense.disclosure()))
    update = stacked([parameters])  # a simulator does not look at it
    seen = Observation.of_updates(
        defense.wrap_model(SPEC), parameters, buffers, update, training, disclosure=disclosure
    )
    return client, seen


def simulated(seen: Observation, client: Client, generator: torch.Generator) -> Tensors:
    return simulator(seen, 0, 1, generator_weights())(client.images, client.labels, generator)


def same(one: Tensors, other: Tensors) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("training", [FEDSGD, FEDAVG], ids=["fedsgd", "fedavg"])
def test_without_a_defense_it_is_the_clients_own_update_to_the_last_bit(
    training: LocalTraining,
) -> None:
    client, seen = victim(defense_of("none"), training)
    real, _ = run_client(client, defense_of("none"))
    assert same(real, simulated(seen, client, torch_generator("other")))


@pytest.mark.parametrize("name", ["gaussian", "tip", "precode", "ats", "shadow"])
def test_a_draw_is_the_attackers_own_and_no_clients(name: str) -> None:
    defense = defense_of(name)
    client, seen = victim(defense, FEDSGD)
    real, _ = run_client(client, defense)
    assert same(real, run_client(victim(defense, FEDSGD)[0], defense)[0])
    # With the victim's generator it is the victim's update, so that all else is alike but the draw.
    assert same(real, simulated(seen, client, torch_generator(0, "cell", "victim", 0)))
    if name != "shadow":
        own = torch_generator(0, "cell", "attack", "simulated client", 0)
        assert not same(real, simulated(seen, client, own))


def test_shadows_trained_generator_stays_with_its_client() -> None:
    """A client whose generator has learned for a round defends otherwise than a simulated one, which starts anew."""
    defense = defense_of("shadow")
    client, seen = victim(defense, FEDSGD)
    run_client(client, defense)
    assert client.state
    again = replace(client, generator=torch_generator("again"), trained=[])
    learned, _ = run_client(again, defense)
    first = simulated(seen, client, torch_generator("again"))
    assert not same(learned, first)
    assert same(first, simulated(seen, client, torch_generator("again")))


@pytest.mark.parametrize("name", sorted(catalogue.entries("defenses")))
@pytest.mark.parametrize("place", [0, -1], ids=["first_arm", "last_arm"])
def test_every_defense_can_be_rebuilt_of_its_disclosure(name: str, place: int) -> None:
    entry = catalogue.entries("defenses")[name]
    shadow: Tensors | None = generator_weights() if "shadow" in entry.requires else None
    defense = defenses.build(name, entry.validate({}, "test"), entry.arms[place], shadow)
    stated = json.loads(json.dumps(defense.disclosure()))
    again = disclosed_defense(stated, shadow)
    assert type(again) is type(defense)
    assert again.disclosure() == defense.disclosure()


def test_what_is_not_disclosed_is_not_made_up() -> None:
    _, seen = victim(defense_of("gaussian"), FEDSGD)
    for narrow in (replace(seen, disclosure=None), replace(seen, training=None)):
        with pytest.raises(ThreatModelError, match="does not grant both"):
            simulator(narrow, 0, 1)
    with pytest.raises(ThreatModelError, match="gaussian discloses no sigma"):
        disclosed_defense({"defense": "gaussian"})
    with pytest.raises(StudyError, match="unknown name 'gausian'"):
        disclosed_defense({"defense": "gausian"})
    with pytest.raises(ThreatModelError, match="add the prior 'shadow_generator'"):
        disclosed_defense(defense_of("shadow").disclosure())


def test_the_round_reaches_defenses_that_know_it() -> None:
    """CENSOR as released defends ten rounds; in the eleventh the true update is uploaded."""
    entry = catalogue.entries("defenses")["censor"]
    defense = defenses.build("censor", entry.validate({"trials": 1}, "test"), "as_released")
    client, seen = victim(defense, FEDSGD)
    true, _ = run_client(client, defense_of("none"))

    def uploaded(at: int) -> Tensors:
        generator = torch_generator("own")
        return simulator(seen, at, 20)(client.images, client.labels, generator)

    assert same(true, uploaded(10))
    different: Tensor = uploaded(0)["body.head.weight"] - true["body.head.weight"]
    assert different.any()

"""Simulated clients of several rounds, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

import gradsiege as gs
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.recipes.inverting_gradients import InvertingGradients
from gradsiege.errors import MissingError
from gradsiege.federated.simulation import simulator
from gradsiege.models import ModelSpec, build
from gradsiege.protocol.observation import Observation, Round
from gradsiege.protocol.threat_model import ThreatModel, strip
from gradsiege.tuning.choice import Budget, OwnImages, choose
from gradsiege.tuning.clients import as_known, simulated_clients

MODEL = build(ModelSpec("lenet", {"channels": 4}, 10, 3, 16), torch.Generator().manual_seed(0))
IMAGES = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(6)
THREAT = ThreatModel(rounds=2)


def returning() -> Observation:
    """Victims of two rounds, whose second model differs from the first."""
    seen = gs.observe(MODEL, IMAGES[:2], LABELS[:2])
    moved = {name: 1.5 * value for name, value in seen.parameters.items()}
    again = Round(moved, seen.buffers, seen.update)
    return replace(seen, later=(again,), progress=(0.0, 0.5))


def undefended(at: dict[str, Tensor]) -> dict[str, Tensor]:
    """The updates of the attacker's images at a model, by the library's own observation."""
    network = build(
        ModelSpec("lenet", {"channels": 4}, 10, 3, 16), torch.Generator().manual_seed(0)
    )
    # An observed network stands in a wrapper; its own buffers stay.
    loaded = network.load_state_dict(
        {name.removeprefix("body."): value for name, value in at.items()}, strict=False
    )
    assert not loaded.unexpected_keys
    return gs.observe(network, IMAGES[2:], LABELS[2:]).update


def test_every_round_is_simulated_at_its_own_model_with_the_same_images() -> None:
    knowledge = Knowledge(strip(returning(), THREAT), THREAT)
    rounds = as_known(knowledge.observation).rounds()
    simulates = [simulator(round_, number, 2) for number, round_ in enumerate(rounds)]
    met = simulated_clients(knowledge, IMAGES[2:], LABELS[2:], simulates, ("s",)).observation
    assert met.victims == 4
    assert met.progress == (0.0, 0.5)
    assert met.labels is None
    for round_, simulated in zip(rounds, met.rounds(), strict=True):
        expected = undefended(round_.parameters)
        for name, value in expected.items():
            torch.testing.assert_close(simulated.update[name], value)


def test_an_attack_on_several_rounds_chooses_on_several_rounds() -> None:
    knowledge = Knowledge(strip(returning(), THREAT), THREAT)
    rounds = as_known(knowledge.observation).rounds()
    simulates = [simulator(round_, number, 2) for number, round_ in enumerate(rounds)]
    attack = InvertingGradients(iterations=3, rounds="joint")
    own = OwnImages(IMAGES[2:], LABELS[2:])
    choice = choose(attack, knowledge, own, simulates, Budget(3, 2), ("s",))
    assert len(choice.trials) == 3
    assert choice.attack.rounds == "joint"
    single = replace(knowledge, observation=replace(knowledge.observation, later=(), progress=()))
    alone = choose(
        replace(attack, rounds="first"), single, own, simulates[:1], Budget(3, 2), ("s",)
    )
    assert alone.identity != choice.identity
    with pytest.raises(MissingError, match="2 rounds are granted and 1 simulated"):
        choose(attack, knowledge, own, simulates[:1], Budget(3, 2), ("s",))

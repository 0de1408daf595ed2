"""The choice of settings: a planted best value is found, a killed choice goes on, and victims are never looked at."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest
import torch
from torch import Tensor

import gradsiege as gs
from gradsiege.analysis.summary import PSNR_CAP
from gradsiege.attacks.base import Attack
from gradsiege.attacks.conditions import Completed, Conditions
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.lookup.base import answer
from gradsiege.attacks.recipes.inverting_gradients import InvertingGradients
from gradsiege.defenses.base import Client, Defense
from gradsiege.errors import ModelError, StoppedEarlyError, ThreatModelError, UsageError
from gradsiege.models import ModelSpec, build
from gradsiege.protocol.local_update import LocalTraining, Tensors
from gradsiege.protocol.observation import Observation
from gradsiege.protocol.threat_model import ThreatModel
from gradsiege.ranges import Tuned, Weight
from gradsiege.tuning.choice import best_of, mean_psnr
from gradsiege.tuning.trials import trials_of

SIDE = 16
MODEL = build(ModelSpec("lenet", {}, 10, 3, SIDE), torch.Generator().manual_seed(0))


def pictures(count: int, seed: int) -> tuple[Tensor, Tensor]:
    coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    images = torch.nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bicubic").clamp(0, 1)
    return images, torch.arange(count) % 10


OWN, OWN_LABELS = pictures(12, 1)


def victims(defense: Defense | None = None, seed: int = 2, **more: object) -> Observation:
    images, labels = pictures(4, seed)
    seen: Observation = gs.observe(MODEL, images, labels, defense, **more)
    return seen


@dataclass(frozen=True)
class Planted(Attack):
    """Returns one grey, which is right where `weight` is BEST, and further from right the further it is from there."""

    name = "planted"

    weight: Annotated[Weight, Tuned(1e-3, 1)] = 1e-3
    BEST: ClassVar[float] = 0.03
    runs: ClassVar[list[float]] = []
    met: ClassVar[list[Observation]] = []
    breaks_at: ClassVar[int] = -1

    def run(self, knowledge: Knowledge, how: Conditions) -> Completed:
        """Note what was met."""
        if len(Planted.runs) == Planted.breaks_at:
            raise StoppedEarlyError("killed")
        Planted.runs.append(self.weight)
        Planted.met.append(knowledge.observation)
        seen = knowledge.observation
        distance = abs(math.log10(self.weight / Planted.BEST))
        shape = (seen.victims, seen.images_per_client, *seen.image_shape)
        grey = torch.full(shape, min(1.0, 0.5 + distance / 4))
        whole = torch.zeros(seen.victims, seen.images_per_client, dtype=torch.int64)
        return Completed(answer(grey, whole, torch.zeros(seen.victims)), 0)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    Planted.runs, Planted.met, Planted.breaks_at = [], [], -1
    Planted.BEST = 0.03


@pytest.mark.parametrize("number", range(8))
def test_a_planted_best_value_is_found(number: int) -> None:
    Planted.BEST = trials_of(Planted(), 8)[number]["weight"]
    grey, labels = torch.full_like(OWN, 0.5), OWN_LABELS
    choice = gs.choose_settings(Planted(), victims(), grey, labels, trials=8)
    assert choice.best == number
    assert choice.attack == Planted(weight=Planted.BEST)
    assert choice.trials[number].psnr == PSNR_CAP
    assert (choice.gain > 0) == (number > 0)
    assert choice.record()["chosen"] == number
    json.dumps(choice.record(), allow_nan=False)


def test_of_equal_trials_the_attack_as_it_is_stays() -> None:
    assert best_of([3.0, 3.0, 2.0]) == 0


def test_nothing_that_the_victims_sent_is_looked_at() -> None:
    """Other victims, other updates, even impossible ones: the same clients, trials and choice."""
    threat = ThreatModel(labels="given", batch_statistics=True)
    first = victims(gs.defenses.Gaussian(sigma=0.1))
    poison = {name: torch.full_like(value, torch.nan) for name, value in first.update.items()}
    seen = {
        "first": first,
        "others": victims(seed=9),
        "poisoned": replace(first, update=poison, labels=torch.full((4, 1), 9), failures={0: "x"}),
    }
    attack = InvertingGradients(iterations=4)
    choices = [
        gs.choose_settings(attack, each, OWN, OWN_LABELS, threat, trials=3)
        for each in seen.values()
    ]
    assert choices[0] == choices[1] == choices[2]
    assert len({choice.identity for choice in choices}) == 1


def test_a_blind_attacker_simulates_no_defense_and_an_informed_one_the_disclosed() -> None:
    seen = victims(gs.defenses.Gaussian(sigma=0.5))
    for threat in (ThreatModel(), ThreatModel(disclosure=True)):
        gs.choose_settings(Planted(), seen, OWN, OWN_LABELS, threat, trials=1)
    blind, informed = Planted.met
    undefended = gs.observe(MODEL, *ordered(4))
    assert blind.disclosure is None
    assert same(blind.update, undefended.update)
    difference = torch.cat(
        [(informed.update[name] - value).flatten() for name, value in blind.update.items()]
    )
    assert float(difference.std()) == pytest.approx(0.5, rel=0.05)
    assert informed.disclosure == seen.disclosure


def ordered(count: int) -> tuple[Tensor, Tensor]:
    """The images of the simulated clients, in their order."""
    from gradsiege.seeds import torch_generator

    order = torch.randperm(len(OWN), generator=torch_generator(0, "own images"))[:count]
    return OWN[order], OWN_LABELS[order]


def same(first: Tensors, second: Tensors) -> bool:
    return all(torch.allclose(value, second[name], atol=1e-6) for name, value in first.items())


def test_a_client_is_granted_what_a_victim_is() -> None:
    training = LocalTraining("fedavg", 4, 2, 2, 0.01, "eval")
    seen = victims(images_per_client=4, training=training)
    for threat in (ThreatModel(), ThreatModel(labels="given", batch_statistics=True)):
        gs.choose_settings(Planted(), seen, OWN, OWN_LABELS, threat, trials=1, clients=3)
    narrow, wide = Planted.met
    assert (narrow.labels, narrow.statistics) == (None, {})
    assert wide.labels is not None
    assert wide.labels.flatten().equal(ordered(12)[1])
    assert wide.statistics.keys() == seen.statistics.keys()
    assert narrow.training == training
    assert narrow.victims == 3


class Strange(Defense):
    """A defense that no catalogue knows."""

    name = "strange"

    def transform_update(self, update: Tensors, client: Client) -> Tensors:
        """Negate."""
        return {name: -value for name, value in update.items()}


def test_a_defense_of_a_stranger_is_handed_over_as_an_object() -> None:
    seen = victims(Strange())
    threat = ThreatModel(disclosure=True)
    gs.choose_settings(Planted(), seen, OWN, OWN_LABELS, threat, trials=1, defense=Strange())
    undefended = gs.observe(MODEL, *ordered(4))
    assert same(Planted.met[0].update, {name: -v for name, v in undefended.update.items()})


@pytest.mark.parametrize("killed_at", [0, 2, 5])
def test_a_killed_choice_goes_on_to_the_same_end(killed_at: int, tmp_path: Path) -> None:
    whole = gs.choose_settings(Planted(), victims(), OWN, OWN_LABELS)
    Planted.runs, Planted.breaks_at = [], killed_at
    with pytest.raises(StoppedEarlyError):
        gs.choose_settings(Planted(), victims(), OWN, OWN_LABELS, resume=tmp_path)
    Planted.breaks_at = -1
    assert gs.choose_settings(Planted(), victims(), OWN, OWN_LABELS, resume=tmp_path) == whole
    assert len(Planted.runs) == 6, "no trial ran twice"
    assert gs.choose_settings(Planted(), victims(), OWN, OWN_LABELS, resume=tmp_path) == whole
    assert len(Planted.runs) == 6


def test_a_torn_file_is_no_choice(tmp_path: Path) -> None:
    whole = gs.choose_settings(Planted(), victims(), OWN, OWN_LABELS, resume=tmp_path)
    (file,) = tmp_path.iterdir()
    for content in ("", "{", '{"psnr": [1, 2]}', '{"psnr": [NaN], "planned": []}'):
        file.write_text(content)
        again = gs.choose_settings(Planted(), victims(), OWN, OWN_LABELS, resume=tmp_path)
        assert again == whole


def test_other_settings_are_another_choice(tmp_path: Path) -> None:
    calls = [
        (Planted(), victims(), {}),
        (Planted(iterations=7), victims(), {}),
        (Planted(), victims(), {"seed": 1}),
        (Planted(), victims(), {"clients": 3}),
        (Planted(), victims(), {"trials": 4}),
        (Planted(), victims(gs.defenses.Sign()), {"knows": ThreatModel(disclosure=True)}),
    ]
    for attack, seen, more in calls:
        gs.choose_settings(attack, seen, OWN, OWN_LABELS, resume=tmp_path, **more)
    assert len(list(tmp_path.iterdir())) == len(calls)


def test_the_choice_helps_the_real_attack_on_the_victims() -> None:
    """At a budget far below the published one, more smoothing and larger steps are better, on clients and on victims."""
    truth, labels = pictures(4, 2)
    network = build(
        ModelSpec("convnet", {"width": 8}, 10, 3, SIDE), torch.Generator().manual_seed(0)
    )
    seen = gs.observe(network, truth, labels)
    attack = InvertingGradients(iterations=40, total_variation=1e-6, learning_rate=0.1)
    choice = gs.choose_settings(attack, seen, OWN, OWN_LABELS, ThreatModel(labels="given"))
    assert choice.gain > 0.5
    found = [
        gs.metrics.table(each(seen, ThreatModel(labels="given")).images, truth)["psnr"].mean()
        for each in (attack, choice.attack)
    ]
    assert found[1] > found[0]


def test_an_image_that_was_not_recovered_counts_as_zero_decibels() -> None:
    images = torch.stack([torch.full((3, 8, 8), value) for value in (0.2, 0.4, 0.6, 0.8)])
    losses = torch.tensor([0.0, torch.nan])
    swapped = images[[1, 0, 2, 3]].view(2, 2, 3, 8, 8)
    measured = mean_psnr(answer(swapped, torch.zeros(2, 2, dtype=torch.int64), losses), images)
    assert measured == pytest.approx((2 * PSNR_CAP + 2 * 0.0) / 4)


def test_what_cannot_be_chosen_says_why() -> None:
    seen = victims()
    with pytest.raises(UsageError, match="4 images with labels are needed"):
        gs.choose_settings(Planted(), seen, OWN[:3], OWN_LABELS[:3])
    with pytest.raises(ThreatModelError, match="needs auxiliary"):
        gs.choose_settings(Planted(), seen, OWN, OWN_LABELS, ThreatModel(auxiliary=False))
    with pytest.raises(ThreatModelError, match="planted needs protocol"):
        gs.choose_settings(Planted(), seen, OWN, OWN_LABELS, ThreatModel(protocol=False))
    with pytest.raises(ThreatModelError, match=r"shape \[3, 8, 8\]"):
        gs.choose_settings(Planted(), seen, OWN[..., :8, :8], OWN_LABELS)
    with pytest.raises(ModelError):
        gs.choose_settings(Planted(), seen, OWN, OWN_LABELS + 10)
    with pytest.raises(UsageError, match="takes an attack and an observation, not Strange"):
        gs.choose_settings(Strange(), seen, OWN, OWN_LABELS)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"clients": 0}, "clients is 0; give the number"),
        ({"fields": ["weigth"]}, "did you mean 'weight'"),
        ({"fields": []}, "fields is empty"),
        ({"trials": 0}, "trials is 0; give a whole number from 1 to 64"),
        ({"trials": 1.5}, "trials is 1.5; give a whole number"),
        ({"knows": "given"}, "knows is 'given'; give a `gradsiege"),
        ({"resume": 3}, "resume is 3; give the path of a folder"),
        ({"seed": "a"}, "seed is 'a'; give a whole number"),
        (
            {"defense": gs.defenses.Gaussian()},
            r"give knows=gradsiege\.ThreatModel\(disclosure=True\)",
        ),
        ({"defense": gs.defenses.Gaussian}, "defense is <class .*give a defense"),
    ],
)
def test_arguments_that_choose_nothing_are_refused_before_a_client_runs(
    given: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        gs.choose_settings(Planted(), victims(), OWN, OWN_LABELS, **given)
    assert not Planted.runs

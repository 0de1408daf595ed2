"""An evaluation: a row per image, attack and counter, whatever fails in another row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from small_classifiers import ATTACK, small

import gradsiege as gs
from gradsiege import catalogue
from gradsiege.attacks.recipes.inverting_gradients import InvertingGradients
from gradsiege.defenses.base import Defense
from gradsiege.errors import ModelError, StudyError, UsageError
from gradsiege.protocol.local_update import Tensors


@dataclass(frozen=True)
class Nothing(Defense):
    def transform_update(self, update: Tensors, client: Any) -> Tensors:
        return {name: torch.zeros_like(value) for name, value in update.items()}


def test_evaluation_is_a_row_per_image_attack_and_counter() -> None:
    images, labels = torch.rand(4, 3, 16, 16), torch.tensor([0, 1, 2, 3])
    defenses = [None, gs.defenses.Gaussian(sigma=0.1), Nothing()]
    rows = gs.evaluate(small(), images, labels, defenses, [ATTACK], images_per_client=2)
    counters = {"gaussian.likelihood", "gaussian.estimated_likelihood"}
    assert set(rows[rows.defense == "gaussian"].counter) == {"", *counters}
    assert len(rows) == 4 * (1 + 1 + len(counters) + 1)
    assert rows.groupby(["defense", "counter"]).size().eq(4).all()
    assert rows[["client", "image"]].drop_duplicates().values.tolist() == [
        [0, 0],
        [0, 1],
        [1, 0],
        [1, 1],
    ]
    assert rows.psnr[rows.reason == ""].notna().all()


def test_rows_of_an_evaluation_name_the_parameters_that_differ_from_the_defaults() -> None:
    defenses = [gs.defenses.Gaussian(sigma=sigma) for sigma in (0.1, 0.2)]
    attacks = [gs.attacks.InvertingGradients(iterations=count) for count in (2, 4)]
    image, label = torch.rand(1, 3, 16, 16), torch.tensor([0])
    rows = gs.evaluate(small(), image, label, defenses, attacks)
    names = ["defense", "defense_parameters", "attack", "attack_parameters", "counter"]
    assert not rows.duplicated(names).any()
    assert set(rows.defense_parameters) == {"sigma=0.1", "sigma=0.2"}
    assert set(rows.attack_parameters) == {"iterations=2", "iterations=4"}
    switched = gs.defenses.Tip(arm="as_released")
    (row,) = gs.evaluate(small(), image, label, [switched], [ATTACK], adaptive=False).itertuples()
    assert row.defense_parameters == "arm=as_released", "switches that follow the arm are not named"


@dataclass(frozen=True)
class Raises(Defense):
    interrupt: bool = False

    def transform_update(self, update: Tensors, client: Any) -> Tensors:
        raise KeyboardInterrupt if self.interrupt else RuntimeError("planted")


@dataclass(frozen=True)
class Fails(InvertingGradients):
    def recipe(self, knowledge: Any) -> Any:
        raise KeyError("planted")


def test_one_failure_leaves_the_other_rows_of_an_evaluation() -> None:
    images, labels = torch.rand(2, 3, 16, 16), torch.tensor([0, 1])
    rows = gs.evaluate(small(), images, labels, [None, Raises(), Nothing()], [ATTACK, Fails()])
    assert rows.groupby(["defense", "attack"]).size().tolist() == [2] * 6
    reasons = rows.set_index(["defense", "attack"]).reason
    assert set(reasons["Raises"]) == {"RuntimeError: planted"}
    assert set(reasons["none", "Fails"]) == {"KeyError: 'planted'"}
    assert rows.psnr.notna().tolist() == [reason == "" for reason in rows.reason]
    assert rows.psnr.notna().sum() == 2
    assert set(reasons["Nothing", ATTACK.name]) == {"the update is zero everywhere"}
    with pytest.raises(KeyboardInterrupt):
        gs.evaluate(small(), images, labels, [Raises(interrupt=True)], [ATTACK])
    with pytest.raises(ModelError, match="1 labels"):
        gs.evaluate(small(), images, [0], [Raises()], [ATTACK])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"defenses": [Nothing]}, "defenses holds <class"),
        ({"attacks": ["dlg"]}, "attacks holds 'dlg'"),
        ({"attacks": ATTACK}, "attacks is .*; give a list, such as"),
        ({"defenses": Nothing()}, r"defenses is Nothing\(\); give a list, such as \[Nothing\(\)\]"),
        ({"defense": Nothing()}, r"no argument 'defense'; did you mean defenses=\[Nothing\(\)\]\?"),
        ({"attack": [ATTACK]}, r"no argument 'attack'; did you mean attacks=\[Inverting"),
        ({"knows": "given"}, r"knows is 'given'; give a `gradsiege\.ThreatModel`"),
        ({"seed": "a"}, "seed is 'a'; give a whole number"),
        ({"device": "gpu"}, "device 'gpu' is not there"),
    ],
)
def test_an_evaluation_refuses_what_it_cannot_use(given: dict[str, Any], message: str) -> None:
    given = {"defenses": [None], "attacks": [ATTACK], **given}
    with pytest.raises(UsageError, match=message):
        gs.evaluate(small(), torch.rand(1, 3, 16, 16), torch.tensor([0]), **given)


def test_generators_are_read_once_and_meet_each_other() -> None:
    rows = gs.evaluate(
        small(), torch.rand(1, 3, 16, 16), [0], iter([None, Raises()]), (ATTACK for _ in range(2))
    )
    assert list(rows.defense) == ["none", "none", "Raises", "Raises"]


@pytest.mark.parametrize("empty", ["attacks", "defenses"])
def test_an_evaluation_of_nothing_is_refused(empty: str) -> None:
    given: dict[str, Any] = {"attacks": [ATTACK], "defenses": [None], empty: []}
    with pytest.raises(UsageError, match=f"{empty} is empty"):
        gs.evaluate(small(), torch.rand(1, 3, 16, 16), torch.tensor([0]), **given)


def test_columns_of_metrics_are_there_where_every_row_failed() -> None:
    image, label = torch.rand(1, 3, 16, 16), torch.tensor([0])
    failed = gs.evaluate(small(), image, label, [None], [Fails()])
    whole = gs.evaluate(small(), image, label, [None], [ATTACK])
    assert failed.columns.tolist() == whole.columns.tolist()
    assert failed.psnr.isna().all()
    assert failed.reason.tolist() == ["KeyError: 'planted'"]


def test_counters_that_need_several_rounds_are_left_out_of_one_round() -> None:
    image, label = torch.rand(1, 3, 16, 16), torch.tensor([0])
    rows = gs.evaluate(small(), image, label, [gs.defenses.Censor()], [ATTACK])
    assert set(rows.counter) == {
        "",
        *(
            name
            for name in catalogue.entries("counters")
            if name.startswith("censor.") and name != "censor.null_space"
        ),
    }
    assert "ThreatModelError" not in " ".join(rows.reason)


def test_images_that_no_metric_measures_are_refused_before_any_attack() -> None:
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4 * 256, 3))
    with pytest.raises(
        ModelError, match="4 channels, and the image metrics are defined for 1 or 3"
    ):
        gs.evaluate(network, torch.rand(1, 4, 16, 16), [0], [None], [Fails()])


def test_images_in_double_precision_are_measured() -> None:
    images = torch.rand(2, 3, 16, 16, dtype=torch.float64)
    rows = gs.evaluate(small(), images, [0, 1], attacks=[ATTACK])
    assert (rows["reason"] == "").all()
    assert rows["psnr"].notna().all()


def test_reasons_say_in_python_what_to_grant_or_to_give() -> None:
    image, label = torch.rand(1, 3, 16, 16), torch.tensor([0])
    attacks = [gs.attacks.LearnedInversion(iterations=1), gs.attacks.Spear()]
    prior = gs.priors.AuxiliaryImages().fit(torch.rand(4, 3, 16, 16), torch.arange(4))
    rows = gs.evaluate(small(), image, label, [None], attacks, adaptive=False, priors=prior)
    learned, spear = rows.reason
    assert "gradsiege.ThreatModel(protocol=True, disclosure=True)" in learned
    assert "gradsiege.models.MLP" in spear
    assert isinstance(gs.models.MLP().build(5, channels=3, size=16), torch.nn.Module)
    head = [name for name, _ in small().named_parameters()][-2:]
    update = {n: p.detach() for n, p in small().named_parameters() if n not in head}
    with pytest.raises(StudyError, match=r"in Python by gradsiege\.ThreatModel\(labels='given'\)"):
        ATTACK(gs.Observation.of(small(), update, (3, 16, 16)))

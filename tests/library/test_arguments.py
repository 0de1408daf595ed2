"""Arguments of observations and attacks: each that does not fit is named in one sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_classifiers import ATTACK, small
from torch import Tensor, nn

import gradsiege as gs
from gradsiege.defenses.base import Defense
from gradsiege.errors import ModelError, ThreatModelError, UsageError


class WithoutGradient(nn.Linear):
    """A classifier of images [n, 3, 16, 16] that leaves the graph of its weights."""

    def __init__(self) -> None:
        super().__init__(3 * 256, 5)

    def forward(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            return super().forward(images.flatten(1))


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"images": torch.rand(3, 16, 16)}, "give \\[n, channels, height, width\\]"),
    ({"images": torch.rand(1, 1, 16, 16)}, "does not take images of 1 x 16 x 16"),
    ({"images": torch.rand(1, 3, 16, 16) * 255}, "give pixels in \\[0, 1\\]"),
    ({"images": torch.zeros(1, 3, 16, 16, dtype=torch.uint8)}, "divide bytes by 255"),
    (
        {"images": torch.rand(0, 3, 16, 16)},
        "shape \\[0, 3, 16, 16\\], which holds none; give at least one",
    ),
    ({"images": torch.rand(1, 3, 0, 16)}, "which holds none"),
    ({"images": torch.full((1, 3, 16, 16), torch.nan)}, "not finite"),
    ({"labels": torch.tensor([], dtype=torch.long)}, "1 images and 0 labels"),
    ({"labels": []}, "give one whole number per image"),
    ({"labels": torch.tensor([9])}, "label 9 is out of range: the network has 5 classes, 0 to 4"),
    ({"labels": torch.tensor([1, 2])}, "1 images and 2 labels"),
    ({"images_per_client": 2}, "must divide"),
    ({"model": nn.Sequential(nn.Flatten(), nn.LazyLinear(5))}, "has no values yet"),
    ({"model": nn.Flatten()}, "has no weights"),
    ({"model": nn.Conv2d(3, 5, 16)}, "a classifier returns logits"),
    ({"normalisation": ([0.5], [0.5])}, "1 means and 1 standard deviations for images of 3"),
    ({"normalisation": ([0.5] * 3, [0.0] * 3)}, "it must be positive"),
    ({"normalisation": (0.5, 0.5)}, "give two lists of a number per channel"),
    ({"images": "scan.png"}, "images are 'scan.png'; give numbers"),
    ({"images": Path("scan.png")}, "images are PosixPath.*; give numbers"),
    ({"labels": None}, "labels are None; give one whole number per image"),
    ({"labels": ["cat"]}, "labels are \\['cat'\\]; give one whole number per image"),
    ({"images_per_client": 1.0}, "images_per_client is 1.0; give a whole number"),
    ({"training": "fedavg"}, "training is 'fedavg'; give a `gradsiege.LocalTraining`"),
    ({"defense": Defense}, "defense is <class .*give one defense"),
    ({"defense": "gaussian"}, "defense is 'gaussian'; give one defense"),
    ({"defense": [Defense()]}, "give one defense"),
    ({"model": nn.Linear}, "model is a class: give a network, such as its instance"),
    ({"model": torch.relu}, "model is builtin.*: give a torch.nn.Module"),
    ({"model": small().requires_grad_(False)}, "every weight of Sequential is frozen"),
    ({"images_per_client": "1"}, "images_per_client is '1'; give a whole number"),
    ({"normalisation": ([0.5] * 3, [torch.nan] * 3)}, "a number that is not finite"),
    ({"images": torch.full((1, 3, 16, 16), 1.0000002)}, "range from 1.00000024 to 1.00000024"),
    ({"images": torch.rand(1, 3, 16, 16).to_sparse()}, "stored as torch.sparse_coo; give a dense"),
    ({"images": torch.rand(1, 3, 16, 16, device="meta")}, "images have no values"),
    ({"model": nn.Sequential(nn.Flatten(), nn.Linear(768, 1))}, "give two logits per image"),
    ({"model": WithoutGradient()}, "the logits of WithoutGradient have no gradient by its weights"),
    ({"model": nn.Linear(4, 5, dtype=torch.complex64)}, "compute in real numbers"),
    ({"head": "0"}, "head '0' is not a torch.nn.Linear of the network; .*3"),
]


@pytest.mark.parametrize(("changed", "message"), WRONG)
def test_what_does_not_fit_is_one_sentence(changed: dict[str, Any], message: str) -> None:
    right = {"model": small(), "images": torch.rand(1, 3, 16, 16), "labels": torch.tensor([1])}
    with pytest.raises(ModelError, match=message):
        gs.observe(**{**right, **changed})


FEDAVG = ("fedavg", 1, 1, 1, 0.1, "eval")


@pytest.mark.parametrize(
    ("place", "value", "allowed"),
    [
        (0, "foo", "name must be one of fedsgd, fedavg"),
        (2, 0, "batch_size must be a whole number from 1"),
        (3, 0, "epochs must be a whole number from 1"),
        *((4, rate, "learning_rate must be a number above 0") for rate in (0, -0.1, torch.nan)),
        (5, "evl", "mode must be one of train, eval"),
    ],
)
def test_local_training_takes_no_word_or_number_without_a_meaning(
    place: int, value: Any, allowed: str
) -> None:
    arguments: list[Any] = list(FEDAVG)
    arguments[place] = value
    with pytest.raises(ValueError, match=allowed):
        gs.LocalTraining(*arguments)


@pytest.mark.parametrize(("batch", "epochs"), [(1, 1), (4, 3), (5, 1)])
def test_fedsgd_of_several_steps_is_refused(batch: int, epochs: int) -> None:
    with pytest.raises(ValueError, match=r"fedsgd is one step on all images.*or fedavg"):
        gs.LocalTraining("fedsgd", 4, batch, epochs, 0.1, "eval")
    assert gs.LocalTraining("fedsgd", 4, 4, 1, 0.1, "eval").steps == 1


def test_a_word_without_a_meaning_is_refused() -> None:
    update: list[Tensor] = [value.detach() for value in small().parameters()]
    wrong: Any = "guessed"
    with pytest.raises(
        ValueError, match="labels must be one of given, inferred, wrong, not 'guessed'"
    ):
        gs.ThreatModel(labels=wrong)
    with pytest.raises(ModelError, match="choose one of gradient, difference"):
        gs.Observation.of(small(), update, (3, 16, 16), unit="delta")
    with pytest.raises(ModelError, match=r"the learning rate of the clients, .* give `training`"):
        gs.Observation.of(small(), update, (3, 16, 16), unit="difference")


def test_attacks_say_what_they_lack() -> None:
    seen = gs.observe(small(), torch.rand(1, 3, 16, 16), torch.tensor([0]))
    with pytest.raises(ThreatModelError, match="needs a prior of the kind autoencoder"):
        gs.attacks.GiPip()(seen)
    with pytest.raises(
        ThreatModelError, match=r"in Python by gradsiege\.ThreatModel\(candidates=True\)"
    ):
        gs.attacks.Identification()(seen)
    prior = gs.priors.AuxiliaryImages().fit(torch.rand(4, 3, 16, 16), torch.arange(4))
    with pytest.raises(gs.GradSiegeError, match=r"call it through `gradsiege\.evaluate`"):
        gs.attacks.LearnedInversion()(seen, gs.ThreatModel(disclosure=True), prior)
    headless = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.Flatten(), nn.Linear(4 * 49, 5, bias=False))
    without = gs.observe(headless, torch.rand(1, 3, 16, 16), [0])
    with pytest.raises(gs.GradSiegeError, match="the bias of the last layer, and '2' has no bias"):
        replace(ATTACK, label_rule="bias_corrected")(without)
    with pytest.raises(ThreatModelError, match="needs protocol"):
        ATTACK(seen, gs.ThreatModel(protocol=False))
    with pytest.raises(UsageError, match="device 'gpu' is not there"):
        ATTACK(seen, device="gpu")
    with pytest.raises(ValueError, match="iterations must be a whole number"):
        gs.attacks.InvertingGradients(iterations=0)
    with pytest.raises(AttributeError, match="did you mean 'InvertingGradients'"):
        _ = gs.attacks.InvertingGradient


def test_an_attack_says_which_argument_is_of_another_kind(tmp_path: Path) -> None:
    images: Any = torch.rand(1, 3, 16, 16)
    word: Any = "labels"
    seen = gs.observe(small(), images, torch.tensor([0]))
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="called with an observation, not with Tensor"):
        ATTACK(images)
    with pytest.raises(UsageError, match=r"knows is 'labels'; give a `gradsiege\.ThreatModel`"):
        ATTACK(seen, word)
    with pytest.raises(UsageError, match="which is a file; give a folder"):
        ATTACK(seen, resume=tmp_path / "file")
    number: Any = 3
    with pytest.raises(UsageError, match="resume is 3; give the path of a folder"):
        ATTACK(seen, resume=number)
    with pytest.raises(gs.GradSiegeError, match=r"unknown name 'tip\.foo' in counters"):
        replace(ATTACK, counter="tip.foo")(seen)
    update: Any = [value.detach() for value in small().parameters()]
    side: Any = 32
    with pytest.raises(ModelError, match="image_shape is 32; give three whole numbers"):
        gs.Observation.of(small(), update, side)


def test_a_device_of_torch_and_numbers_of_numpy_are_taken() -> None:
    attack = gs.attacks.InvertingGradients(iterations=np.int64(3), total_variation=np.float32(0.5))
    assert type(attack.iterations) is int
    assert attack.total_variation == 0.5
    defense = gs.defenses.Gaussian(sigma=np.float64(0.1))
    seen = gs.observe(small(), torch.rand(1, 3, 16, 16), torch.tensor([0]), defense)
    assert type(defense.disclosure()["sigma"]) is float
    assert torch.equal(
        attack(seen, device=torch.device("cpu")).images, attack(seen, device="cpu").images
    )


def test_seeds_and_functions_of_another_kind_are_named(tmp_path: Path) -> None:
    image: Any = torch.rand(1, 3, 16, 16)
    wrong: Any
    for wrong in ("a", None, 1.5, True):
        with pytest.raises(UsageError, match=f"seed is {wrong!r}; give a whole number"):
            gs.observe(small(), image, [0], seed=wrong)
    seen = gs.observe(small(), image, [0], seed=int(np.int64(3)))
    wrong = 3
    for call, message in (
        (lambda: ATTACK(seen, simulate=wrong), "simulate is 3; give a function"),
        (lambda: ATTACK(seen, seed="a"), "seed is 'a'"),
        (lambda: gs.audit(small(), image, [0], tell=wrong), "tell is 3; give a function"),
        (lambda: gs.audit(small(), image, [0], resume=wrong), "resume is 3; give the path"),
        (lambda: seen.with_candidates(wrong), "candidates is 3; give a tensor of images"),
    ):
        with pytest.raises(UsageError, match=message):
            call()


def test_a_threat_model_takes_no_argument_without_its_name() -> None:
    wrong: Any = "given"
    with pytest.raises(TypeError, match="positional argument"):
        gs.ThreatModel(wrong)


def test_a_parameter_out_of_its_range_names_the_class_as_users_write_it() -> None:
    for build, name in (
        (lambda: gs.attacks.InvertingGradients(iterations=0), "gradsiege.attacks.InvertingGr"),
        (lambda: gs.defenses.Gaussian(sigma=-1), "gradsiege.defenses.Gaussian: sigma"),
        (lambda: gs.ThreatModel(rounds=0), "gradsiege.ThreatModel: rounds"),
        (lambda: gs.LocalTraining("fedavg", 0, 1, 1, 0.1, "eval"), "gradsiege.LocalTraining: im"),
    ):
        with pytest.raises(ValueError, match=f"^{name}"):
            build()


def test_an_array_that_is_read_backwards_is_taken() -> None:
    image = np.random.default_rng(0).random((1, 3, 16, 16), dtype=np.float32)
    turned = gs.observe(small(), image[:, :, ::-1], [0])
    copied = gs.observe(small(), image[:, :, ::-1].copy(), [0])
    assert all(torch.equal(turned.update[name], copied.update[name]) for name in copied.update)


@pytest.mark.parametrize(
    ("pretrained", "message"),
    [
        ("nope.safetensors", r"no file 'nope\.safetensors'; .*ShadowGenerator\(\)\.fit"),
        (Path("nope.safetensors"), r"no file 'nope\.safetensors'; .*ShadowGenerator\(\)\.fit"),
        (3, "pretrained is 3; give what"),
        (gs.priors.ShadowGenerator(), "pretrained is ShadowGenerator"),
    ],
)
def test_the_generator_of_shadow_is_a_trained_one(pretrained: Any, message: str) -> None:
    defense = gs.defenses.Shadow(pretrained=pretrained)
    with pytest.raises(gs.GradSiegeError, match=message):
        gs.observe(small(), torch.rand(1, 3, 16, 16), [0], defense)

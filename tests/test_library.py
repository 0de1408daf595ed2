"""The way in for those who work in Python: any classifier, updates from elsewhere, attacks that are called."""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torchvision.models.convnext import CNBlockConfig

import gradsiege as gs
from gradsiege.attacks.progress import LoopCheckpointer
from gradsiege.defenses.base import Defense
from gradsiege.errors import ArtifactError, ModelError, ThreatModelError, UsageError
from gradsiege.models.adapted import adapt
from gradsiege.protocol.local_update import Tensors, split_state

ATTACK = gs.attacks.InvertingGradients(iterations=3)


class Odd(nn.Module):
    """Grey, not square; batch norms of one and two dimensions, group norm, dropout; tied and unused weights, a head without bias."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.groups, self.dropout = nn.GroupNorm(2, 4), nn.Dropout(0.5)
        self.flat, self.tied = nn.BatchNorm1d(4 * 16), nn.Linear(64, 64)
        self.unused, self.fc = nn.Linear(3, 3), nn.Linear(64, 5, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.adaptive_avg_pool2d(self.groups(self.first(x)), 4).flatten(1)
        x = self.dropout(self.flat(x))
        found: Tensor = self.fc(torch.relu(self.tied(torch.relu(self.tied(x)))))
        return found


class WithLogits(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = small()

    def forward(self, x: Tensor) -> Any:
        @dataclass
        class Output:
            logits: Tensor

        return Output(self.network(x))


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 49, 5))


def unbiased(network: nn.Module) -> nn.Module:
    for part in network.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            part.register_parameter("bias", None)
    return network


NETWORKS: dict[str, tuple[Any, tuple[int, int, int]]] = {
    "resnet18": (lambda: torchvision.models.resnet18(num_classes=5), (3, 32, 32)),
    "densenet": (
        lambda: torchvision.models.DenseNet(8, (2, 2), 16, num_classes=5),
        (3, 32, 32),
    ),
    "mobilenet_v3_small": (
        lambda: torchvision.models.mobilenet_v3_small(num_classes=5),
        (3, 32, 32),
    ),
    "vision transformer": (
        lambda: torchvision.models.VisionTransformer(16, 8, 1, 2, 16, 32, num_classes=5),
        (3, 16, 16),
    ),
    "convnext": (
        lambda: torchvision.models.ConvNeXt(
            [CNBlockConfig(8, 16, 1), CNBlockConfig(16, None, 1)], num_classes=5
        ),
        (3, 32, 32),
    ),
    "odd": (Odd, (1, 18, 30)),
    "logits": (WithLogits, (3, 16, 16)),
    "no norm, no bias": (lambda: unbiased(small()), (3, 16, 16)),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("engine", ["loop", "vmap", "factored"])
def test_any_classifier_is_attacked_by_every_engine(name: str, engine: str) -> None:
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    network, images = make().eval(), torch.rand(2, *shape)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    seen = gs.observe(network, images, torch.tensor([1, 4]))
    found = ATTACK(seen, gs.ThreatModel(labels="given"), engine=engine)
    assert found.images.shape == images.shape
    assert found.matching_loss.isfinite().all()
    assert not found.failures
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def narrow_vgg16() -> nn.Module:
    """All of VGG16 but the width of its two hidden linear layers: in full they take a minute and 7 GB."""
    network = torchvision.models.vgg16()
    network.classifier[0], network.classifier[3] = nn.Linear(512 * 49, 64), nn.Linear(64, 64)
    network.classifier[6] = nn.Linear(64, 5)
    return network


PUBLISHED: dict[str, Any] = {
    "resnet18": lambda: torchvision.models.resnet18(num_classes=5),
    "vgg16": narrow_vgg16,
    "densenet121": lambda: torchvision.models.densenet121(num_classes=5),
    "mobilenet_v3_small": lambda: torchvision.models.mobilenet_v3_small(num_classes=5),
    "vit_b_16": lambda: torchvision.models.vit_b_16(image_size=32, num_classes=5),
    "convnext_tiny": lambda: torchvision.models.convnext_tiny(num_classes=5),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_architecture_is_attacked_blindly(name: str) -> None:
    torch.manual_seed(0)
    network, image = PUBLISHED[name]().eval(), torch.rand(1, 3, 32, 32)
    seen = gs.observe(network, image, torch.tensor([3]))
    found = replace(ATTACK, iterations=2)(seen, engine="loop")
    assert found.labels.tolist() == [3]
    assert found.images.shape == image.shape
    assert found.matching_loss.isfinite().all()
    assert not found.failures


@pytest.mark.parametrize("name", NETWORKS)
def test_labels_are_inferred_from_any_classifier(name: str) -> None:
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    network, images, labels = make().eval(), torch.rand(2, *shape), torch.tensor([1, 4])
    seen = gs.observe(network, images, labels)
    assert torch.equal(replace(ATTACK, iterations=2)(seen, engine="loop").labels, labels)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_adapted_network_has_the_logits_and_the_gradient_of_the_original(name: str) -> None:
    make, shape = NETWORKS[name]
    torch.manual_seed(1)
    network, image, label = make().eval().double(), torch.rand(1, *shape), torch.tensor([2])
    logits = network(image.double())
    logits = getattr(logits, "logits", logits)
    wanted = torch.autograd.grad(
        F.cross_entropy(logits, label), list(network.parameters()), materialize_grads=True
    )
    seen = gs.observe(network, image, label)
    names = [key for key, _ in network.named_parameters()]
    for key, value in zip(names, wanted, strict=True):
        assert torch.allclose(seen.update[f"body.{key}"][0], value, rtol=1e-6, atol=1e-10), key


def test_batch_norm_in_train_mode_writes_into_nothing_and_dropout_draws_from_the_client() -> None:
    images, labels = torch.rand(4, 1, 18, 30), torch.tensor([0, 1, 2, 3])
    training = gs.LocalTraining("fedsgd", 4, 4, 1, 0.1, "train")
    state = torch.get_rng_state()
    torch.manual_seed(3)
    network = Odd()
    torch.set_rng_state(state)
    one, same, other = (
        gs.observe(network, images, labels, images_per_client=4, training=training, seed=seed)
        for seed in (0, 0, 1)
    )
    key = "body.fc.weight"
    assert torch.equal(one.update[key], same.update[key])
    assert not torch.equal(one.update[key], other.update[key])
    assert torch.equal(state, torch.get_rng_state())
    mean = network.get_buffer("first.1.running_mean")
    assert torch.equal(one.buffers["body.first.1.running_mean"], mean)
    assert not mean.any()


def test_normalisation_is_the_attackers_too() -> None:
    network, image = small(), torch.rand(1, 3, 16, 16)
    mean, std = [0.4, 0.5, 0.6], [0.2, 0.3, 0.4]
    scaled = (image - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    seen = gs.observe(network, image, torch.tensor([1]), normalisation=(mean, std))
    loss = F.cross_entropy(network(scaled), torch.tensor([1]))
    wanted = torch.autograd.grad(loss, list(network.parameters()))
    for value, own in zip(wanted, seen.update.values(), strict=True):
        assert torch.allclose(own[0], value, atol=1e-6)


def test_an_update_that_was_recorded_is_what_observing_gives() -> None:
    network, image = small(), torch.rand(1, 3, 16, 16)
    seen = gs.observe(network, image, torch.tensor([3]))
    loss = F.cross_entropy(network(image), torch.tensor([3]))
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    names = [name for name, _ in network.named_parameters()]
    named = {name: value.numpy() for name, value in zip(names, gradients, strict=True)}
    rate = 0.25
    training = gs.LocalTraining("fedsgd", 1, 1, 1, rate, "eval")
    moved = {name: -rate * value for name, value in named.items()}
    for given, more in (
        (named, {}),
        (list(gradients), {}),
        ({name: np.stack([value]) for name, value in named.items()}, {}),
        (moved, {"unit": "difference", "training": training}),
    ):
        found = gs.Observation.of(network, given, (3, 16, 16), **more)
        for key, value in seen.update.items():
            assert torch.allclose(found.update[key], value, atol=1e-6)
    assert torch.equal(
        ATTACK(gs.Observation.of(network, named, (3, 16, 16))).labels, torch.tensor([3])
    )


def test_a_run_that_was_left_goes_on_with_the_same_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = gs.observe(small(), torch.rand(2, 3, 16, 16), torch.tensor([0, 1]))
    attack = replace(ATTACK, iterations=12)
    whole = attack(seen, engine="loop")
    monkeypatch.setattr("gradsiege.attacks.progress.SECONDS_BETWEEN_SAVES", 0.0)
    pause = LoopCheckpointer.pause

    def leave(self: LoopCheckpointer, state: Any) -> None:
        pause(self, state)
        if state.iteration == 7:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LoopCheckpointer, "pause", leave)
        with pytest.raises(KeyboardInterrupt):
            attack(seen, engine="loop", resume=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(ArtifactError, match="the progress of another attack"):
        attack(seen, engine="loop", seed=1, resume=tmp_path)
    resumed = attack(seen, engine="loop", resume=tmp_path)
    assert torch.equal(resumed.images, whole.images)
    assert not list(tmp_path.iterdir())
    assert {"iteration", "victim", "restart", "matching_loss"} == set(whole.trace().columns)


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
    # No counter was written for the third, and the generic one lacks images.
    strange = {"", "generic.learned_reliability"}
    assert set(rows[rows.defense == "Nothing"].counter) == strange
    assert len(rows) == 4 * (1 + 1 + len(counters) + len(strange))
    assert rows.groupby(["defense", "counter"]).size().eq(4).all()
    assert rows[["client", "image"]].drop_duplicates().values.tolist() == [
        [0, 0],
        [0, 1],
        [1, 0],
        [1, 1],
    ]
    assert rows.psnr[rows.reason == ""].notna().all()


@dataclass(frozen=True)
class Returning(Defense):
    """Makes of an update what `make` makes of it, and spoils the global model in passing."""

    make: Any = None

    def __post_init__(self) -> None:
        """Take any function."""

    def transform_update(self, update: Tensors, client: Any) -> Any:
        for value in client.parameters.values():
            value.zero_()
        return self.make(update)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda update: None, "transform_update returns NoneType"),
        (lambda update: list(update.values()), "returns list"),
        (lambda update: dict(list(update.items())[1:]), "returns no 'body.0.weight'"),
        (
            lambda update: {**update, "more": torch.ones(1)},
            "returns 'more', which it was not given",
        ),
        (
            lambda update: {**update, "body.3.bias": torch.ones(4)},
            "returns \\[4\\] for 'body.3.bias'; return a tensor of shape \\[5\\]",
        ),
        (lambda update: {**update, "body.3.bias": 0.0}, "returns float for 'body.3.bias'"),
    ],
)
def test_an_output_of_a_defense_that_does_not_fit_is_one_sentence(make: Any, said: str) -> None:
    with pytest.raises(ModelError, match=f"Returning.*{said}"):
        gs.observe(small(), torch.rand(1, 3, 16, 16), torch.tensor([1]), Returning(make))


def test_a_batch_of_a_defense_that_does_not_fit_is_one_sentence() -> None:
    class Fewer(Defense):
        def transform_batch(self, images: Tensor, labels: Tensor, step: Any, client: Any) -> Any:
            return images, labels[1:]

    with pytest.raises(ModelError, match=r"Fewer\.transform_batch .* two tensors of equal length"):
        gs.observe(small(), torch.rand(1, 3, 16, 16), torch.tensor([1]), Fewer())


def test_a_defense_that_writes_into_its_copy_of_the_model_leaves_the_observed_one() -> None:
    network = small()
    defense = Returning(lambda update: update)
    seen = gs.observe(network, torch.rand(2, 3, 16, 16), torch.tensor([1, 2]), defense)
    for name, value in network.named_parameters():
        assert torch.equal(seen.parameters[f"body.{name}"], value)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_the_callers_gradient_mode_changes_nothing(mode: Any) -> None:
    images, labels = torch.rand(1, 3, 16, 16), torch.tensor([1])
    wanted = ATTACK(gs.observe(small(), images, labels)).images
    with mode():
        found = ATTACK(gs.observe(small(), images * 1, labels)).images
    assert torch.equal(found, wanted)


def test_a_network_in_float64_is_attacked_in_float32() -> None:
    images, labels = torch.rand(1, 3, 16, 16).double(), torch.tensor([1])
    seen = gs.observe(small().double(), images, labels)
    assert seen.update["body.0.weight"].dtype == torch.float64
    found = ATTACK(seen)
    assert found.images.dtype == torch.float32
    assert found.labels.tolist() == [1]
    assert torch.equal(found.images, ATTACK(seen.to(torch.device("cpu"), torch.float32)).images)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_network_of_too_few_digits_is_one_sentence(dtype: torch.dtype) -> None:
    with pytest.raises(ModelError, match=f"the weight 0.weight holds {dtype}; .*float32"):
        gs.observe(small().to(dtype), torch.rand(1, 3, 16, 16), torch.tensor([1]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a second device is an NVIDIA GPU")
def test_a_network_on_another_device_gives_the_same_observation() -> None:
    images, labels = torch.rand(1, 3, 16, 16), torch.tensor([1])
    defense = gs.defenses.Gaussian(sigma=0.1)
    wanted = gs.observe(small(), images, labels, defense)
    seen = gs.observe(small().cuda(), images.cuda(), labels.cuda(), defense)
    assert all(torch.equal(seen.update[name], value) for name, value in wanted.update.items())


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
class Fails(gs.attacks.InvertingGradients):  # type: ignore[misc, name-defined]
    def recipe(self, knowledge: Any) -> Any:
        raise KeyError("planted")


def test_one_failure_leaves_the_other_rows_of_an_evaluation() -> None:
    images, labels = torch.rand(2, 3, 16, 16), torch.tensor([0, 1])
    rows = gs.evaluate(small(), images, labels, [None, Raises(), Nothing()], [ATTACK, Fails()])
    assert rows.groupby(["defense", "attack"]).size().tolist() == [4, 4, 2, 2, 2, 2]
    reasons = rows.set_index(["defense", "attack"]).reason
    assert set(reasons["Raises"]) == {"RuntimeError: planted"}
    assert set(reasons["none", "Fails"]) == {"KeyError: 'planted'"}
    assert rows.psnr.notna().tolist() == [reason == "" for reason in rows.reason]
    assert rows.psnr.notna().sum() == 4
    with pytest.raises(KeyboardInterrupt):
        gs.evaluate(small(), images, labels, [Raises(interrupt=True)], [ATTACK])
    with pytest.raises(ModelError, match="1 labels"):
        gs.evaluate(small(), images, [0], [Raises()], [ATTACK])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"defenses": [Nothing]}, "defenses holds <class"),
        ({"attacks": ["dlg"]}, "attacks holds 'dlg'"),
        ({"device": "gpu"}, "device 'gpu' is not there"),
    ],
)
def test_an_evaluation_refuses_what_it_cannot_use(given: dict[str, Any], message: str) -> None:
    given = {"defenses": [None], "attacks": [ATTACK], **given}
    with pytest.raises(UsageError, match=message):
        gs.evaluate(small(), torch.rand(1, 3, 16, 16), torch.tensor([0]), **given)


def public() -> tuple[Tensor, Tensor]:
    """Twelve images that an attacker has."""
    return torch.rand(12, 3, 16, 16, generator=torch.Generator().manual_seed(1)), torch.arange(
        12
    ) % 5


def test_a_prior_is_trained_in_a_line_and_handed_over_alone_or_in_a_list() -> None:
    images, labels = public()
    prior = gs.priors.PCA(components=3).fit(images, labels, seed=1)
    assert isinstance(prior, gs.priors.TrainedPrior)
    again = gs.priors.PCA(components=3).fit(images.double().numpy(), labels.tolist(), seed=1)
    assert torch.allclose(prior.weights["components"], again.weights["components"], atol=1e-6)
    assert prior.card["held_out"] == 1
    seen = gs.observe(small(), torch.rand(1, 3, 16, 16), torch.tensor([0]))
    attack = gs.attacks.GiPip(iterations=2)
    alone, listed = attack(seen, priors=prior), attack(seen, priors=[prior])
    assert torch.equal(alone.images, listed.images)


@pytest.mark.parametrize(
    ("attack", "priors", "message"),
    [
        (gs.attacks.GiPip(), lambda p: gs.priors.PCA(), "pca is not trained: give what PCA"),
        (gs.attacks.GiPip(), lambda p: p.weights, "dict is not a trained prior"),
        (gs.attacks.GiPip(), lambda p: [], r"priors=gradsiege.priors.Autoencoder\(\).fit\(images"),
        (gs.attacks.Ggl(), lambda p: p, "has no use for the prior pca: it uses staged_gan or"),
        (gs.attacks.Dlg(), lambda p: p, "dlg has no use for the prior pca: it uses none"),
        (gs.attacks.GiPip(), lambda p: p, r"pca does not take images of shape \[3, 20, 20\]"),
    ],
)
def test_priors_that_do_not_fit_are_one_sentence(attack: Any, priors: Any, message: str) -> None:
    trained = gs.priors.PCA(components=2).fit(*public())
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 20 * 20, 5))
    seen = gs.observe(network, torch.rand(1, 3, 20, 20), torch.tensor([0]))
    with pytest.raises((ThreatModelError, UsageError), match=message):
        attack(seen, priors=priors(trained))


@pytest.mark.parametrize(
    ("prior", "change", "message"),
    [
        (gs.priors.PCA(), lambda x, y: (x[0], y), r"pca: images have shape \[3, 16, 16\]"),
        (gs.priors.PCA(), lambda x, y: (x * 255, y), "outside \\[0, 1\\]"),
        (gs.priors.PCA(), lambda x, y: (x, y[:3]), r"labels have shape \[3\]"),
        (gs.priors.PCA(), lambda x, y: (x, None), "labels is NoneType"),
        (gs.priors.PCA(), lambda x, y: (x[:1], y[:1]), "1 images are too few, at least 2"),
        (gs.priors.PCA(fraction=0.1), lambda x, y: (x, y), "1 images are too few"),
        (gs.priors.StagedGAN(), lambda x, y: (x[..., :15], y), "staged_gan needs"),
    ],
)
def test_images_that_a_prior_cannot_learn_from_are_one_sentence(
    prior: Any, change: Any, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        prior.fit(*change(*public()))


def test_attacks_with_priors_are_evaluated_and_simulate_their_own_clients() -> None:
    known = public()
    priors = [
        gs.priors.PCA(components=2).fit(*known),
        gs.priors.AuxiliaryImages().fit(*known),
        gs.priors.StagedGAN(latent=4, width=4, discriminator_width=4, steps=1, batch_size=4).fit(
            *known
        ),
    ]
    attacks = [
        gs.attacks.GiPip(iterations=1),
        gs.attacks.Gias(iterations=2),
        gs.attacks.Ggl(iterations=1, population=4),
        gs.attacks.Gifd(iterations=4),
        gs.attacks.LearnedInversion(iterations=2, updates=6),
        ATTACK,
    ]
    image, label = torch.rand(1, 3, 16, 16), torch.tensor([0])
    defenses, informed = [None, gs.defenses.Gaussian()], gs.ThreatModel(disclosure=True)
    more = {"knows": informed, "adaptive": False, "device": "cpu"}
    rows = gs.evaluate(small(), image, label, defenses, attacks, priors=priors, **more)
    assert rows.reason.tolist() == [""] * 12
    assert rows.psnr.notna().all()
    with pytest.raises(UsageError, match="no attack uses the prior pca"):
        gs.evaluate(small(), image, label, defenses, [ATTACK], priors=priors[0])


OFFERED = {
    "metrics": {"table"},
    "priors": {"PCA", "TrainedPrior"},
    "models": {"LeNet"},
    "datasets": {"CIFAR10"},
    "attacks": {"Dlg"},
    "defenses": {"TopK"},
}


@pytest.mark.parametrize("package", OFFERED)
def test_dir_lists_what_is_offered(package: str) -> None:
    assert package in dir(gs)
    module = getattr(gs, package)
    names = dir(module)
    assert set(names) >= OFFERED[package]
    assert not {"Any", "annotations", "catalogue"} & set(names)
    assert all(getattr(module, name).__module__.startswith("gradsiege") for name in names)


@pytest.mark.parametrize("empty", ["attacks", "defenses"])
def test_an_evaluation_of_nothing_is_refused(empty: str) -> None:
    given: dict[str, Any] = {"attacks": [ATTACK], "defenses": [None], empty: []}
    with pytest.raises(UsageError, match=f"{empty} is empty"):
        gs.evaluate(small(), torch.rand(1, 3, 16, 16), torch.tensor([0]), **given)


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
    ({"head": "0"}, "head '0' is not a torch.nn.Linear of the network; .*3"),
]


@pytest.mark.parametrize(("changed", "said"), WRONG)
def test_what_does_not_fit_is_one_sentence(changed: dict[str, Any], said: str) -> None:
    right = {"model": small(), "images": torch.rand(1, 3, 16, 16), "labels": torch.tensor([1])}
    with pytest.raises(ModelError, match=said):
        gs.observe(**{**right, **changed})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda update: {**update, "4.weight": update["3.weight"]}, "'4.weight', .* did you mean"),
        (lambda update: {**update, "3.bias": np.zeros(4)}, "has shape \\[4\\], .* has \\[5\\]"),
        (lambda update: list(update.values())[:2], "a list of 2 tensors, and the network has 4"),
        (lambda update: {}, "the update is empty"),
        (lambda update: {**update, "3.bias": np.arange(5)}, "not floating-point"),
        (lambda update: None, "the update is NoneType: give a mapping"),
        (lambda update: "update.npz", "the update is str: give a mapping"),
    ],
)
def test_an_update_that_does_not_fit_is_one_sentence(change: Any, said: str) -> None:
    parameters, _ = split_state(small())
    update = {name: value.numpy() for name, value in parameters.items()}
    with pytest.raises(ModelError, match=said):
        gs.Observation.of(small(), change(update), (3, 16, 16))


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


def test_a_word_without_a_meaning_is_refused() -> None:
    update: list[Tensor] = [value.detach() for value in small().parameters()]
    wrong: Any = "guessed"
    with pytest.raises(ValueError, match="labels must be one of given, inferred, not 'guessed'"):
        gs.ThreatModel(labels=wrong)
    with pytest.raises(ModelError, match="choose one of gradient, difference"):
        gs.Observation.of(small(), update, (3, 16, 16), unit="delta")
    with pytest.raises(ModelError, match=r"the learning rate of the clients, .* give `training`"):
        gs.Observation.of(small(), update, (3, 16, 16), unit="difference")


def test_labels_that_are_granted_and_absent_are_not_inferred() -> None:
    update: list[Tensor] = [value.detach() for value in small().parameters()]
    seen = gs.Observation.of(small(), update, (3, 16, 16))
    with pytest.raises(ThreatModelError, match="the observation holds none: give `labels`"):
        ATTACK(seen, gs.ThreatModel(labels="given"))


def test_an_update_that_is_not_finite_fails_alone() -> None:
    seen = gs.observe(small(), torch.rand(2, 3, 16, 16), torch.tensor([0, 1]))
    update = {name.removeprefix("body."): value.clone() for name, value in seen.update.items()}
    update["3.bias"][1, 0] = torch.nan
    found = ATTACK(gs.Observation.of(small(), update, (3, 16, 16)))
    assert set(found.failures) == {1}


def test_attacks_say_what_they_lack() -> None:
    seen = gs.observe(small(), torch.rand(1, 3, 16, 16), torch.tensor([0]))
    with pytest.raises(ThreatModelError, match="needs a prior of the kind autoencoder"):
        gs.attacks.GiPip()(seen)
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


@pytest.mark.parametrize("observed", [True, False])
def test_a_head_that_is_not_found_can_be_named(observed: bool) -> None:
    class Tempered(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = small()

        def forward(self, x: Tensor) -> Tensor:
            scaled: Tensor = self.network(x) / 2
            return scaled

    network, image, label = Tempered(), torch.rand(1, 3, 16, 16), torch.tensor([3])
    loss = F.cross_entropy(network(image), label)
    update = list(torch.autograd.grad(loss, list(network.parameters())))

    def seen(**more: Any) -> gs.Observation:
        if observed:
            return gs.observe(network, image, label, **more)
        return gs.Observation.of(network, update, (3, 16, 16), **more)

    with pytest.raises(gs.GradSiegeError, match=r"Grant the labels .* or name a linear layer"):
        ATTACK(seen())
    assert ATTACK(seen(head="network.3")).labels.tolist() == [3]


def test_recorded_updates_are_observed_by_keywords_that_help_shows() -> None:
    from gradsiege.protocol.recorded import recorded

    shown = inspect.signature(gs.Observation.of).parameters
    wanted = inspect.signature(recorded).parameters
    assert list(shown) == list(wanted)
    assert [shown[name].default for name in shown] == [wanted[name].default for name in wanted]


def test_the_network_itself_is_left_as_it_is() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(4 * 196, 2)
    )
    adapt(network, (3, 16, 16))
    assert network[1].inplace
    assert type(network[1]) is nn.ReLU


def test_metrics_table_is_the_function_whatever_was_imported_before() -> None:
    image = torch.rand(1, 3, 16, 16)
    for _ in range(2):
        assert gs.evaluate
        assert gs.metrics.table(image, image).mse[0] == 0


@pytest.mark.parametrize(
    "kind", [Tensor.numpy, Tensor.tolist, Tensor.double, Tensor.half, lambda image: image]
)
def test_metrics_take_every_kind_of_images_that_observe_takes(kind: Any) -> None:
    image = torch.full((1, 3, 16, 16), 0.5)
    gs.observe(small(), kind(image), [1])
    assert gs.metrics.table(image + 0.25, kind(image)).mse[0] == 0.0625
    assert gs.metrics.table(kind(image), image + 0.25).mse[0] == 0.0625


def test_importing_the_package_loads_no_heavy_library() -> None:
    code = "import sys, gradsiege as gs; gs.attacks; gs.defenses; gs.metrics; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

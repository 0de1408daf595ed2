"""Learning To Invert: planted answers are learned, noise is told from what a defense left, and a killed run ends alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gradsiege import artifacts
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.learned.hashing import Hashing, log_lengths
from gradsiege.attacks.learned.inverter import (
    Examples,
    Training,
    plan,
    prepared,
    relevance,
)
from gradsiege.attacks.learned.kernel import RIDGES, WIDTHS, KernelRegression
from gradsiege.attacks.recipes import learned_inversion
from gradsiege.attacks.recipes.learned_inversion import REQUIRES, LearnedInversion
from gradsiege.datasets import prepare
from gradsiege.errors import GradSiegeError, StudyError, ThreatModelError
from gradsiege.federated.simulation import simulator
from gradsiege.pipeline.cells import cells
from gradsiege.pipeline.jobs import Job
from gradsiege.pipeline.stage import STAGES
from gradsiege.priors import auxiliary_images
from gradsiege.priors.base import TrainedPrior
from gradsiege.protocol.reconstruction import Reconstruction
from gradsiege.protocol.threat_model import ThreatModel, require
from gradsiege.study import Study, parse

Scenes = Callable[..., Any]
SMALL = LearnedInversion(
    updates=200,
    bins=400,
    learner="perceptron",
    width=32,
    dropout=0.0,
    learning_rate=1e-2,
    batch_size=32,
)


def family(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images of two numbers: how much there is of each of two patterns; the first, if it is the larger, is the class."""
    patterns = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    patterns = torch.nn.functional.interpolate(patterns, (16, 16), mode="bilinear")
    amounts = torch.rand(count, 2, generator=torch.Generator().manual_seed(seed))
    return torch.einsum("np,pchw->nchw", amounts, patterns) / 2, amounts.argmax(1)


def prior_of(images: Tensor, labels: Tensor) -> TrainedPrior:
    settings = auxiliary_images.AuxiliaryImages()
    weights, card = settings.train(images, labels, torch.Generator())
    return TrainedPrior("auxiliary_images", weights, card)


def inverted(scene: Any, aux: tuple[Tensor, Tensor], iterations: int = 150) -> Reconstruction:
    """Attack the members of the family that no auxiliary image is."""
    threat = ThreatModel(id="informed", disclosure=True)
    knowledge = Knowledge(scene.seen, threat, (prior_of(*aux),))
    attack = replace(SMALL, iterations=iterations)
    return attack.learn(knowledge, simulator(scene.seen, 0, 1), ("cell", "attack"))


def of_family(scene: Any, aux: tuple[Tensor, Tensor], seed: int = 5) -> tuple[Any, Tensor]:
    """The scene with victims of the family instead of its own, defended by clients with draws of their own."""
    truth, labels = family(4, seed)
    clients = simulator(scene.seen, 0, 1)
    updates = [
        clients(truth[n : n + 1], labels[n : n + 1], torch.Generator().manual_seed(90 + n))
        for n in range(4)
    ]
    update = {name: torch.stack([one[name] for one in updates]) for name in updates[0]}
    return replace(scene, seen=replace(scene.seen, update=update)), truth


@pytest.mark.parametrize(
    ("defense", "settings"), [("none", {}), ("gaussian", {"sigma": 0.001}), ("sign", {})]
)
def test_what_a_defense_leaves_is_learned(
    defense: str, settings: dict[str, Any], defended: Scenes
) -> None:
    aux = family(100, 1)
    scene, truth = of_family(defended(defense, settings, shape={"width": 4}), aux)
    found = inverted(scene, aux)
    means = torch.stack([aux[0][aux[1] == label].mean(0) for label in found.labels.flatten()])
    error = (found.images[:, 0] - truth).square().flatten(1).mean(1)
    by_class = (means - truth).square().flatten(1).mean(1)
    assert error.mean() < by_class.mean() / 2
    assert found.matching_loss.isfinite().all()
    # The value in place of a matching loss was measured on held-out images, so all victims share it.
    assert found.matching_loss.unique().numel() == 1


def test_lengths_tell_what_directions_do_not() -> None:
    """Planted: the first number of an image is the length of one tensor, and every direction is noise."""
    images, labels = family(300, 1)
    amounts = (images - images.mean(0)).flatten(1)
    score = torch.linalg.svd(amounts, full_matrices=False).U[:, 0] * 300**0.5
    generator = torch.Generator().manual_seed(2)
    updates = [
        {"a": torch.exp(value) * F.normalize(torch.randn(40, generator=generator), dim=0)}
        for value in score
    ]
    hashing = Hashing.draw(updates[0], 40, torch.Generator().manual_seed(3))
    errors = {}
    for lengths in (False, True):
        rows = [
            torch.cat([hashing(update), log_lengths(update)]) if lengths else hashing(update)
            for update in updates
        ]
        examples = plan(images, labels, 300, len(rows[0]))
        examples.features.copy_(torch.stack(rows))
        training = Training(examples, torch.stack(rows[:2]), 16, 1e-2, 32, 0.0, 100, ("s",))
        for number in range(100):
            training.step(number)
        errors[lengths] = float(training.looks.min())
    assert errors[True] < 0.5 * errors[False]


def test_the_kernel_regression_agrees_with_a_solution_by_hand_and_takes_the_best_choice() -> None:
    images, labels = family(60, 1)
    examples = plan(images, labels, 60, 5)
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(images[0].numel(), 5, generator=generator)
    examples.features.copy_((examples.images - images.mean(0)).flatten(1) @ mixing)
    observed = examples.features[:2] + 0.01
    learner = KernelRegression(examples, observed, ("s",))
    learner.step(0)
    features, asked, usable = prepared(examples, observed)
    known, asked = features[usable].double(), asked.double()
    unit = torch.cdist(known, known).square().median()
    choice = int(learner.looks.argmin())
    width, ridge = WIDTHS[choice // len(RIDGES)], RIDGES[choice % len(RIDGES)]

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return torch.exp(-torch.cdist(a, b).square() / (2 * width * unit))

    flat = examples.images[usable].double().flatten(1)
    mean = flat.mean(0)
    matrix = kernel(known, known) + ridge * torch.eye(len(usable))
    expected = mean + kernel(asked, known) @ torch.linalg.solve(matrix, flat - mean)
    torch.testing.assert_close(
        learner.answers.flatten(1).double(), expected.clamp(0, 1), rtol=0, atol=1e-5
    )
    # The mean image is the answer to nothing learned.
    held = examples.images[: examples.held]
    assert learner.looks.min() < (held - mean.view_as(held[0])).square().mean() / 10


def test_without_a_defense_it_beats_the_mean_image_of_the_class_on_photographs(
    defended: Scenes,
) -> None:
    """The attack as it stands, but for 250 clients instead of 1,500: its failures elsewhere then say something of the defense."""
    splits = prepare("photos", 16, {"aux": 250, "tune": 8, "victims": 8}, 0, {}, None).splits
    (aux, classes), (truth, labels) = (
        (torch.from_numpy(split.images) / 255, torch.from_numpy(split.labels))
        for split in (splits["aux"], splits["tune"])
    )
    scene = defended("none", shape={"width": 4})
    clients = simulator(scene.seen, 0, 1)
    updates = [
        clients(truth[n : n + 1], labels[n : n + 1], torch.Generator()) for n in range(len(truth))
    ]
    seen = replace(scene.seen, update={k: torch.stack([u[k] for u in updates]) for k in updates[0]})
    knowledge = Knowledge(seen, ThreatModel(id="i", disclosure=True), (prior_of(aux, classes),))
    attack = LearnedInversion(updates=250)
    found = attack.learn(knowledge, simulator(seen, 0, 1), ("cell", "attack"))
    means = torch.stack([aux[classes == label].mean(0) for label in labels])

    def psnr(images: Tensor) -> float:
        errors = (images - truth).square().flatten(1).mean(1)
        return float(-10 * errors.log10().mean())

    assert psnr(found.images[:, 0]) > psnr(means) + 1.5


def test_features_are_directions_and_the_logarithms_of_lengths(
    defended: Scenes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the learner is given of a victim, computed by hand but for the hashing."""
    aux = family(20, 1)
    scene = defended("none", shape={"width": 4})
    given: list[Tensor] = []

    def learner(examples: Examples, observed: Tensor, seed: tuple[object, ...]) -> KernelRegression:
        given.append(observed)
        return KernelRegression(examples, observed, seed)

    monkeypatch.setattr(learned_inversion, "KernelRegression", learner)
    knowledge = Knowledge(scene.seen, ThreatModel(id="i", disclosure=True), (prior_of(*aux),))
    attack = LearnedInversion(updates=20, bins=100)
    attack.learn(knowledge, simulator(scene.seen, 0, 1), ("cell",))
    lengths = [value.flatten(1).norm(dim=1).log() for value in scene.seen.update.values()]
    torch.testing.assert_close(given[0][:, -len(lengths) :], torch.stack(lengths, 1))
    assert given[0].shape[1] > len(lengths) + 50


def test_equal_seeds_give_equal_bytes_and_other_seeds_do_not(defended: Scenes) -> None:
    aux = family(20, 1)
    scene = defended("gaussian", {"sigma": 0.1}, shape={"width": 4})
    knowledge = Knowledge(scene.seen, ThreatModel(id="i", disclosure=True), (prior_of(*aux),))
    simulate = simulator(scene.seen, 0, 1)
    few = replace(SMALL, updates=20, iterations=5)
    one, same, other = (few.learn(knowledge, simulate, (seed,)) for seed in ("a", "a", "b"))
    assert torch.equal(one.images, same.images)
    assert not torch.equal(one.images, other.images)
    assert [step for step, _ in one.trace] == list(range(5))


def test_the_step_is_chosen_by_held_out_images() -> None:
    """The answers are those of the best look so far, whatever was trained after it."""
    images, labels = family(24, 1)
    examples = plan(images, labels, 24, 50)
    examples.features.copy_(torch.randn(24, 50, generator=torch.Generator().manual_seed(3)))
    training = Training(examples, torch.randn(2, 50), 64, 1e-2, 8, 0.0, 50, ("s",))
    measured = []
    for number in range(50):
        training.step(number)
        measured.append(training.answers.clone())
    best = int(training.looks.argmin())
    assert torch.equal(training.answers, measured[best])
    last = training.network(training._ready[1]).clamp(0, 1)
    assert torch.equal(training.answers, last) == (best == 49)
    training.looks.fill_(0.0)
    training.step(49)
    assert torch.equal(training.answers, measured[49]), "no look was better than a perfect one"


def test_noise_weighs_nothing_and_what_is_left_weighs_all() -> None:
    """Planted: two of 500 features tell the images, the others are noise."""
    images, _ = family(400, 1)
    patterns = torch.linalg.svd((images - images.mean(0)).flatten(1), full_matrices=False).U[:, :2]
    features = torch.randn(400, 500, generator=torch.Generator().manual_seed(1))
    features[:, :2] = patterns * 400**0.5
    found = relevance(features, images)
    assert found[:2].sum() == pytest.approx(1, abs=0.05)
    assert found[2:].max() < 0.05
    assert (found[2:] == 0).float().mean() > 0.9


def test_features_that_never_vary_say_nothing_and_broken_updates_are_no_examples() -> None:
    images, labels = family(30, 1)
    features = torch.randn(30, 8, generator=torch.Generator().manual_seed(0))
    features[:, 3], features[9] = 7.0, torch.nan
    examples = Examples(features, images, labels, 3)
    own, observed, usable = prepared(examples, torch.full((2, 8), 9.0))
    assert 9 not in usable
    assert usable.min() == 3
    assert not own[usable][:, 3].any()
    assert not observed[:, 3].any()
    features[:3] = torch.nan
    with pytest.raises(GradSiegeError, match="simulated clients' updates are not finite"):
        prepared(examples, observed)


def test_hashing_keeps_tensors_apart_and_inner_products() -> None:
    def draw(seed: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return {
            "weight": torch.randn(50, 100, generator=generator),
            "bias": torch.randn(8, generator=generator),
        }

    one, other = draw(0), draw(1)
    other["weight"] = one["weight"] + 0.5 * other["weight"]
    hashing = Hashing.draw(one, 1000, torch.Generator().manual_seed(2))
    assert hashing.widths == {"weight": 998, "bias": 8}
    # Few coordinates keep a bin each: the head's bias tells the class whatever noise lies on all else.
    assert torch.allclose(hashing(one)[998:], one["bias"] / one["bias"].norm())
    apart = hashing({**one, "bias": other["bias"]}) - hashing(one)
    assert not apart[:998].any()
    assert torch.allclose(hashing({k: -3 * v for k, v in one.items()}), -hashing(one))
    inner = hashing(one)[:998] @ hashing(other)[:998]
    true = torch.nn.functional.cosine_similarity(
        one["weight"].flatten(), other["weight"].flatten(), dim=0
    )
    assert inner == pytest.approx(float(true), abs=0.1)


def test_images_take_turns_and_held_out_ones_are_shown_once() -> None:
    images, labels = torch.rand(10, 3, 4, 4), torch.arange(10)
    examples = plan(images, labels, 25, 2)
    assert examples.labels.tolist() == [0, *range(1, 10), *range(1, 10), *range(1, 7)]
    assert torch.equal(examples.images[10], images[1].flip(2))
    assert torch.equal(examples.images[19], images[1])
    with pytest.raises(StudyError, match="two updates and two auxiliary images"):
        plan(images, labels, 2, 2)


def test_what_is_missing_is_named(defended: Scenes) -> None:
    scene = defended("none", shape={"width": 4})
    simulate = simulator(scene.seen, 0, 1)
    with pytest.raises(ThreatModelError, match="needs a prior of the kind auxiliary_images"):
        SMALL.learn(scene.knowledge, simulate, ("s",))
    several = replace(scene.seen, images_per_client=2)
    with pytest.raises(StudyError, match="one image, not of 2"):
        SMALL.learn(Knowledge(several, scene.knowledge.threat), simulate, ("s",))
    for threat in (
        ThreatModel(id="blind"),
        ThreatModel(id="poor", disclosure=True, auxiliary=False),
    ):
        with pytest.raises(ThreatModelError, match=r"needs .*, which the threat model"):
            require(threat, REQUIRES, "learned_inversion")


@pytest.fixture
def learning(tiny_raw: dict[str, Any]) -> Study:
    """The tiny study with the learned attack alone."""
    settings = {
        "updates": 30,
        "bins": 100,
        "learner": "perceptron",
        "width": 8,
        "batch_size": 4,
    }
    return parse(
        tiny_raw
        | {
            "threat_models": [{"id": "blind"}, {"id": "informed", "disclosure": True}],
            "training_stages": ["untrained"],
            "priors": ["auxiliary_images"],
            "attacks": [
                {
                    "name": "learned_inversion",
                    "iterations": 10,
                    "prior": "auxiliary_images",
                    "parameters": settings,
                }
            ],
            "figures": [],
        }
    )


def test_a_cell_that_is_left_anywhere_ends_with_the_same_bytes(
    learning: Study, verb: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(learning.model_dump_json(exclude_defaults=True))
    (cell,) = (one for one in cells(learning)["attack"] if one.defense == "gaussian")
    where = ("--study", file, "--root", tmp_path)
    for other in (cell.at("fetch"), cell.at("federate"), cell.at("observe")):
        assert verb(other.stage, other.key, *where) == 0
    prior = cell.at("prior", prior="auxiliary_images")
    assert verb("prior", prior.key, *where) == 0
    assert verb("attack", cell.key, *where) == 0
    outputs = [cell.folder(learning, tmp_path) / name for name in STAGES["attack"].outputs]
    straight = [path.read_bytes() for path in outputs]
    assert artifacts.read_manifest(outputs[0].parent)["notes"]["evaluations"] == 40
    # It leaves among the simulated clients, then among the training steps, then it ends.
    stops = iter([*[False] * 12, True, *[False] * 21, True])
    monkeypatch.setattr(Job, "should_stop", lambda job: next(stops, False))
    assert [verb("attack", cell.key, *where) for _ in range(3)] == [75, 75, 0]
    assert [path.read_bytes() for path in outputs] == straight


def test_it_meets_every_defense_where_it_is_disclosed_and_none_elsewhere(learning: Study) -> None:
    met = {(cell.defense, cell.threat_model) for cell in cells(learning)["attack"]}
    assert met == {("none", "informed"), ("gaussian", "informed")}

"""Every recipe runs, lowers its matching loss, and does what its paper says it does."""

from dataclasses import replace

import pytest
import torch

from gradsiege import catalogue, priors
from gradsiege.attacks import recipes
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.objectives.regularizers import (
    Candidate,
    batch_norm_statistics,
    double_opponent_total_variation,
    head_features,
    total_variation,
)
from gradsiege.attacks.recipe import Recipe
from gradsiege.attacks.reconstruct import reconstruct
from gradsiege.errors import ThreatModelError
from gradsiege.models import ModelSpec, build
from gradsiege.priors import autoencoder
from gradsiege.priors.base import TrainedPrior
from gradsiege.priors.class_conditional_gaussian import ClassConditionalGaussian
from gradsiege.protocol.local_update import LocalTraining, local_update, split_state
from gradsiege.protocol.observation import Observation, stacked
from gradsiege.protocol.threat_model import ThreatModel

torch.set_num_threads(1)
SHAPES = {"convnet": {"width": 4}, "lenet": {"channels": 12, "initial_range": 0.5}}
# At a dozen iterations GradInversion's own weights let its priors win over the matching.
TOY = {"gradinversion": {"matching": 1.0, "batch_norm": "off", "warm_up": 0}}


def smooth(count: int, side: int = 16) -> torch.Tensor:
    coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)


def observe(name: str, victims: int = 2, images: int = 1) -> tuple[Observation, torch.Tensor]:
    spec = ModelSpec(name, SHAPES[name], 10, 3, 16)
    model = build(spec, torch.Generator().manual_seed(1))
    parameters, buffers = split_state(model)
    truth = smooth(victims * images).view(victims, images, 3, 16, 16)
    labels = torch.arange(victims * images).view(victims, images)
    training = LocalTraining("fedsgd", images, images, 1, 0.1, "eval")
    updates = [
        local_update(model, parameters, buffers, x, y, training)[0]
        for x, y in zip(truth, labels, strict=True)
    ]
    update = stacked(updates)
    return Observation.of_updates(spec, parameters, buffers, update, training), truth


def small_prior() -> TrainedPrior:
    weights, card = autoencoder.Autoencoder(epochs=2).train(
        smooth(40), torch.zeros(40), torch.Generator().manual_seed(0)
    )
    return TrainedPrior("autoencoder", weights, card)


def small_gaussian() -> TrainedPrior:
    return ClassConditionalGaussian().fit(smooth(40), torch.arange(40) % 10)


PIXEL_RECIPES = [
    name
    for name, entry in catalogue.entries("attacks").items()
    if not {"prior:staged_gan", "prior:auxiliary_images", "prior:denoiser", "candidates"}
    & set(entry.requires)
    # It solves equations instead of optimising, and has tests of its own.
    and name != "spear"
]


@pytest.mark.parametrize("name", PIXEL_RECIPES)
@pytest.mark.parametrize("model", ["lenet", "convnet"])
def test_every_recipe_lowers_its_matching_loss(name: str, model: str) -> None:
    entry = catalogue.entries("attacks")[name]
    seen, _ = observe(model)
    knowledge = Knowledge(seen, ThreatModel(id="t"), (small_prior(), small_gaussian()))
    for arm in entry.arms:
        recipe = recipes.build(name, entry.validate(TOY.get(name, {}), "test"), arm, 12, knowledge)
        found = reconstruct(knowledge, recipe, 2, ("s",))
        assert found.images.shape == (2, 1, 3, 16, 16)
        assert found.images.min() >= 0
        assert found.images.max() <= 1
        first = found.trace[0][1].amin(1)
        assert (found.matching_loss <= first).all()
        assert (found.matching_loss < first).any()


def test_dlg_recovers_images_and_labels_of_its_own_network() -> None:
    """On the sigmoid network that the paper attacks, matching alone finds image and label."""
    seen, truth = observe("lenet", victims=3)
    knowledge = Knowledge(seen, ThreatModel(id="t"))
    recipe = recipes.build("dlg", {}, "faithful", 300, knowledge)
    found = reconstruct(knowledge, recipe, 2, ("s",))
    errors = (found.images - truth).square().flatten(1).mean(1)
    floor = (torch.rand(truth.shape) - truth).square().flatten(1).mean(1)
    assert (errors < floor / 10).sum() >= 2
    solved = errors < floor / 10
    assert torch.equal(found.labels[solved, 0], torch.arange(3)[solved])


def test_inferred_labels_are_used_when_none_are_given() -> None:
    seen, _ = observe("convnet")
    knowledge = Knowledge(seen, ThreatModel(id="t"))
    recipe = recipes.build("inverting_gradients", {}, "faithful", 1, knowledge)
    assert reconstruct(knowledge, recipe, 1, ("s",)).labels.flatten().tolist() == [0, 1]


def test_gi_pip_refuses_to_run_without_its_prior() -> None:
    seen, _ = observe("convnet")
    with pytest.raises(ThreatModelError, match="autoencoder"):
        recipes.build("gi_pip", {}, "faithful", 1, Knowledge(seen, ThreatModel(id="t")))


@pytest.mark.parametrize("kind", ["denoising_autoencoder", "pca"])
def test_gi_pip_takes_a_control_for_its_prior(kind: str) -> None:
    """The score that is added is the control's own reconstruction error against its own typical one."""
    budget = {"components": 3} if kind == "pca" else {"epochs": 1}
    weights, card = priors.build(kind, budget).train(
        smooth(40), torch.zeros(40), torch.Generator().manual_seed(0)
    )
    seen, truth = observe("convnet")
    prior = TrainedPrior(kind, weights, card)
    (stage,) = recipes.build(
        "gi_pip", {}, "faithful", 4, Knowledge(seen, ThreatModel(id="t"), (prior,))
    ).phases
    candidate = Candidate(truth[0], truth[0], torch.tensor([0]), {})
    error = float((priors.load(kind, weights)(truth[0]) - truth[0]).square().mean())
    expected = abs(error - card["held_out_error_mean"])
    assert abs(float(stage.regularizers[1][1](candidate)) - expected) < 1e-7
    found = reconstruct(Knowledge(seen, ThreatModel(id="t"), (prior,)), Recipe((stage,)), 1, ("s",))
    assert (found.matching_loss < found.trace[0][1][:, 0]).all()


def test_gi_pip_without_anomaly_score_knows_total_variation_alone() -> None:
    seen, _ = observe("convnet")
    knowledge = Knowledge(seen, ThreatModel(id="t"), (small_prior(),))
    (stage,) = recipes.build("gi_pip", {"anomaly_score": 0.0}, "faithful", 4, knowledge).phases
    assert stage.regularizers == ((1e-6, total_variation),)


def test_head_features_vanish_at_the_truth() -> None:
    seen, truth = observe("convnet")
    model = build(seen.model)
    term = head_features(
        model, Knowledge(seen, ThreatModel(id="t")).head, seen.parameters, seen.buffers
    )
    observed = {name: value[0] for name, value in seen.update.items()}
    at_truth = Candidate(truth[0], truth[0], torch.tensor([0]), observed)
    elsewhere = Candidate(truth[1], truth[1], torch.tensor([0]), observed)
    assert term(at_truth) < 1e-8
    assert term(elsewhere) > 1e-4


def test_batch_norm_term_vanishes_when_the_statistics_are_the_batch_s_own() -> None:
    seen, _ = observe("convnet")
    model = build(seen.model).train()
    images = smooth(6)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    parameters, buffers = split_state(model)
    state = {**parameters, **buffers}
    torch.func.functional_call(model, state, (images,))
    own = {name: state[name] for name in buffers}
    candidate = Candidate(images, images, torch.zeros(6), {})
    # Inner layers see eval-mode inputs, which now equal the train-mode ones up to the variance's n / (n - 1).
    assert batch_norm_statistics(model.eval(), parameters, own, False)(candidate) < 0.02
    assert batch_norm_statistics(model.eval(), parameters, buffers, False)(candidate) > 0.5


def test_double_opponents_add_colour_differences_and_leave_grey_alone() -> None:
    grey = smooth(1).mean(1, keepdim=True).expand(1, 3, 16, 16)

    def variation(images: torch.Tensor) -> torch.Tensor:
        return double_opponent_total_variation(Candidate(images, images, torch.zeros(1), {}))

    # Three of six channels are flat.
    torch.testing.assert_close(variation(grey), variation(grey[:, :1]) / 2)
    colour = smooth(1)
    planes = torch.stack([variation(colour[:, channel : channel + 1]) for channel in range(3)])
    assert variation(colour) > planes.mean() / 2 * 1.05


def test_group_consistency_pulls_restarts_together() -> None:
    seen, _ = observe("convnet")
    knowledge = Knowledge(seen, ThreatModel(id="t"))
    spread = {}
    for weight in (0.0, 100.0):
        parameters = {"group": weight, "group_first": 2, "group_every": 2, "langevin": 0.0}
        attack = recipes.attack("gradinversion", parameters, iterations=30, restarts=3)
        recipe = attack.recipe(knowledge)
        ends: list[torch.Tensor] = []
        reconstruct(
            knowledge,
            recipe,
            3,
            ("s",),
            pause=lambda state, ends=ends: ends.append(state.x["x"].clone()),
        )
        spread[weight] = float(ends[-1].view(2, 3, -1).std(1).mean())
    assert spread[100.0] < 0.7 * spread[0.0]


def test_langevin_noise_is_seeded() -> None:
    seen, _ = observe("convnet")
    knowledge = Knowledge(seen, ThreatModel(id="t"))
    recipe = recipes.build("gradinversion", {"langevin": 0.5}, "faithful", 5, knowledge)
    first = reconstruct(knowledge, recipe, 1, ("s",))
    assert torch.equal(first.images, reconstruct(knowledge, recipe, 1, ("s",)).images)
    assert not torch.equal(first.images, reconstruct(knowledge, recipe, 1, ("t",)).images)


def test_unrolling_fedavg_matches_exactly_where_one_gradient_cannot() -> None:
    """At the truth the unrolled update has no error; the single gradient at theta_t has one."""
    from gradsiege.attacks.engine.objective import Problem, element_cost

    spec = ModelSpec("convnet", SHAPES["convnet"], 10, 3, 16)
    model = build(spec, torch.Generator().manual_seed(1))
    parameters, buffers = split_state(model)
    truth, labels = smooth(4), torch.arange(4)
    training = LocalTraining("fedavg", 4, 1, 1, 0.1, "eval")
    update, _ = local_update(model, parameters, buffers, truth, labels, training)
    seen = Observation.of_updates(spec, parameters, buffers, stacked([update]), training)
    knowledge = Knowledge(seen, ThreatModel(id="t"))
    (stage,) = recipes.build("inverting_gradients", {}, "faithful", 1, knowledge).phases
    x = {"x": (truth - stage.space.mean[:, None, None]) / stage.space.deviation[:, None, None]}
    losses = {}
    for update_model in ("unroll", "gradient"):
        changed = replace(stage, update_model=update_model)
        cost = element_cost(Problem(model, seen, training, changed))
        losses[update_model] = float(cost(x, labels, update, torch.zeros(4, 3, 16, 16), {})[1])
    assert abs(losses["unroll"]) < 1e-5
    assert losses["gradient"] > 1e-3


def test_private_batch_statistics_need_a_grant_and_vanish_at_the_truth() -> None:
    from gradsiege.protocol.layer_inputs import batch_statistics
    from gradsiege.protocol.threat_model import strip

    seen, truth = observe("convnet")
    model = build(seen.model)
    state = {**seen.parameters, **seen.buffers}
    statistics = [batch_statistics(model, state, images) for images in truth]
    seen = replace(
        seen, statistics={k: torch.stack([one[k] for one in statistics]) for k in statistics[0]}
    )
    parameters = {"batch_norm": "private", "total_variation": 0.0, "l2": 0.0}
    knowledge = Knowledge(seen, ThreatModel(id="t"))
    with pytest.raises(ThreatModelError, match="batch_statistics"):
        recipes.build("gradinversion", parameters, "faithful", 5, knowledge)
    assert strip(seen, ThreatModel(id="t")).statistics == {}

    granted = ThreatModel(id="t", batch_statistics=True)
    knowledge = Knowledge(strip(seen, granted), granted)
    (stage,) = recipes.build("gradinversion", parameters, "faithful", 5, knowledge).phases
    (term,) = [term for weight, term in stage.regularizers if weight == 0.1]
    own = {name: value[0] for name, value in seen.statistics.items()}
    at_truth = Candidate(truth[0], truth[0], torch.zeros(1), {}, {}, own)
    elsewhere = Candidate(truth[0], 1 - truth[0], torch.zeros(1), {}, {}, own)
    assert term(at_truth) < 1e-5
    assert term(elsewhere) > 0.1
    assert torch.isfinite(
        reconstruct(
            knowledge,
            recipes.build("gradinversion", parameters, "faithful", 5, knowledge),
            1,
            ("s",),
        ).matching_loss
    ).all()

"""What an attacker who knows TIP gets back: the noised channels, exactly clean kernel means, the clean tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from gradsiege.attacks.counters import agp, tip
from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.attacks.objectives.distances import cosine
from gradsiege.attacks.objectives.regularizers import Candidate, revealed_features
from gradsiege.attacks.recipe import Phase, Recipe
from gradsiege.attacks.recipes import build
from gradsiege.attacks.reconstruct import reconstruct
from gradsiege.errors import ThreatModelError
from gradsiege.priors.autoencoder import AutoencoderNetwork
from gradsiege.priors.base import TrainedPrior

Scenes = Callable[..., Any]
# The clipping bound scales the noise and must not touch the gradient, so that what differs is noise.
WEAK = {"clip": 50.0, "epsilon": 200.0}


def plan(scene: Any) -> AttackPlan:
    recipe = build("inverting_gradients", {}, "faithful", 1, scene.knowledge)
    return AttackPlan(scene.knowledge, recipe).with_labels()


def first(phase_of: Recipe) -> Phase:
    return phase_of.phases[0]


def planted(scene: Any, name: str) -> Tensor:
    """Which channels ``[victims, out]`` the defense did change."""
    difference = (scene.seen.update[name] - scene.clean[name]).abs()
    return difference.flatten(2).sum(2) > 0


def distance_at_truth(informed: AttackPlan, scene: Any) -> Tensor:
    distance = first(informed.recipe).distance
    rows = [
        distance(
            {name: value[victim] for name, value in scene.clean.items()},
            {name: value[victim] for name, value in informed.update.items()},
        )
        for victim in range(len(scene.truth))
    ]
    return torch.stack(rows)


@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.6])
@pytest.mark.parametrize("images", [1, 4])
def test_the_noised_channels_are_found(ratio: float, images: int, defended: Scenes) -> None:
    # Each of several ranking images brings its share of the noise alone.
    settings = {**WEAK, "ratio": ratio, "epsilon": WEAK["epsilon"] / images**2}
    scene = defended("tip", settings, images=images)
    start = plan(scene)
    informed = tip.drop_flagged_channels(start)
    for name in tip.spatial_kernels(scene.seen.update):
        truth = planted(scene, name)
        scores = tip.channel_norms(scene.seen.update[name])
        if not truth.all():
            assert roc_auc_score(truth.flatten(), scores.flatten()) == 1.0
        least = tip.noised_channels(start, truth.shape[1])
        assert torch.equal(tip.flagged(scores, least, images), truth)
        assert not informed.update[name][truth].any()


def test_what_is_left_of_the_update_is_the_true_one(defended: Scenes) -> None:
    scene = defended("tip", WEAK)
    informed = tip.drop_flagged_channels(plan(scene))
    for name, value in informed.update.items():
        kept = value != 0
        assert torch.equal(value[kept], scene.clean[name][kept])
        assert kept.any()


def test_kernel_means_of_a_defended_update_are_those_of_the_undefended_one(
    defended: Scenes,
) -> None:
    scene = defended("tip", {"epsilon": 0.01})
    for name in tip.spatial_kernels(scene.seen.update):
        seen, clean = scene.seen.update[name], scene.clean[name]
        noise = float((seen - clean).abs().max())
        assert noise > 10 * float(clean.abs().max())
        error = (tip.kernel_means(seen) - tip.kernel_means(clean)).abs().max()
        assert error < 1e-6 * noise


def test_every_answer_brings_the_truth_back_to_a_small_distance(defended: Scenes) -> None:
    scene = defended("tip", {**WEAK, "epsilon": 10.0})
    plain = cosine(
        {name: value[0] for name, value in scene.clean.items()},
        {name: value[0] for name, value in scene.seen.update.items()},
    )
    assert plain > 0.5
    start = plan(scene)
    for idea in (tip.drop_flagged_channels, tip.keep_kernel_means, tip.clean_tensors):
        assert (distance_at_truth(idea(start), scene).abs() < 1e-6).all()
    assert (distance_at_truth(tip.whitened(start), scene) < 0.02).all()


def test_whitening_weighs_by_both_variances() -> None:
    """Planted: a thousand weights per channel, signal of deviation 1, noise of deviation 3 on two channels of eight."""
    generator = torch.Generator().manual_seed(0)
    value = torch.randn(8, 1000, 3, 3, generator=generator)
    value[:2] += 3 * torch.randn(2, 1000, 3, 3, generator=generator)
    weights = tip.noise_weights(tip.channel_norms(value), 2, 1)
    torch.testing.assert_close(weights[:2], torch.full((2,), 10**-0.5), rtol=0.03, atol=0)
    assert torch.equal(weights[2:], torch.ones(6))


def test_a_control_that_noises_every_channel_leaves_no_kernel(defended: Scenes) -> None:
    scene = defended("tip", {**WEAK, "ratio": 1.0})
    stated = {**scene.seen.disclosure, "ratio": 0.1, "selection": "all"}
    informed = tip.drop_flagged_channels(
        plan(replace(scene, seen=replace(scene.seen, disclosure=stated)))
    )
    assert not any(informed.update[name].any() for name in tip.spatial_kernels(scene.clean))


@pytest.mark.parametrize("model", ["convnet", "resnet18"])
def test_clean_tensors_are_exactly_those_without_noise(model: str, defended: Scenes) -> None:
    scene = defended("tip", WEAK, model=model)
    kept = tip.clean_tensors(plan(scene)).update
    for name, value in scene.seen.update.items():
        assert torch.equal(value, scene.clean[name]) == (name in kept)
    narrow = [name for name, value in kept.items() if value.dim() == 5]
    assert bool(narrow) == (model == "resnet18")


def test_kernel_means_are_refused_where_the_noise_has_one(defended: Scenes) -> None:
    scene = defended("tip", {"rho": 0.0})
    for idea in (tip.keep_kernel_means, tip.whitened):
        with pytest.raises(ThreatModelError, match=r"rho 0\.0"):
            idea(plan(scene))
    control = replace(scene.seen, disclosure={**scene.seen.disclosure, "spectrum": "dc"})
    with pytest.raises(ThreatModelError, match="spectrum 'dc'"):
        tip.keep_kernel_means(plan(replace(scene, seen=control)))


def test_agps_clean_channels_are_found(defended: Scenes) -> None:
    """Planted: a quarter of the last convolution's channels is clean, all other channels have one noise."""
    scene = defended("none", victims=3)
    generator = torch.Generator().manual_seed(0)
    names = agp.convolutions(scene.clean)
    clean = {name: torch.zeros(scene.clean[name].shape[:2], dtype=torch.bool) for name in names}
    clean[names[-1]][:, :8] = True
    update = dict(scene.clean)
    for name in names:
        noise = torch.randn(update[name].shape, generator=generator)
        update[name] = update[name] + noise * ~clean[name][..., None, None, None]
    disclosure = {"defense": "agp"}
    scene = replace(scene, seen=replace(scene.seen, update=update, disclosure=disclosure))
    informed = agp.drop_flagged_channels(plan(scene))
    for name in names:
        expected = torch.where(clean[name][..., None, None, None], scene.clean[name], 0)
        assert torch.equal(informed.update[name], expected)
    kept = agp.clean_tensors(plan(scene)).update
    assert set(scene.clean) - set(kept) == set(names)


@pytest.mark.parametrize("model", ["convnet", "resnet18"])
def test_the_head_reveals_its_input_exactly_under_any_noise(model: str, defended: Scenes) -> None:
    scene = defended("tip", {"epsilon": 0.01}, model=model)
    informed = tip.head_features(plan(scene))
    seen = informed.knowledge.observation
    network = scene.knowledge.model()
    network.load_state_dict({**seen.parameters, **seen.buffers})
    inputs = []
    head = network.get_submodule("body.head")
    handle = head.register_forward_hook(
        lambda module, arguments, output: inputs.append(arguments[0])
    )
    with torch.no_grad():
        network(scene.truth[:, 0])
    handle.remove()
    weight, term = first(informed.recipe).regularizers[-1]
    assert weight > 0
    for victim, features in enumerate(inputs[0]):
        update = {name: value[victim] for name, value in informed.update.items()}
        label = scene.labels[victim]
        torch.testing.assert_close(
            revealed_features(update, scene.knowledge.head, label)[0],
            features,
            rtol=1e-5,
            atol=1e-5,
        )
        truth = Candidate(scene.truth[victim], scene.truth[victim], label, update)
        other = replace(truth, images=scene.truth[1 - victim])
        assert float(term(truth)) < 1e-10 < 1e-5 < float(term(other))
    dropped = tip.drop_flagged_channels(plan(scene))
    assert all(torch.equal(value, dropped.update[name]) for name, value in informed.update.items())


def test_features_of_several_images_or_steps_are_refused(defended: Scenes) -> None:
    with pytest.raises(ThreatModelError, match="not of 4 images in 1 local steps"):
        tip.head_features(plan(defended("tip", WEAK, images=4)))
    with pytest.raises(ThreatModelError, match="2 images in 2 local steps"):
        tip.head_features(plan(defended("tip", WEAK, images=2, steps=2)))


def test_a_counter_of_tip_stands_beside_a_generative_prior(defended: Scenes) -> None:
    """GI-PIP with its autoencoder matches what the counter leaves, and keeps its anomaly score."""
    scene = defended("tip", WEAK)
    card = {"held_out_error_mean": 0.01}
    prior = TrainedPrior("autoencoder", dict(AutoencoderNetwork().state_dict()), card)
    knowledge = replace(scene.knowledge, priors=(prior,))
    settings = {"total_variation": 0.0, "anomaly_score": 0.1}
    plain = AttackPlan(knowledge, build("gi_pip", settings, "faithful", 8, knowledge)).with_labels()
    informed = tip.drop_flagged_channels(plain)
    assert first(informed.recipe).regularizers == first(plain.recipe).regularizers != ()
    found = reconstruct(informed.knowledge, informed.recipe, 1, ("s",))
    losses = [float(loss.mean()) for _, loss in found.trace]
    assert losses[-1] < losses[0] - 0.05

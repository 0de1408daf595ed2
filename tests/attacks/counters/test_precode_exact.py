"""PRECODE hides nothing of a single image: the encoder's bias gradient is all that its draw changes for earlier layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.func import functional_call

from gradsiege.attacks import counters
from gradsiege.attacks.counters import precode
from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.attacks.engine.compiled import traced
from gradsiege.attacks.engine.engines import ENGINES
from gradsiege.attacks.engine.objective import Evaluate, Evaluation, Problem, Target
from gradsiege.attacks.objectives.distances import cosine, squared_l2
from gradsiege.attacks.objectives.known_gradient import layer_output
from gradsiege.attacks.recipes.inverting_gradients import InvertingGradients
from gradsiege.errors import ThreatModelError
from gradsiege.models import build
from gradsiege.protocol.local_update import Tensors
from gradsiege.protocol.threat_model import ThreatModel

Scenes = Callable[..., Any]
ENCODER = "body.head.bottleneck.encoder"


def informed(scene: Any) -> AttackPlan:
    attack = InvertingGradients(iterations=3)
    return counters.apply(
        "precode.exact", AttackPlan(scene.knowledge, attack.recipe(scene.knowledge))
    )


def problem_at(plan: AttackPlan, images: torch.Tensor) -> tuple[Problem, Tensors, Target]:
    """The plan's problem, with candidate images ``[victims, 1, c, h, w]``."""
    seen = plan.knowledge.observation
    assert seen.labels is not None
    assert seen.training is not None
    model = build(seen.model).to(images.dtype)
    _, mean, deviation = plan.knowledge.pixel_arguments()
    x = {"x": (images - mean[:, None, None]) / deviation[:, None, None]}
    target = Target(seen.labels, seen.update, torch.zeros_like(images), {})
    return Problem(model, seen, seen.training, plan.recipe.phases[0]), x, target


def by_hand(scene: Any, images: torch.Tensor, victim: int) -> Tensors:
    """A candidate's gradients by the chain rule: W^T delta goes back through the features, delta f(x)^T is the encoder's."""
    seen = scene.seen
    update = {name: value[victim] for name, value in seen.update.items()}
    model = build(seen.model).double()
    delta = update[f"{ENCODER}.bias"]
    # h by least squares from delta h^T, and what reaches it on the way back.
    back = seen.parameters[f"{ENCODER}.weight"].T @ delta
    earlier = {k: v.clone().requires_grad_() for k, v in seen.parameters.items() if "head" not in k}

    def features(weights: Tensors) -> torch.Tensor:
        state = {**seen.parameters, **seen.buffers, **weights}
        output: torch.Tensor = functional_call(model, state, (images[victim],))
        assert output.shape == (1, 10)
        return layer_output_input(model, state, images[victim])

    found = features(earlier)
    gradients = torch.autograd.grad((found[0] * back).sum(), list(earlier.values()))
    return {
        **dict(zip(earlier, gradients, strict=True)),
        f"{ENCODER}.weight": torch.outer(delta, found[0].detach()),
        f"{ENCODER}.bias": delta,
    }


def layer_output_input(
    model: torch.nn.Module, state: Tensors, images: torch.Tensor
) -> torch.Tensor:
    """The features in front of the bottleneck, by the layers themselves."""
    normalised = functional_call(
        model.get_submodule("normalisation"), part(state, "normalisation."), (images,)
    )
    output: torch.Tensor = functional_call(
        model.get_submodule("body.features"), part(state, "body.features."), (normalised,)
    )
    return output.flatten(1)


def part(state: Tensors, prefix: str) -> Tensors:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def test_at_the_truth_nothing_is_left_to_match_and_the_label_is_right(defended: Scenes) -> None:
    scene = defended("precode", {"units": 16}, victims=6).double()
    plan = informed(scene)
    assert torch.equal(plan.knowledge.observation.labels, scene.labels)
    problem, x, target = problem_at(plan, scene.truth)
    _, right = ENGINES["loop"](problem)(x, target)
    _, wrong = ENGINES["loop"](problem)({"x": x["x"].flip(0)}, target)
    assert right.abs().max() < 1e-10
    assert wrong.min() > 1e-3


def test_the_features_that_the_upload_reveals_are_those_of_the_image(defended: Scenes) -> None:
    """Least squares from delta h^T gives h back, whatever was drawn: the reason why the counter is exact."""
    scene = defended("precode", {"units": 16}).double()
    delta, weight = (scene.seen.update[f"{ENCODER}.{name}"][0] for name in ("bias", "weight"))
    state = {**scene.seen.parameters, **scene.seen.buffers}
    model = build(scene.seen.model).double()
    features = layer_output_input(model, state, scene.truth[0])[0]
    torch.testing.assert_close(delta @ weight / (delta @ delta), features, rtol=0, atol=1e-6)


def traced_graph(problem: Problem) -> Evaluate:
    """The engine `compiled` without the compiler: the graph that it compiles."""

    def evaluate(x: Tensors, target: Target) -> Evaluation:
        trace = traced(problem, x, target)
        *gradients, matching = trace.graph(*trace.inputs)
        return dict(zip(x, gradients, strict=True)), matching

    return evaluate


@pytest.mark.parametrize("engine", [*map(ENGINES.get, ("loop", "vmap", "factored")), traced_graph])
@pytest.mark.parametrize("distance", [cosine, squared_l2])
def test_every_engine_has_the_gradient_of_the_chain_rule(
    engine: Callable[[Problem], Evaluate],
    distance: Callable[[Tensors, Tensors], torch.Tensor],
    defended: Scenes,
) -> None:
    scene = defended("precode", {"units": 16}).double()
    plan = informed(scene).with_distance(distance)
    images = scene.truth.flip(0).clone().requires_grad_()
    losses = []
    for victim in range(2):
        # Second derivatives are not needed for the loss; the gradient with respect to the image is checked by differences.
        observed = {k: v[victim] for k, v in plan.update.items()}
        losses.append(distance(by_hand(scene, images.detach(), victim), observed))
    problem, x, target = problem_at(plan, images.detach())
    gradients, matching = engine(problem)(x, target)
    torch.testing.assert_close(matching, torch.stack(losses), rtol=1e-7, atol=1e-10)

    def total(moved: Tensors) -> torch.Tensor:
        candidate = problem.candidate(
            {"x": moved["x"][0]},
            target.labels[0],
            {k: v[0] for k, v in target.observed.items()},
            {},
        )
        penalty = problem.penalty(candidate, torch.zeros_like(candidate.normalised))
        return ENGINES["loop"](problem)(moved, target)[1][0] + penalty

    direction = torch.randn(x["x"].shape, generator=torch.Generator().manual_seed(0)).double()
    step = 1e-6
    ahead, behind = (total({"x": x["x"] + sign * step * direction}) for sign in (1, -1))
    slope = (gradients["x"][0] * direction[0]).sum()
    torch.testing.assert_close((ahead - behind) / (2 * step), slope, rtol=1e-4, atol=1e-7)


def test_an_attack_gets_as_far_as_against_no_defense(defended: Scenes) -> None:
    settings = {"iterations": 60, "learning_rate": 0.2, "total_variation": 0.03}
    granted = ThreatModel(id="informed", disclosure=True)

    def decibels(scene: Any, counter: str | None) -> torch.Tensor:
        attack = InvertingGradients(counter=counter, **settings)
        result = attack(scene.seen, granted, engine="factored", device="cpu")
        errors = (result.reconstruction.images - scene.truth).square().flatten(1).mean(1)
        return -10 * errors.log10()

    bare = decibels(defended("none", victims=3), None)
    defense = defended("precode", {"units": 32}, victims=3)
    told, dropped = (decibels(defense, f"precode.{idea}") for idea in ("exact", "drop_module"))
    assert told.mean() > bare.mean() - 1
    assert told.mean() > dropped.mean() + 0.3


@pytest.mark.parametrize(("images", "steps"), [(2, 1), (2, 2)])
def test_several_images_are_refused(images: int, steps: int, defended: Scenes) -> None:
    scene = defended("precode", {"units": 16}, images=images, steps=steps)
    with pytest.raises(ThreatModelError, match=rf"not that of {images} images in {steps} local"):
        informed(scene)


def test_a_network_without_the_bottleneck_is_refused(defended: Scenes) -> None:
    scene = defended("none")
    disclosed = replace(scene, seen=replace(scene.seen, disclosure={"defense": "precode"}))
    with pytest.raises(ThreatModelError, match="the observed network has none"):
        informed(disclosed)


def test_only_one_objective_is_another_than_the_clients_loss(defended: Scenes) -> None:
    scene = defended("precode", {"units": 16})
    attack = InvertingGradients(iterations=3)
    start = AttackPlan(scene.knowledge, attack.recipe(scene.knowledge)).with_labels()
    before, after = start.recipe.phases[0], precode.exact(start).recipe.phases[0]
    assert before.loss is None
    assert replace(after, loss=None) == before
    model = build(scene.seen.model)
    state = {**scene.seen.parameters, **scene.seen.buffers}
    output, _ = layer_output(model, state, scene.truth[0], ENCODER)
    assert output.shape == (1, 32)

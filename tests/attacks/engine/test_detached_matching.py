"""Attacks whose candidate update is detached, as released with Shadow: only their regularizers still act."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gradsiege.attacks import recipes
from gradsiege.attacks.engine.engines import ENGINES
from gradsiege.attacks.engine.factored import applies
from gradsiege.attacks.engine.objective import Problem, Target, element_cost
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.objectives.distances import Distance, cosine, squared_l2
from gradsiege.attacks.objectives.regularizers import batch_norm_statistics, total_variation
from gradsiege.attacks.optimizers.gradient import Adam
from gradsiege.attacks.recipe import Phase
from gradsiege.attacks.reconstruct import reconstruct
from gradsiege.attacks.variables import Variables
from gradsiege.errors import StudyError
from gradsiege.models import ModelSpec, build
from gradsiege.protocol.local_update import (
    Differentiate,
    LocalTraining,
    detached,
    functional_gradient,
    gradient,
    local_update,
    split_state,
)
from gradsiege.protocol.observation import Observation, stacked
from gradsiege.protocol.threat_model import ThreatModel

torch.set_num_threads(1)
SPEC = ModelSpec("convnet", {"width": 4}, 10, 3, 16)
MODEL = build(SPEC, torch.Generator().manual_seed(1)).double()
PARAMETERS, BUFFERS = split_state(MODEL)


def observed(training: LocalTraining) -> Observation:
    generator = torch.Generator().manual_seed(2)
    truth = torch.rand(2, 3, 16, 16, generator=generator, dtype=torch.float64)
    labels = torch.tensor([[3, 1]])
    update, _ = local_update(MODEL, PARAMETERS, BUFFERS, truth, labels[0], training)
    return Observation.of_updates(
        SPEC, PARAMETERS, BUFFERS, stacked([update]), training, labels=labels
    )


def problem_of(training: LocalTraining) -> tuple[Problem, Variables, Target]:
    """One victim, a random start, and total variation beside the matching loss."""
    seen = observed(training)
    space = Knowledge(seen, ThreatModel(id="test")).pixels()
    phase = Phase(space, cosine, ((0.1, total_variation),), Adam(0.1), 1)
    start = space.start(torch.Generator().manual_seed(0))["x"].double()[None]
    assert seen.labels is not None
    target = Target(seen.labels, seen.update, torch.zeros_like(start), {})
    return Problem(MODEL, seen, training, phase), {"x": start}, target


def outcome(
    training: LocalTraining, distance: Distance, differentiate: Differentiate
) -> tuple[Tensor, Tensor, Tensor]:
    """Return (matching loss, gradient of the whole cost, gradient of its other terms) at a random start."""
    seen = observed(training)
    knowledge = Knowledge(seen, ThreatModel(id="test"))
    statistics = batch_norm_statistics(knowledge.model().double(), PARAMETERS, BUFFERS, False)
    terms = ((0.1, total_variation), (0.1, statistics))
    phase = Phase(knowledge.pixels(), distance, terms, Adam(0.1), 1)
    problem = Problem(MODEL, seen, training, phase)
    cost = element_cost(problem, differentiate)
    x = phase.space.start(torch.Generator().manual_seed(0))["x"].double().requires_grad_()
    assert seen.labels is not None
    target = {name: value[0] for name, value in seen.update.items()}
    nowhere = torch.zeros_like(x)
    whole, matching = cost({"x": x}, seen.labels[0], target, nowhere, {})
    candidate = problem.candidate({"x": x}, seen.labels[0], target, {})
    rest = problem.penalty(candidate, nowhere)
    gradients = [torch.autograd.grad(value, x)[0] for value in (whole, rest)]
    return matching.detach(), *gradients


@pytest.mark.parametrize("distance", [squared_l2, cosine])
@pytest.mark.parametrize("batch", [2, 1])
def test_a_detached_update_is_measured_and_never_matched(distance: Distance, batch: int) -> None:
    training = LocalTraining("fedavg", 2, batch, 1, 0.1, "eval")
    loss, whole, rest = outcome(training, distance, functional_gradient)
    lost, cut, same_rest = outcome(training, distance, detached(functional_gradient))
    # The trace of the released attack looks like that of a working one ...
    torch.testing.assert_close(lost, loss)
    assert loss > 0
    # ... but the images are driven by batch norm and total variation alone.
    assert torch.equal(cut, same_rest)
    assert torch.equal(rest, same_rest)
    assert (whole - rest).norm() > 1e-3 * rest.norm()


@pytest.mark.parametrize("engine", ["loop", "vmap"])
def test_a_study_can_ask_for_it_and_no_engine_matches_then(engine: str) -> None:
    problem, x, target = problem_of(LocalTraining("fedavg", 2, 1, 1, 0.1, "eval"))
    without = replace(problem, phase=replace(problem.phase, update_model="detached"))
    gradients, losses = ENGINES[engine](without)(x, target)
    attached, same_losses = ENGINES[engine](problem)(x, target)
    torch.testing.assert_close(losses, same_losses)
    points = {"x": x["x"][0].clone().requires_grad_()}
    candidate = problem.candidate(points, target.labels[0], {}, {})
    penalty = problem.penalty(candidate, target.consensus[0])
    torch.testing.assert_close(
        gradients["x"][0], torch.autograd.grad(penalty, points["x"])[0], rtol=1e-12, atol=0
    )
    assert not torch.allclose(gradients["x"], attached["x"], rtol=0.1)


def test_an_attack_with_detached_updates_runs_to_its_end() -> None:
    """Memory is measured by hooks on saved tensors, which the transforms of torch.func refuse."""
    seen = observed(LocalTraining("fedsgd", 2, 2, 1, 0.1, "eval"))
    knowledge = Knowledge(seen, ThreatModel(id="test", labels="given"))
    recipe = recipes.build("inverting_gradients", {}, "faithful", 3, knowledge)
    found = reconstruct(knowledge, recipe.with_phases(update_model="detached"), 1, ("s",))
    assert not found.failures
    assert torch.isfinite(found.images).all()


def test_detached_matching_of_one_gradient_does_not_pass_the_factored_engine() -> None:
    problem, _, _ = problem_of(LocalTraining("fedsgd", 2, 2, 1, 0.1, "eval"))
    assert applies(problem)
    assert not applies(replace(problem, phase=replace(problem.phase, update_model="detached")))


def test_detached_matching_without_a_regularizer_is_refused() -> None:
    problem, _, _ = problem_of(LocalTraining("fedsgd", 2, 2, 1, 0.1, "eval"))
    bare = replace(problem.phase, update_model="detached", regularizers=())
    with pytest.raises(StudyError, match="without regularizers"):
        element_cost(replace(problem, phase=bare))


def test_the_detached_update_itself_has_no_graph() -> None:
    training = LocalTraining("fedsgd", 2, 2, 1, 0.1, "train")
    images = torch.rand(2, 3, 16, 16, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([3, 1])
    update, buffers = local_update(
        MODEL, PARAMETERS, BUFFERS, images, labels, training, differentiate=detached(gradient)
    )
    attached, _ = local_update(MODEL, PARAMETERS, BUFFERS, images, labels, training)
    assert not any(value.requires_grad for value in (*update.values(), *buffers.values()))
    for name, value in attached.items():
        assert value.requires_grad
        torch.testing.assert_close(update[name], value.detach())

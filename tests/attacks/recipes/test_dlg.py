"""DLG and iDLG against `torch.optim.LBFGS` at its defaults, from the same starting point, in float64."""

from __future__ import annotations

import pytest
import torch
from textbook import scene
from torch import Tensor

from gradsiege.attacks.engine.loop import State, begin
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.recipes.dlg import Dlg
from gradsiege.attacks.recipes.idlg import Idlg
from gradsiege.attacks.reconstruct import reconstruct, starting_points
from gradsiege.protocol.threat_model import ThreatModel

STEPS = 12


def textbook(knowledge: Knowledge, x: Tensor, logits: Tensor | None) -> Tensor:
    """The normalised pixels after `STEPS` inner iterations, the label's logits optimised beside them if there are any."""
    model, seen, _ = scene("lenet")
    mean, deviation = (value.view(1, 3, 1, 1) for value in knowledge.pixel_arguments()[1:])
    points = [x.clone().requires_grad_()]
    if logits is not None:
        points.append(logits.clone().requires_grad_())
    solver = torch.optim.LBFGS(
        points, max_iter=STEPS, history_size=100, tolerance_grad=0, tolerance_change=0
    )

    def closure() -> Tensor:
        answers = model(points[0] * deviation + mean).log_softmax(-1)
        label = torch.zeros(1, 10, dtype=answers.dtype)
        label[0, 0] = 1
        if logits is not None:
            label = points[1].softmax(-1)
        loss = -(label * answers).sum(-1).mean()
        slopes = torch.autograd.grad(loss, list(model.parameters()), create_graph=True)
        names = [name for name, _ in model.named_parameters()]
        observed = {name: value[0] for name, value in seen.update.items()}
        pairs = zip(names, slopes, strict=True)
        distance = torch.stack([(g - observed[name]).square().sum() for name, g in pairs]).sum()
        solver.zero_grad()
        for point, slope in zip(points, torch.autograd.grad(distance, points), strict=True):
            point.grad = slope
        return distance

    solver.step(closure)
    return points[0].detach()


@pytest.mark.parametrize("attack", [Dlg(iterations=STEPS), Idlg(iterations=STEPS)])
def test_the_attack_is_the_release_s_loop(attack: Dlg | Idlg) -> None:
    knowledge = Knowledge(scene("lenet")[1], ThreatModel(id="t"))
    recipe = attack.recipe(knowledge)
    (phase,) = recipe.phases
    start = {name: value.double() for name, value in starting_points(phase, 1, 1, ("s",)).items()}
    assert ("label_logits" in start) == isinstance(attack, Dlg)
    ends: list[Tensor] = []

    def record(state: State) -> None:
        ends.append(state.x["x"].clone())

    reconstruct(
        knowledge, recipe, 1, ("s",), resume=lambda: begin(start, phase.optimizer), pause=record
    )
    logits = start["label_logits"][0] if "label_logits" in start else None
    expected = textbook(knowledge, start["x"][0], logits)
    assert (ends[-1][0] - start["x"][0]).abs().max() > 0.01
    torch.testing.assert_close(ends[-1][0], expected, rtol=1e-5, atol=1e-6)


def test_starts_are_standard_normal_and_have_no_box() -> None:
    knowledge = Knowledge(scene("lenet")[1], ThreatModel(id="t"))
    (phase,) = Dlg().recipe(knowledge).phases
    start = starting_points(phase, 1, 40, ("s",))
    for value in start.values():
        assert abs(float(value.mean())) < 0.15
        assert abs(float(value.std()) - 1) < 0.1
    far = {"x": 9 * start["x"], "label_logits": start["label_logits"]}
    assert torch.equal(phase.space.project(far)["x"], far["x"])

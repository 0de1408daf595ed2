"""The textbook loop of released code: one victim after the other, `autograd.grad` with a graph, then `backward()`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.cases import WEIGHT
from gradsiege.attacks.engine.objective import Problem, Target
from gradsiege.attacks.variables import Variables
from gradsiege.models import build


def plain_network(problem: Problem) -> nn.Module:
    """Return the attacked network with its weights, in eval mode, of PyTorch's own layers."""
    seen = problem.observation
    model = build(seen.model).to(next(iter(seen.parameters.values())).device)
    model.load_state_dict({**seen.parameters, **seen.buffers})
    plain_norms(model.eval())
    return model


def plain_norms(module: nn.Module) -> None:
    """Replace the batch norms of a network by PyTorch's own, as released code has them."""
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d):
            plain = nn.BatchNorm2d(child.num_features, child.eps)
            plain.load_state_dict(child.state_dict())
            setattr(module, name, plain.to(child.weight.device).eval())
        else:
            plain_norms(child)


def textbook(problem: Problem) -> Callable[[Variables, Target], Tensor]:
    """Return the loop that engines are compared with."""
    model = plain_network(problem)
    parameters = list(model.parameters())
    names = [name for name, _ in model.named_parameters()]
    space: Any = problem.phase.space

    def gradient(x: Tensor, label: Tensor, observed: list[Tensor]) -> Tensor:
        candidate = x.clone().requires_grad_()
        loss = F.cross_entropy(model(space.images({"x": candidate})), label)
        update = torch.autograd.grad(loss, parameters, create_graph=True)
        product = torch.stack([(a * b).sum() for a, b in zip(update, observed, strict=True)]).sum()
        candidates = torch.stack([a.pow(2).sum() for a in update]).sum()
        seen = torch.stack([b.pow(2).sum() for b in observed]).sum()
        variation = candidate.diff(dim=-1).abs().mean() + candidate.diff(dim=-2).abs().mean()
        (1 - product / (candidates.sqrt() * seen.sqrt()) + WEIGHT * variation).backward()
        model.zero_grad()
        assert candidate.grad is not None
        return candidate.grad

    def evaluate(x: Variables, target: Target) -> Tensor:
        rows = zip(x["x"], target.labels, *(target.observed[name] for name in names), strict=True)
        return torch.stack(
            [gradient(image, label, list(observed)) for image, label, *observed in rows]
        )

    return evaluate

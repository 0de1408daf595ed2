"""A textbook loop over one private image, written from the sources' formulas and sharing no code with the engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from gradsiege.models import ModelSpec, build
from gradsiege.protocol.local_update import LocalTraining, local_update, split_state
from gradsiege.protocol.observation import Observation, stacked

SHAPES = {
    "convnet": {"width": 4},
    "resnet18": {"width": 4},
    "lenet": {"channels": 12, "initial_range": 0.5},
}


@dataclass
class Textbook:
    """What a loop went through: iterates ``[1, c, h, w]`` that were evaluated, their objectives and their matching losses."""

    iterates: list[Tensor] = field(default_factory=list)
    objectives: list[float] = field(default_factory=list)
    matching: list[float] = field(default_factory=list)


def scene(
    name: str = "convnet", side: int = 16, kind: torch.dtype = torch.float64
) -> tuple[nn.Module, Observation, Tensor]:
    """A small network, its observed gradient of one smooth image with label 0, and the image ``[1, 3, s, s]``."""
    shape = SHAPES[name]
    spec = ModelSpec(name, shape, 10, 3, side)
    model = build(spec, torch.Generator().manual_seed(1)).to(kind).eval()
    coarse = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0)).to(kind)
    image = nn.functional.interpolate(coarse, (side, side), mode="bilinear")
    parameters, buffers = split_state(model)
    training = LocalTraining("fedsgd", 1, 1, 1, 0.1, "eval")
    label = torch.zeros(1, dtype=torch.long)
    update, _ = local_update(model, parameters, buffers, image, label, training)
    seen = Observation.of_updates(spec, parameters, buffers, stacked([update]), training)
    return model, replace(seen, labels=label[None]), image


def gradients(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """The gradient of the cross-entropy with label 0 at images in [0, 1], itself differentiable."""
    loss = nn.functional.cross_entropy(model(images), torch.zeros(len(images), dtype=torch.long))
    names = [name for name, _ in model.named_parameters()]
    slopes = torch.autograd.grad(loss, list(model.parameters()), create_graph=True)
    return dict(zip(names, slopes, strict=True))


def run(
    start: Tensor,
    losses: Callable[[Tensor], tuple[Tensor, Tensor]],
    iterations: int,
    rate: Callable[[int], float],
    signal: Callable[[Tensor, int], Tensor],
    box: tuple[Tensor, Tensor],
) -> Textbook:
    """Minimise the first of two losses, (objective, matching), by `torch.optim.Adam` fed with a changed gradient."""
    x = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([x])
    passed = Textbook()
    for iteration in range(iterations + 1):
        objective, matching = losses(x)
        passed.iterates.append(x.detach().clone())
        passed.objectives.append(objective.item())
        passed.matching.append(matching.item())
        if iteration < iterations:
            (slope,) = torch.autograd.grad(objective, x)
            x.grad = signal(slope, iteration)
            optimizer.param_groups[0]["lr"] = rate(iteration)
            optimizer.step()
            with torch.no_grad():
                x.copy_(torch.minimum(torch.maximum(x, box[0]), box[1]))
    return passed

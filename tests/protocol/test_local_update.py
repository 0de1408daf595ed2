"""The local update against PyTorch's own training loop, in float64."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gradsiege.models import ModelSpec, build
from gradsiege.protocol.local_update import (
    LocalTraining,
    Step,
    apply_update,
    functional_gradient,
    local_update,
    split_state,
)

torch.set_num_threads(1)


def network(name: str = "convnet") -> nn.Module:
    parameters = {"width": 4} if name == "convnet" else {"channels": 4, "initial_range": 0.5}
    return build(ModelSpec(name, parameters, 10, 3, 16)).double()


def data(images: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(images, 3, 16, 16, generator=generator, dtype=torch.float64)
    return x, torch.randint(0, 10, (images,), generator=generator)


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize(("images", "batch", "epochs"), [(1, 1, 1), (4, 4, 1), (5, 2, 2)])
def test_equals_a_plain_sgd_loop(mode: str, images: int, batch: int, epochs: int) -> None:
    model, rate = network(), 0.05
    x, y = data(images)
    parameters, buffers = split_state(model)
    training = LocalTraining("fedavg", images, batch, epochs, rate, mode)
    update, after = local_update(model, parameters, buffers, x, y, training)

    reference = copy.deepcopy(model)
    reference.train(mode == "train")
    optimizer = torch.optim.SGD(reference.parameters(), lr=rate)
    for _ in range(epochs):
        for first in range(0, images, batch):
            optimizer.zero_grad()
            F.cross_entropy(
                reference(x[first : first + batch]), y[first : first + batch]
            ).backward()
            optimizer.step()
    ends = apply_update(parameters, update, rate)
    for name, value in reference.named_parameters():
        torch.testing.assert_close(ends[name], value.detach())
    for name, value in reference.named_buffers():
        torch.testing.assert_close(after[name], value)


def test_fedsgd_is_exactly_the_gradient() -> None:
    model = network()
    x, y = data(3)
    update, _ = local_update(
        model, *split_state(model), x, y, LocalTraining("fedsgd", 3, 3, 1, 9.0, "eval")
    )
    loss = F.cross_entropy(model(x), y)
    for name, value in zip(
        update, torch.autograd.grad(loss, list(model.parameters())), strict=True
    ):
        torch.testing.assert_close(update[name], value)


def test_is_twice_differentiable_through_unrolled_steps() -> None:
    model = network("lenet")
    state = split_state(model)
    x, y = data(2)
    training = LocalTraining("fedavg", 2, 1, 2, 0.1, "eval")

    def of_images(images: torch.Tensor) -> torch.Tensor:
        update, _ = local_update(model, *state, images, y, training)
        return torch.stack([value.square().sum() for value in update.values()]).sum()

    x.requires_grad_()
    (gradient,) = torch.autograd.grad(of_images(x), x)
    x.requires_grad_(False)
    direction = torch.randn(
        x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    step = 1e-5
    numeric = (of_images(x + step * direction) - of_images(x - step * direction)) / (2 * step)
    torch.testing.assert_close((gradient * direction).sum(), numeric, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_the_functional_gradient_is_the_same_gradient(mode: str) -> None:
    model = network()
    x, y = data(3)
    training = LocalTraining("fedavg", 3, 2, 2, 0.1, mode)
    own, after = local_update(model, *split_state(model), x, y, training)
    functional, also = local_update(
        model, *split_state(model), x, y, training, differentiate=functional_gradient
    )
    torch.testing.assert_close(functional, own, rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(also, after)
    assert not any(value.requires_grad for value in [*own.values(), *after.values()])


def test_hooks_see_every_step_and_their_result_is_used() -> None:
    model = network()
    x, y = data(4)
    seen: list[Step] = []

    def halve(gradient: dict[str, torch.Tensor], step: Step) -> dict[str, torch.Tensor]:
        seen.append(step)
        return {name: value / 2 for name, value in gradient.items()}

    one = LocalTraining("fedavg", 2, 2, 1, 0.1, "eval")
    plain, _ = local_update(model, *split_state(model), x[:2], y[:2], one)
    halved, _ = local_update(
        model, *split_state(model), x[:2], y[:2], one, transform_gradient=halve
    )
    for name in plain:
        torch.testing.assert_close(halved[name], plain[name] / 2)
    two = LocalTraining("fedavg", 4, 2, 1, 0.1, "eval")
    local_update(model, *split_state(model), x, y, two, transform_gradient=halve)
    assert [len(step.images) for step in seen] == [2, 2, 2]


def test_leaves_its_arguments_alone() -> None:
    model = network()
    parameters, buffers = split_state(model)
    before = {name: value.clone() for name, value in {**parameters, **buffers}.items()}
    x, y = data(4)
    local_update(model, parameters, buffers, x, y, LocalTraining("fedavg", 4, 2, 2, 0.1, "train"))
    assert all(
        torch.equal(before[name], value) for name, value in {**parameters, **buffers}.items()
    )

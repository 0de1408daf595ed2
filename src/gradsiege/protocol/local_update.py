"""The one functional definition of a local update: the client runs it, the attacker differentiates it.

In every protocol the update is ``(theta_t - theta_local) / learning_rate``: the sum of the gradients of the
local steps. For FedSGD that is exactly the gradient; for FedAvg (McMahan et al., AISTATS 2017, Algorithm 1)
the server applies ``theta_{t+1} = theta_t - learning_rate * mean(update)``. With one unit for all protocols
a noise level means the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from gradsiege.arithmetic import square_root
from gradsiege.ranges import Checked, Count, Range

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class LocalTraining(Checked):
    """The training of a client between download and upload.

    Attributes:
        name: ``fedsgd`` (one step on all images) or ``fedavg``.
        images: number of private images.
        batch_size: images per local step.
        epochs: passes over the images, in a fixed order.
        learning_rate: of plain SGD.
        mode: ``train`` or ``eval``, of batch normalisation.
    """

    name: Literal["fedsgd", "fedavg"]
    images: Count
    batch_size: Count
    epochs: Count
    learning_rate: Annotated[float, Range(0, open_low=True)]
    mode: Literal["train", "eval"]

    def __post_init__(self) -> None:
        """Check every field, and that ``fedsgd`` is one step.

        Raises:
            ValueError: a value out of its range, or ``fedsgd`` with several steps.
        """
        super().__post_init__()
        if self.name == "fedsgd" and (self.epochs != 1 or self.batch_size != self.images):
            raise ValueError(
                "gradsiege.LocalTraining: fedsgd is one step on all images: give batch_size = images and epochs = 1, "
                f"or fedavg; images is {self.images}, batch_size {self.batch_size}, epochs {self.epochs}"
            )

    @property
    def steps(self) -> int:
        """Number of local steps."""
        return self.epochs * -(-self.images // self.batch_size)


@dataclass
class Step:
    """One local step as a defense sees it."""

    model: nn.Module
    parameters: Tensors
    buffers: Tensors
    images: Tensor
    labels: Tensor


BatchHook = Callable[[Tensor, Tensor, Step], tuple[Tensor, Tensor]]
GradientHook = Callable[[Tensors, Step], Tensors]
# (model, parameters, buffers, images, labels) -> (value to differentiate, buffers after the forward pass), such as `loss`.
Objective = Callable[[nn.Module, Tensors, Tensors, Tensor, Tensor], tuple[Tensor, Tensors]]


class Differentiate(Protocol):
    """Returns (gradient of an objective with respect to every parameter, new buffers), such as `gradient`."""

    def __call__(
        self,
        model: nn.Module,
        parameters: Tensors,
        buffers: Tensors,
        images: Tensor,
        labels: Tensor,
        objective: Objective = ...,
    ) -> tuple[Tensors, Tensors]:
        """Differentiate the objective, by default the clients' own loss."""


@contextmanager
def with_gradients() -> Iterator[None]:
    """Enable gradients, whatever the caller's mode is: `torch.no_grad()` and `torch.inference_mode()` end here."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def split_state(model: nn.Module) -> tuple[Tensors, Tensors]:
    """Return detached copies of a model's (parameters, buffers); frozen parameters are not trained and count as buffers.

    Both by name, each tensor in its shape.
    """
    state = {name: value.detach().clone() for name, value in model.named_parameters()}
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    buffers = {name: value.detach().clone() for name, value in model.named_buffers()}
    buffers |= {name: value for name, value in state.items() if name not in trained}
    return {name: value for name, value in state.items() if name in trained}, buffers


def loss(
    model: nn.Module, parameters: Tensors, buffers: Tensors, images: Tensor, labels: Tensor
) -> tuple[Tensor, Tensors]:
    """Return (mean cross-entropy, buffers after the forward pass) of `images [n, c, h, w]`.

    Labels are class indices ``[n]`` or, for joint optimisation, class probabilities ``[n, classes]``.
    """
    state = {**parameters, **buffers}
    logits = functional_call(model, state, (images,))
    return classification_loss(logits, labels), {name: state[name] for name in buffers}


def classification_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy of `logits [n, classes]`, the only loss that clients train with.

    Labels are class indices ``[n]`` or class probabilities ``[n, classes]``.

    >>> classification_loss(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
    tensor(0.6931)
    """
    if labels.is_floating_point():
        return F.cross_entropy(logits, labels)
    # Under vmap `F.cross_entropy` of class indices imports a computer algebra system, which costs 1.8 s per process. The
    # gradient of `gather` is slow there, too, hence a product with zeros and ones.
    chosen = labels[:, None] == torch.arange(logits.shape[1], device=labels.device)
    return -(F.log_softmax(logits, 1) * chosen).sum(1).mean()


def gradient(
    model: nn.Module,
    parameters: Tensors,
    buffers: Tensors,
    images: Tensor,
    labels: Tensor,
    objective: Objective = loss,
) -> tuple[Tensors, Tensors]:
    """Return (gradient of the objective with respect to every parameter, new buffers), by autograd.

    images: ``[b, c, h, w]`` in [0, 1]; labels: ``[b]`` or ``[b, classes]``; a gradient has the shape of its parameter.

    The gradient is itself differentiable if an argument requires a gradient.
    """
    again = any(value.requires_grad for value in (images, labels, *parameters.values()))
    with torch.enable_grad():
        points = {
            name: value if value.requires_grad else value.detach().requires_grad_()
            for name, value in parameters.items()
        }
        value, after = objective(model, points, buffers, images, labels)
        # A parameter that the network does not use has the gradient zero.
        gradients = torch.autograd.grad(
            value, list(points.values()), create_graph=again, materialize_grads=True
        )
    after = after if again else {name: buffer.detach() for name, buffer in after.items()}
    return dict(zip(points, gradients, strict=True)), after


def functional_gradient(
    model: nn.Module,
    parameters: Tensors,
    buffers: Tensors,
    images: Tensor,
    labels: Tensor,
    objective: Objective = loss,
) -> tuple[Tensors, Tensors]:
    """Return the same as `gradient` by `torch.func.grad`, which works under `vmap`.

    images: ``[b, c, h, w]`` in [0, 1]; labels: ``[b]`` or ``[b, classes]``; a gradient has the shape of its parameter.

    Clients do not use it, since its first call imports PyTorch's compiler, which costs seconds.
    """
    from torch.func import grad

    def of_parameters(values: Tensors) -> tuple[Tensor, Tensors]:
        return objective(model, values, buffers, images, labels)

    gradients: tuple[Tensors, Tensors] = grad(of_parameters, has_aux=True)(parameters)
    return gradients


def detached(differentiate: Differentiate) -> Differentiate:
    """Return a gradient with the same numbers, cut from the graph: a defect of public attack code.

    The attacks released with Shadow (arXiv 2506.15711), and the code that they are based on, compute the candidate's
    update from detached state dictionaries. Its distance to the observed update then has a value but no gradient with
    respect to the images; only the other terms of the objective move them, above all batch-norm statistics. An attack
    that passes this as `differentiate` inverts no gradient (``update_model: detached`` in a study).

    Args:
        differentiate: `gradient` or `functional_gradient`.
    """

    def cut(
        model: nn.Module,
        parameters: Tensors,
        buffers: Tensors,
        images: Tensor,
        labels: Tensor,
        objective: Objective = loss,
    ) -> tuple[Tensors, Tensors]:
        gradients, after = differentiate(model, parameters, buffers, images, labels, objective)
        return (
            {name: value.detach() for name, value in gradients.items()},
            {name: value.detach() for name, value in after.items()},
        )

    return cut


def local_update(
    model: nn.Module,
    parameters: Tensors,
    buffers: Tensors,
    images: Tensor,
    labels: Tensor,
    training: LocalTraining,
    transform_batch: BatchHook | None = None,
    transform_gradient: GradientHook | None = None,
    differentiate: Differentiate = gradient,
    objective: Objective = loss,
) -> tuple[Tensors, Tensors]:
    """Run the local steps and return (update, buffers after the last step).

    Args:
        model: the architecture and its mode; its parameter values are not used.
        parameters, buffers: the global state theta_t.
        images: ``[images, c, h, w]`` in [0, 1], used in order, without shuffling.
        labels: ``[images]``, or probabilities ``[images, classes]``.
        transform_batch, transform_gradient: the hooks of a defense (client only).
        differentiate: `gradient`, or `functional_gradient` under the transforms of `torch.func`.
        objective: what every step differentiates; clients take their loss.

    The function is pure and twice differentiable in `images`.
    """
    model.train(training.mode == "train")
    total: Tensors = {}
    current = parameters
    for step in range(training.steps):
        per_epoch = training.steps // training.epochs
        first = (step % per_epoch) * training.batch_size
        batch = images[first : first + training.batch_size]
        batch_labels = labels[first : first + training.batch_size]
        here = Step(model, current, buffers, batch, batch_labels)
        if transform_batch is not None:
            batch, batch_labels = transform_batch(batch, batch_labels, here)
            here = Step(model, current, buffers, batch, batch_labels)
        step_gradient, buffers = differentiate(
            model, current, buffers, batch, batch_labels, objective
        )
        if transform_gradient is not None:
            step_gradient = transform_gradient(step_gradient, here)
        total = {
            name: total[name] + step_gradient[name] if total else step_gradient[name]
            for name in step_gradient
        }
        if step + 1 < training.steps:
            rate = training.learning_rate
            current = {name: current[name] - rate * step_gradient[name] for name in current}
    return total, buffers


def apply_update(parameters: Tensors, update: Mapping[str, Tensor], rate: float) -> Tensors:
    """Return ``parameters - rate * update``: the state a client ends with, or the server's step.

    Takes and returns tensors by name, each of the shape of its parameter.

    >>> apply_update({"w": torch.tensor([1.0, 2.0])}, {"w": torch.tensor([0.5, -1.0])}, 2.0)["w"].tolist()
    [0.0, 4.0]
    """
    return {name: value - rate * update[name] for name, value in parameters.items()}


def as_rows(values: Tensor) -> Tensor:
    """Return tensors ``[n, *shape]`` as rows ``[n, coordinates]``; a parameter without dimensions has one coordinate.

    >>> as_rows(torch.zeros(2, 3, 4)).shape, as_rows(torch.zeros(2)).shape
    (torch.Size([2, 12]), torch.Size([2, 1]))
    """
    return values.flatten(1) if values.dim() > 1 else values[:, None]


def norm(tensors: Mapping[str, Tensor]) -> Tensor:
    """Return the l2 norm over all tensors together.

    >>> norm({"a": torch.tensor([3.0]), "b": torch.tensor([[4.0]])})
    tensor(5.)
    """
    return square_root(torch.stack([value.square().sum() for value in tensors.values()]).sum())

"""The engine for a single gradient at shared weights: products are shared between elements, updates stay factored.

All elements start from the same weights, so that every forward and backward product is one large product. Only the
weight gradients differ, and each of these is (dL/dz) a^T: one batched product or grouped convolution, or, for a distance made
of inner products, none at all where the factors are smaller than the gradient:

    <(dL/dz) a^T, O> = sum (dL/dz) * (O a),    |(dL/dz) a^T|^2 = sum (dL/dz)^T (dL/dz) * a^T a.

The second identity is that of "ghost" clipping (Goodfellow, arXiv 1510.01799; Li et al., ICLR 2022). An iteration costs seven
forward passes' operations at most, and no derivative that nobody asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import vmap

from gradsiege.attacks.engine.objective import DETACHED, Evaluate, Evaluation, Problem, Target
from gradsiege.attacks.engine.taps import Geometry, Taps, products_of
from gradsiege.attacks.engine.weight_gradients import weight_gradients
from gradsiege.attacks.objectives.distances import ProductDistance
from gradsiege.attacks.variables import Variables
from gradsiege.errors import StudyError
from gradsiege.protocol.local_update import Tensors, as_rows

# The arguments of `factors`.
Opened = tuple[Tensor, Tensor, Geometry | None, torch.Size]


@dataclass(frozen=True)
class Factors:
    """A gradient left as a product: ``left [n, outputs, p]`` times the transpose of ``right [n, inputs, p]``."""

    left: Tensor
    right: Tensor
    shape: torch.Size

    def product(self) -> Tensor:
        """Return the gradient ``[n, *shape]``."""
        return torch.bmm(self.left, self.right.transpose(1, 2)).view(-1, *self.shape)

    def inner_products(self, observed: Tensor) -> tuple[Tensor, Tensor]:
        """Return (<gradient, observed>, |gradient|^2), each ``[n]``."""
        left, right = self.left, self.right
        seen = torch.bmm(observed.flatten(2), right)
        squares = torch.bmm(left.transpose(1, 2), left) * torch.bmm(right.transpose(1, 2), right)
        return (left * seen).sum((1, 2)), squares.sum((1, 2))


def inner_products(candidate: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
    """Return (<candidate, observed>, |candidate|^2) of ``[n, ...]``, each ``[n]``."""
    return as_rows(candidate * observed).sum(1), as_rows(candidate.square()).sum(1)


def smaller(tap: Tensor, shape: torch.Size) -> bool:
    """Whether the factors of a gradient need fewer operations than the gradient: p (outputs + inputs) < outputs * inputs.

    >>> smaller(torch.zeros(1, 2, 10), torch.Size([10, 100])), smaller(torch.zeros(1, 20, 10), torch.Size([10, 100]))
    (True, False)
    """
    outputs, inputs = shape[0], shape[1:].numel()
    positions = tap[0].numel() // outputs
    return positions * (outputs + inputs) < outputs * inputs


def factors(tap: Tensor, inputs: Tensor, geometry: Geometry | None, shape: torch.Size) -> Factors:
    """Return the factors of a weight's gradient.

    Args:
        tap: dL/dz, ``[n, b, outputs, h, w]`` for a convolution, ``[n, b, ..., outputs]`` for a linear layer.
        inputs: what the weight was multiplied with, alike.
        geometry: of the convolution; None for a linear layer.
        shape: of the weight.
    """
    if geometry is None:
        flat = (tap.flatten(1, -2), inputs.flatten(1, -2))
        return Factors(flat[0].transpose(1, 2), flat[1].transpose(1, 2), shape)
    n = len(inputs)
    patches = geometry.patches(inputs.flatten(0, 1)).unflatten(0, (n, -1))
    return Factors(
        tap.flatten(3).transpose(1, 2).flatten(2), patches.transpose(1, 2).flatten(2), shape
    )


def product(tap: Tensor, inputs: Tensor, geometry: Geometry | None, shape: torch.Size) -> Tensor:
    """Return a weight's gradient ``[n, *shape]``; the arguments are those of `factors`."""
    if geometry is None or tap.is_cuda:
        return factors(tap, inputs, geometry, shape).product()
    return weight_gradients(tap, inputs, geometry)


class Factored:
    """The engine; see the module's text. `problem` must have one local step, taken at theta_t."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        observation = problem.observation
        problem.model.train(problem.work.mode == "train")
        some = next(iter(observation.parameters.values()))
        images = some.new_zeros(observation.images_per_client, *observation.image_shape)
        self.shapes, self.geometry = products_of(
            problem.model, observation.parameters, observation.buffers, images
        )
        self.weights = {name: observation.parameters[name] for name in self.shapes}
        self.others = {
            name: value
            for name, value in observation.parameters.items()
            if name not in self.weights
        }

    def __call__(self, x: Variables, target: Target) -> Evaluation:
        """Return (gradients, matching losses) of elements ``[n, ...]``."""
        points = {name: value.detach().requires_grad_() for name, value in x.items()}
        # A network without a product that could be opened up has no weights here.
        n, some = len(target.labels), next(iter(self.problem.observation.parameters.values()))
        zero = some.new_zeros(())
        taps = {k: zero.expand(n, *shape).requires_grad_() for k, shape in self.shapes.items()}
        others = {k: v.expand(n, *v.shape).requires_grad_() for k, v in self.others.items()}
        losses, penalties, inputs = vmap(self._forward)(points, *target.tensors(), taps, others)
        wanted = {**taps, **others}
        gradients_of_losses = torch.autograd.grad(
            losses.sum(), list(wanted.values()), create_graph=True, materialize_grads=True
        )
        slopes = dict(zip(wanted, gradients_of_losses, strict=True))
        matching = self._distance(slopes, inputs, target.observed)
        total = matching + penalties
        gradients = torch.autograd.grad(total.sum(), list(points.values()), materialize_grads=True)
        loss = total if self.problem.ranks_by_objective else matching
        return dict(zip(points, gradients, strict=True)), loss.detach()

    def _forward(
        self,
        x: Variables,
        labels: Tensor,
        observed: Tensors,
        consensus: Tensor,
        statistics: Tensors,
        taps: Tensors,
        others: Tensors,
    ) -> tuple[Tensor, Tensor, Tensors]:
        """Return (loss, penalty, what each weight was multiplied with) of one element."""
        candidate = self.problem.candidate(x, labels, observed, statistics)
        mode = Taps(self.weights, taps)
        objective, model = self.problem.loss(observed, x), self.problem.model
        buffers = self.problem.observation.buffers
        with mode:
            value, _ = objective(
                model, {**self.weights, **others}, buffers, candidate.images, candidate.labels
            )
        penalty = self.problem.penalty(candidate, consensus)
        return value, penalty, mode.inputs

    def _distance(self, slopes: Tensors, inputs: Tensors, observed: Tensors) -> Tensor:
        """Return the distances ``[n]``, from factors where the distance allows it."""
        distance = self.problem.phase.distance
        opened = {
            name: (slopes[name], inputs[name], self.geometry.get(name), weight.shape)
            for name, weight in self.weights.items()
        }
        if not isinstance(distance, ProductDistance):
            update = {**slopes, **{name: product(*parts) for name, parts in opened.items()}}
            # A counter may hold further evidence beside the tensors of an update, under names that no tensor has.
            matched = {name: update[name] for name in observed if name in update}
            return vmap(distance)(matched, observed)
        pairs = [
            self._products(opened[name], value)
            if name in opened
            else inner_products(slopes[name], value)
            for name, value in observed.items()
        ]
        squares = [as_rows(value.square()).sum(1) for value in observed.values()]
        products, candidates = (torch.stack(column, 1) for column in zip(*pairs, strict=True))
        return distance.combine(products, candidates, torch.stack(squares, 1))

    @staticmethod
    def _products(parts: Opened, observed: Tensor) -> tuple[Tensor, Tensor]:
        tap, _, _, shape = parts
        if smaller(tap, shape):
            return factors(*parts).inner_products(observed)
        return inner_products(product(*parts), observed)


def factored(problem: Problem) -> Evaluate:
    """Return the engine's ``evaluate(x, target) -> (gradients, matching losses)``.

    Raises:
        StudyError: the update is not a single gradient at shared weights.
    """
    if not applies(problem):
        raise StudyError(
            "the engine factored takes one gradient at the global weights; this attack matches "
            f"{problem.work.steps} local steps, update_model {problem.phase.update_model}, evaluated_at "
            f"{problem.phase.evaluated_at}: choose the engine vmap or loop, or let it be measured"
        )
    return Factored(problem)


def applies(problem: Problem) -> bool:
    """Whether the candidate's update is one gradient at weights that all elements share."""
    attached = problem.phase.update_model != DETACHED
    return problem.work.steps == 1 and problem.shares_weights and attached

"""An objective for networks whose last layers cannot be imitated, but whose gradient at an inner layer is known.

By the chain rule all gradients before a layer with output s depend on the later layers through dL/ds alone. Where the update
reveals dL/ds, the candidate's loss may be replaced by <dL/ds, s(x)> with dL/ds held fixed: its gradient with respect to every
weight before s, the layer's own included, is that of the unknown loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

from gradsiege.protocol.local_update import Objective, Tensors


def layer_output(
    model: nn.Module, state: Tensors, images: Tensor, layer: str
) -> tuple[Tensor, Tensors]:
    """Return (output of the named layer, state after the pass) for `images [n, c, h, w]` with the weights of `state`.

    >>> import torch
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(2, 1, bias=False), nn.Tanh())
    >>> weight = {"1.weight": torch.tensor([[2.0, 1.0]])}
    >>> layer_output(model, weight, torch.tensor([[[[3.0, 4.0]]]]), "1")[0]
    tensor([[10.]])
    """
    outputs: list[Tensor] = []
    after = dict(state)

    def record(module: nn.Module, arguments: Any, output: Tensor) -> None:
        outputs.append(output)

    handle = model.get_submodule(layer).register_forward_hook(record)
    try:
        functional_call(model, after, (images,))
    finally:
        handle.remove()
    return outputs[0], after


@dataclass(frozen=True)
class KnownGradient:
    """The loss <dL/ds, s(x)>, where s is the output of a linear layer and the gradient of its bias is dL/ds of one image.

    It goes into `Phase.loss`. The weight's gradient becomes (dL/ds) h^T, with h the layer's input.

    Attributes:
        layer: name of the linear layer.
        bias: name of its bias, whose observed update ``[outputs]`` is dL/ds.
    """

    layer: str
    bias: str

    def __call__(self, observed: Tensors, variables: Tensors) -> Objective:
        """Return the objective of one element; labels and variables change nothing."""
        cotangent = observed[self.bias]

        def objective(
            model: nn.Module, parameters: Tensors, buffers: Tensors, images: Tensor, labels: Tensor
        ) -> tuple[Tensor, Tensors]:
            state = {**parameters, **buffers}
            output, after = layer_output(model, state, images, self.layer)
            return (output * cotangent).sum(), {name: after[name] for name in buffers}

        return objective

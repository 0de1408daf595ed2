"""The head of a network: its last linear layer, found in a forward pass by its role, not by its name."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from gradsiege.errors import StudyError
from gradsiege.models import Architecture
from gradsiege.models.names import given_name

if TYPE_CHECKING:
    from collections.abc import Iterator

PROBES = 8


@dataclass(frozen=True)
class Head:
    """The linear layer ``z = W h + b`` that yields the logits z.

    Attributes:
        weight: name of the parameter W ``[classes, features]``, as updates name it.
        bias: name of the parameter b ``[classes]``; None if the layer has none.
        layer: name of the module; empty if a function uses W directly.
        signed: whether some of its inputs h were negative.
        typical: mean input ``[features]`` over the images that were passed; None where no image was.
    """

    weight: str
    bias: str | None = None
    layer: str = ""
    signed: bool = False
    typical: Tensor | None = field(default=None, compare=False)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the weight and, if there is one, of the bias."""
        return (self.weight,) if self.bias is None else (self.weight, self.bias)

    def bias_for(self, purpose: str) -> str:
        """Return the name of the bias.

        Raises:
            StudyError: the head has none, and `purpose` needs one.
        """
        if self.bias is None:
            raise StudyError(
                f"{purpose} reads the bias of the last layer, and {given_name(self.layer or self.weight)!r} has no bias; "
                "choose another method, or a model whose last layer has a bias"
            )
        return self.bias

    def weight_in(self, update: Mapping[str, Tensor], purpose: str) -> Tensor:
        """Return the update of the weight, ``[..., classes, features]``.

        Raises:
            StudyError: the update lacks it, and `purpose` needs it.
        """
        if self.weight not in update:
            raise _not_received(self.weight, purpose)
        return update[self.weight]

    def bias_in(self, update: Mapping[str, Tensor], purpose: str) -> Tensor:
        """Return the update of the bias, ``[..., classes]``.

        >>> Head("fc.weight", "fc.bias").bias_in({"fc.bias": torch.tensor([0.5])}, "a counter")
        tensor([0.5000])

        Raises:
            StudyError: the layer has no bias or the update lacks it, and `purpose` needs it.
        """
        name = self.bias_for(purpose)
        if name not in update:
            raise _not_received(name, purpose)
        return update[name]


def _not_received(name: str, purpose: str) -> StudyError:
    """Return the error for a parameter of the head that is not in the update, since it is frozen, dropped or was not recorded."""
    return StudyError(
        f"{purpose} reads the update of {given_name(name)!r}, which is not in the update here: train that parameter (requires_grad) and "
        "record its update, or choose another method"
    )


class _LinearProducts(TorchFunctionMode):
    """Collects the inputs, weights, biases and outputs of linear layers, and which parameter was used last."""

    def __init__(self, names: dict[int, str]) -> None:
        super().__init__()
        self.names = names
        self.products: list[tuple[Tensor, Tensor, Tensor | None, Tensor]] = []
        self.last = ""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in args:
            self.last = self.names.get(id(value), self.last)
        if func is F.linear:
            given = dict(zip(("input", "weight", "bias"), args, strict=False)) | (kwargs or {})
            self.products.append((given["input"], given["weight"], given.get("bias"), result))
        return result


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Put every module in eval mode, where nothing is random, and restore each module's mode afterwards."""
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def find_head(model: nn.Module, images: Tensor, state: Mapping[str, Tensor] | None = None) -> Head:
    """Return the head of a network, from one forward pass of `images` ``[n, c, h, w]``, in eval mode.

    The head is the last linear layer whose output is the network's own, up to what all logits of an image share (a
    log-softmax behind it changes neither the loss nor any gradient), or the layer that the network names as ``named_head``.
    Nothing is changed, and nothing random is drawn.

    Args:
        state: parameters and buffers to use instead of the model's own.

    Raises:
        StudyError: the logits come out of something else, such as a 1x1 convolution.
    """
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    values = {name: (state or {}).get(name, value) for name, value in tensors.items()}
    names = {id(values[name]): name for name, _ in reversed(list(model.named_parameters()))}
    named = getattr(model, "named_head", "")
    with torch.no_grad(), _evaluating(model), _LinearProducts(names) as seen:
        logits = functional_call(model, values, (images,))
    for inputs, weight, bias, outputs in reversed(seen.products):
        if id(weight) not in names:
            continue
        if names[id(weight)] == f"{named}.weight" if named else _same_logits(outputs, logits):
            inputs = inputs.flatten(0, -2)
            return Head(
                weight=names[id(weight)],
                bias=None if bias is None else names[id(bias)],
                layer=_layer(model, names[id(weight)]),
                signed=bool((inputs < 0).any()),
                typical=inputs.mean(0),
            )
    raise StudyError(
        f"the network's logits do not come out of a linear layer (the last parameter in use is {given_name(seen.last)!r}): "
        "label rules, and methods that look at the last layer, need a network that ends in torch.nn.Linear, whose weight no parametrization "
        "computes. "
        "Grant the labels (in Python gradsiege.ThreatModel(labels='given'), in a study's threat model 'labels: given') to attacks "
        "that read them off that layer alone, or name a linear layer of the network as `head` in Python"
    )


def _same_logits(outputs: Tensor, logits: object) -> bool:
    """Whether a layer's outputs are the logits, up to a constant per image and to dimensions of length one."""
    if outputs is logits:
        return True
    if not isinstance(logits, Tensor) or outputs.numel() != logits.numel():
        return False
    flat, wanted = outputs.flatten(1), logits.flatten(1)
    if flat.shape != wanted.shape:
        return False
    difference = flat - wanted
    spread = difference - difference.mean(1, keepdim=True)
    return bool(spread.abs().max() <= 1e-4 * (1 + wanted.abs().max()))


def _layer(model: nn.Module, weight: str) -> str:
    """Return the name of the last linear module that holds a parameter, which may be tied to another layer's."""
    parameter = model.get_parameter(weight)
    holders = [
        name
        for name, part in model.named_modules()
        if isinstance(part, nn.Linear) and part.weight is parameter
    ]
    return holders[-1] if holders else ""


def probe_images(image_shape: tuple[int, int, int]) -> Tensor:
    """Return artificial images ``[n, c, h, w]`` in [0, 1]: noise, coarse noise, black, white.

    They are the same in every call.
    """
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(PROBES, *image_shape, generator=generator)
    coarse = torch.rand(PROBES, image_shape[0], 4, 4, generator=generator)
    smooth = F.interpolate(coarse, image_shape[1:], mode="bilinear", align_corners=False)
    flat = torch.stack([torch.zeros_like(noise[0]), torch.ones_like(noise[0])])
    return torch.cat([noise, smooth, flat])


def head_of(architecture: Architecture, state: Mapping[str, Tensor]) -> Head:
    """Return the head of an architecture with given weights, found by a forward pass of artificial images.

    The tensors of the state have the shapes of the architecture's own.

    Args:
        architecture: the network without its weights.
        state: parameters and buffers of the global model.
    """
    first = next(iter(state.values()))
    model = architecture.build().to(first.device)
    images = probe_images(architecture.image_shape).to(first)
    return find_head(model, images, state)

"""Networks that clients could not train, or attacks not follow, are refused when they are adapted, in one sentence each."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gradsiege.errors import ModelError, in_a_line


def refuse_unusable(network: nn.Module) -> None:
    """Refuse a compiled network, and a weight that has no shape, no values, or too little precision to be attacked."""
    compiled = [part for part in network.modules() if isinstance(part, torch.jit.ScriptModule)]
    if compiled:
        raise ModelError(
            f"{type(network).__name__} holds a module that torch.jit compiled, whose layers cannot be looked at: give the network before "
            "torch.jit.script or torch.jit.trace"
        )
    for name, value in network.named_parameters():
        if isinstance(value, nn.parameter.UninitializedParameter) or value.is_meta:
            raise ModelError(f"the weight {name} has no values yet: initialise the network first")
        if value.layout != torch.strided:
            raise ModelError(
                f"the weight {name} is stored as {value.layout}; hold it by .to_dense()"
            )
        if value.dtype.is_complex:
            raise ModelError(
                f"the weight {name} holds {value.dtype}; clients and attacks compute in real numbers: hold real and imaginary part as "
                "two weights"
            )
        if value.dtype not in (torch.float32, torch.float64):
            raise ModelError(
                f"the weight {name} holds {value.dtype}; clients and attacks compute in float32 or float64: give `model.float()`"
            )
    trained = [value.requires_grad for value in network.parameters()]
    if trained and not any(trained):
        raise ModelError(
            f"every weight of {type(network).__name__} is frozen, so that clients upload nothing: set requires_grad of those that "
            "clients train"
        )


def classes_of(network: nn.Module, kind: str, image_shape: tuple[int, int, int]) -> int:
    """Return the number of logits, from a trial on grey images.

    Args:
        network: maps images ``[n, c, h, w]`` in [0, 1] to logits ``[n, classes]``.
        kind: name of the network, for messages.

    Raises:
        ModelError: clients could not train this network, or attacks not follow it.
    """
    some = next(network.parameters(), None)
    if some is None:
        raise ModelError(f"{kind} has no weights, so that no update tells anything")
    images = torch.full((2, *image_shape), 0.5, dtype=some.dtype, device=some.device)
    logits = _tried(network.to(some.device), kind, images)
    if some.dtype == torch.float64:
        _refuse_without_float32(network, kind, images)
    if not logits.requires_grad and not torch.is_inference_mode_enabled():
        raise ModelError(
            f"the logits of {kind} have no gradient by its weights: take `torch.no_grad()`, `.detach()` or NumPy out of its "
            "forward, or set requires_grad of weights that it uses"
        )
    try:
        cut_off = _is_cut_off(network, images)
    except Exception as error:
        raise ModelError(
            f"the gradient of {kind} cannot be computed: {in_a_line(error)}; leave out edits in place, such as `y *= 2`, and mend operations "
            "and hooks of its own"
        ) from error
    if cut_off:
        raise ModelError(
            f"the logits of {kind} have no gradient by its images, so that no attack could follow one: take `torch.no_grad()`, "
            "`.detach()`, rounding or NumPy out of its forward; to freeze weights, set their requires_grad to False"
        )
    return logits.shape[1]


def _tried(network: nn.Module, kind: str, images: Tensor) -> Tensor:
    """Return the logits ``[2, classes]`` of two images; refuse a network that cannot take them, two or one at a time."""
    try:
        with torch.enable_grad():
            logits: Tensor = network(images)
            network(images[:1])
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            f"{kind} does not take images of {' x '.join(map(str, images.shape[1:]))} (channels, height, width), two or one at a time: "
            f"{in_a_line(error)}"
        ) from error
    if len(logits) != 2:
        raise ModelError(f"{kind} returns {len(logits)} rows of logits for 2 images")
    if logits.shape[1] < 2:
        raise ModelError(
            f"{kind} returns {logits.shape[1]} logit per image, and the cross-entropy of a single class has no gradient: give "
            "two logits per image; for one of a sigmoid, z, they are (0, z)"
        )
    return logits


def _refuse_without_float32(network: nn.Module, kind: str, images: Tensor) -> None:
    """Refuse a network of float64 that fails when weights and images ``[n, c, h, w]`` are of float32, as attacks have them."""
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    rounded = {
        name: value.detach().float() if value.is_floating_point() else value
        for name, value in tensors.items()
    }
    try:
        with torch.no_grad():
            functional_call(network, rounded, (images.float(),))
    except Exception as error:
        raise ModelError(
            f"{kind} computes in float64 alone, and attacks compute in float32: take `.double()` out of its forward, or cast to the type of "
            f"a weight; {in_a_line(error)}"
        ) from error


def _is_cut_off(network: nn.Module, images: Tensor) -> bool:
    """Return whether no image has a gradient, whatever the weights; those of the network may make it zero.

    images: ``[n, c, h, w]``.
    """
    if torch.is_inference_mode_enabled():
        return False
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(images.shape, generator=generator).to(images).requires_grad_()
    weights = {
        name: value.detach() + 0.1 * torch.randn(value.shape, generator=generator).to(value)
        for name, value in network.named_parameters()
    }
    with torch.enable_grad():
        logits = functional_call(network, weights, (noise,))
        if not logits.requires_grad:
            return True
        (gradient,) = torch.autograd.grad(logits.square().sum(), noise, allow_unused=True)
    return gradient is None or not bool(gradient.any())

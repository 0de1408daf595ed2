"""The checks of images that all metrics share: float [n, C, H, W] in [0, 1], one or three channels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

FLOATS = (torch.float32, torch.float64)


def check_images(images: Tensor, name: str, allow_failed: bool = False) -> Tensor:
    """Return which images are finite, bool [n], or refuse the batch with the offending value.

    Args:
        images: float32 or float64 [n, C, H, W], n >= 1, C in {1, 3}, values in [0, 1].
        name: The caller's name for them, for the message.
        allow_failed: Accept images that hold NaN or infinity (a diverged attack is a row, not a
            crash). The range is then checked on the finite images only.

    Raises:
        TypeError: Not a tensor, or not float32 or float64.
        ValueError: Wrong shape, values outside [0, 1], or non-finite values that are not allowed.

    >>> check_images(torch.tensor([0.0, 1.0]).reshape(1, 1, 1, 2) * 2 - 1, "truths")
    Traceback (most recent call last):
        ...
    ValueError: truths: values lie in [-1, 1], metrics need [0, 1]: undo the normalisation \
(images * std + mean), then clamp(0, 1)
    """
    _check_form(images, name)
    finite = images.isfinite().flatten(1).all(dim=1)
    if not allow_failed and not finite.all():
        failed = (~finite).nonzero().flatten().tolist()
        raise ValueError(f"{name}: NaN or infinity in images {failed}; they must be finite")
    if finite.any():
        low, high = (float(value) for value in images.detach()[finite].aminmax())
        if low < 0 or high > 1:
            raise ValueError(
                f"{name}: values lie in [{low:.6g}, {high:.6g}], metrics need [0, 1]: "
                + _remedy(low, high)
            )
    return finite


def _check_form(images: Tensor, name: str) -> None:
    """Refuse anything but a non-empty float batch of grey or colour images."""
    if not isinstance(images, Tensor):
        raise TypeError(f"{name}: expected a torch tensor, got {type(images).__name__}")
    if images.dtype not in FLOATS:
        remedy = "images.float()" if images.is_floating_point() else "images.float() / 255"
        raise TypeError(
            f"{name}: dtype is {images.dtype}, metrics need float32 or float64: pass {remedy}"
        )
    if images.ndim != 4 or images.numel() == 0 or images.shape[1] not in (1, 3):
        raise ValueError(
            f"{name}: shape is {list(images.shape)}, metrics need a non-empty [n, C, H, W] "
            "with C = 1 or C = 3"
        )


def _remedy(low: float, high: float) -> str:
    """Guess from the range why the images are outside [0, 1], and return the remedy."""
    if low >= 0 and high > 2:
        return "divide 8-bit values by 255"
    if low < -0.01 or high > 1.01:
        return "undo the normalisation (images * std + mean), then clamp(0, 1)"
    return "clamp(0, 1) the rounding error"


def check_pair(reconstructions: Tensor, truths: Tensor) -> Tensor:
    """Return which reconstructions are finite, bool [n], or refuse batches that do not match."""
    finite = check_images(reconstructions, "reconstructions", allow_failed=True)
    check_images(truths, "truths")
    for what in ("shape", "dtype", "device"):
        ours, theirs = getattr(reconstructions, what), getattr(truths, what)
        if ours != theirs:
            raise ValueError(
                f"reconstructions and truths must have the same {what}, got {ours} and {theirs}"
            )
    return finite


def per_image(
    metric: Callable[[Tensor, Tensor], Tensor],
    reconstructions: Tensor,
    truths: Tensor,
    smallest_side: int = 1,
) -> Tensor:
    """Apply a batched metric to the pairs on which it is defined; the others are NaN.

    The arithmetic is float64 whatever the images' dtype: variances in SSIM are differences of
    nearly equal numbers, and a GPU's reduced-precision convolutions must not change a score.

    Args:
        metric: float64 [m, C, H, W], [m, C, H, W] -> [m], one value per pair.
        reconstructions: [n, C, H, W] in [0, 1]; failed ones hold NaN or infinity.
        truths: [n, C, H, W] in [0, 1].
        smallest_side: Below this side in pixels every value is NaN.

    Returns:
        float64 [n].
    """
    finite = check_pair(reconstructions, truths)
    scores = torch.full((len(truths),), torch.nan, dtype=torch.float64, device=truths.device)
    if min(truths.shape[2:]) >= smallest_side and finite.any():
        with torch.no_grad():
            scores[finite] = metric(reconstructions[finite].double(), truths[finite].double())
    return scores

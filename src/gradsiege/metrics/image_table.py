"""The image metrics as a table: one row per image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from gradsiege.errors import ModelError
from gradsiege.metrics.absent import Absent
from gradsiege.metrics.registry import METRICS


def table(reconstructions: Any, truths: Any) -> pd.DataFrame:
    """Return every image metric of each pair, one row per image.

    Args:
        reconstructions, truths: tensors, arrays or lists ``[n, c, h, w]`` in [0, 1]; the i-th reconstruction belongs to the i-th truth
            (`metrics.assignment.assign` finds the order within a batch).

    Returns:
        A column per metric of `metrics.registry.METRICS`. A metric that cannot be computed has no column, and
        ``table.attrs["absent"]`` holds the reason.

    >>> image = torch.full((1, 3, 16, 16), 0.5)
    >>> float(table(image, image + 0.25).psnr.round(4)[0])
    12.0412
    """
    truths = _tensor(truths)
    reconstructions = _tensor(reconstructions).to(truths.device)
    if reconstructions.is_floating_point() and truths.is_floating_point():
        reconstructions = reconstructions.to(truths.dtype)
    columns, absent = {}, {}
    for name, metric in METRICS.items():
        missing = metric.absence(*truths.shape[-2:])
        values = missing if missing is not None else metric.load()(reconstructions, truths)
        if isinstance(values, Absent):
            absent[name] = values.reason
        else:
            columns[name] = torch.as_tensor(values).tolist()
    rows = pd.DataFrame(columns)
    rows.attrs["absent"] = absent
    return rows


def refuse_unmeasurable(image_shape: tuple[int, int, int]) -> None:
    """Refuse images ``(channels, height, width)`` for which no metric is defined, before anything is computed.

    >>> refuse_unmeasurable((3, 16, 16))

    Raises:
        ModelError: they are neither grey nor of three colours.
    """
    if image_shape[0] not in (1, 3):
        raise ModelError(
            f"images have {image_shape[0]} channels, and the image metrics are defined for 1 or 3: call an attack on "
            "`gradsiege.observe(...)`, and measure its `images` by a metric of your own"
        )


def _tensor(images: Any) -> Tensor:
    """Return images as a tensor; half precision, which metrics do not take, as float32."""
    tensor = images if isinstance(images, Tensor) else torch.from_numpy(np.array(images))
    if not tensor.is_floating_point():
        raise ModelError(
            f"images hold {tensor.dtype}; divide bytes by 255 to get numbers in [0, 1]"
        )
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor

"""Real photographs, and disturbed copies of them, on which the metrics are compared."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

SIDE = 192


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """Keep the tests on one core, and their sums in one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="package")
def large() -> Tensor:
    """Four photographs, float64 [4, 3, 192, 192]."""
    from skimage import data

    crops = []
    for photograph in (data.astronaut(), data.chelsea(), data.coffee(), data.rocket()):
        image = torch.from_numpy(photograph.copy()).double().permute(2, 0, 1) / 255
        top, left = ((size - SIDE) // 2 for size in image.shape[1:])
        crops.append(image[:, top : top + SIDE, left : left + SIDE])
    return torch.stack(crops)


@pytest.fixture(scope="package")
def large_noisy(large: Tensor) -> Tensor:
    """The photographs under noise of four strengths, float64 [4, 3, 192, 192]."""
    return disturbed(large)


@pytest.fixture(scope="package")
def small(large: Tensor) -> Tensor:
    """The photographs at 32 pixels, float64 [4, 3, 32, 32]."""
    return torch.nn.functional.avg_pool2d(large, 6)


@pytest.fixture(scope="package")
def small_noisy(small: Tensor) -> Tensor:
    """The small photographs under noise of four strengths, float64 [4, 3, 32, 32]."""
    return disturbed(small)


def disturbed(images: Tensor) -> Tensor:
    """Add more noise to each next image, so that no two pairs score alike."""
    generator = torch.Generator().manual_seed(7)
    noise = torch.randn(images.shape, generator=generator, dtype=images.dtype)
    strength = torch.tensor([0.02, 0.05, 0.1, 0.2], dtype=images.dtype).reshape(4, 1, 1, 1)
    return (images + strength * noise).clamp(0, 1)

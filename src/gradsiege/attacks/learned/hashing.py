"""Feature hashing: an update of millions of coordinates as a few thousand sums (Weinberger et al., ICML 2009).

Every coordinate is added, with a fixed random sign, to one fixed random bin. Inner products survive in expectation, so what is
linear in the update stays learnable. Learning To Invert compresses updates so (Wu et al., UAI 2023, section 4.3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gradsiege.protocol.local_update import Tensors

TINY = 1e-30
# The least number of bins of a tensor, so that small tensors do not disappear beside large ones.
FEWEST = 16


def bins_of(sizes: Mapping[str, int], bins: int) -> dict[str, int]:
    """Return how many bins every tensor gets: its share of the coordinates, at least `FEWEST`, at most one a coordinate.

    >>> bins_of({"weight": 3000, "bias": 10, "small": 990}, 400)
    {'weight': 300, 'bias': 10, 'small': 99}
    """
    total = sum(sizes.values())
    return {
        name: min(size, max(FEWEST, round(bins * size / total))) for name, size in sizes.items()
    }


def log_lengths(update: Tensors) -> Tensor:
    """Return the logarithm of every tensor's length, ``[tensors]``: all that a defense says which only turns tensors (CENSOR).

    >>> log_lengths({"a": torch.tensor([3.0, 4.0]), "b": torch.tensor([1.0])})
    tensor([1.6094, 0.0000])
    """
    lengths = [value.detach().norm().clamp_min(TINY) for value in update.values()]
    return torch.stack(lengths).log()


@dataclass(frozen=True)
class Hashing:
    """A fixed map from updates to features; tensors share no bin, so noise on one leaves the others' alone.

    Attributes:
        places, signs: for every tensor the bin and the sign of each of its coordinates, ``[coordinates]``.
        widths: bins of every tensor.
    """

    places: Tensors
    signs: Tensors
    widths: dict[str, int]

    @classmethod
    def draw(cls, like: Tensors, bins: int, generator: torch.Generator) -> Hashing:
        """Draw a map for updates of the shapes of `like` to about `bins` features."""
        sizes = {name: value.numel() for name, value in like.items()}
        widths = bins_of(sizes, bins)
        places, signs = {}, {}
        for name, size in sizes.items():
            unshared = widths[name] == size
            # Where there is a bin for every coordinate, none needs to share one.
            drawn = torch.randint(widths[name], (size,), generator=generator)
            places[name] = torch.arange(size) if unshared else drawn
            sign = torch.randint(2, (size,), generator=generator) * 2.0 - 1
            signs[name] = torch.ones(size) if unshared else sign
        return cls(places, signs, widths)

    @property
    def features(self) -> int:
        """Length of a hashed update."""
        return sum(self.widths.values())

    def __call__(self, update: Tensors) -> Tensor:
        """Return the features ``[features]`` of one update, each tensor scaled to unit length first.

        The length says how well the model knows the image rather than what is on it, and spans decades on a trained one.
        """
        sums = []
        for name, place in self.places.items():
            value = update[name].detach().flatten()
            value = value / value.norm().clamp_min(TINY)
            empty = value.new_zeros(self.widths[name])
            sums.append(empty.index_add(0, place, value * self.signs[name]))
        return torch.cat(sums)

"""Draw for one class and match with another: conditioning in the generator's own label space (arXiv 2604.00955).

The inferred label belongs to the private classifier and stays in the matching loss whatever happens here. The generator
is asked for a class of the data that it was trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradsiege.attacks.spaces.l1_ball import onto_simplex
from gradsiege.attacks.spaces.space import Again, Space
from gradsiege.attacks.variables import Variables

LabelMapping = Literal["none", "mapped", "random", "oracle", "soft"]
CLASS = "class"


@dataclass(frozen=True)
class Translated:
    """`inner`, its images drawn for ``table[label]``.

    Attributes:
        table: ``[private classes]``, for each the generator's class.
    """

    inner: Space
    table: Tensor

    def start(self, generator: torch.Generator) -> Variables:
        """Draw the starting point of `inner`."""
        return self.inner.start(generator)

    def follow(self, before: Variables) -> Variables:
        """Go on as `inner` does."""
        return self.inner.follow(before)

    def decode(self, x: Variables, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the images for the translated labels.

        Both ``[images, c, h, w]``: as the network sees them, and in [0, 1].
        """
        return self.inner.decode(x, self.table.to(labels.device)[labels])

    def labels(self, x: Variables, labels: Tensor) -> Tensor:
        """Match with the labels as they are.

        The given ones, ``[images]``.
        """
        return labels

    def project(self, x: Variables) -> Variables:
        """Project as `inner` does."""
        return self.inner.project(x)


@dataclass(frozen=True)
class Conditioned:
    """`inner`, its images drawn for classes that every element has among its variables.

    Variables: those of `inner`, and ``class [images, classes]``, probabilities over the generator's classes, which mix its
    class embeddings. They start at one class drawn at random, or at all alike if they are optimised; optimised ones are
    projected to the simplex, others stay as they are.

    Attributes:
        count: images of one element.
        classes: that the generator knows.
        optimised: whether the probabilities are searched too.
    """

    inner: Space
    count: int
    classes: int
    optimised: bool = False

    def start(self, generator: torch.Generator) -> Variables:
        """Draw the starting point of `inner`, then the classes."""
        x, count = self.inner.start(generator), self.count
        if self.optimised:
            return {**x, CLASS: torch.full((count, self.classes), 1 / self.classes)}
        drawn = torch.randint(self.classes, (count,), generator=generator)
        return {**x, CLASS: F.one_hot(drawn, self.classes).float()}

    def follow(self, before: Variables) -> Variables:
        """Go on as `inner` does, with the same classes."""
        return {**self.inner.follow(before), CLASS: before[CLASS]}

    def decode(self, x: Variables, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the images for the element's own classes.

        Both ``[images, c, h, w]``: as the network sees them, and in [0, 1].
        """
        probabilities = x[CLASS] if self.optimised else x[CLASS].detach()
        return self.inner.decode(x, probabilities)

    def labels(self, x: Variables, labels: Tensor) -> Tensor:
        """Match with the labels as they are.

        The given ones, ``[images]``.
        """
        return labels

    def project(self, x: Variables) -> Variables:
        """Project as `inner` does, and optimised classes to the probability simplex."""
        x = self.inner.project(x)
        return {**x, CLASS: onto_simplex(x[CLASS])} if self.optimised else x


def remap(classifier: nn.Module, classes: int) -> Again:
    """Return what makes a fine pass of a coarse one: the same starts, the classes that `classifier` sees in its images.

    The most probable class of each image, as published; it is one of the data that the generator was trained on.
    """

    def again(starts: Variables, images: Tensor) -> Variables:
        with torch.no_grad():
            shown = torch.nan_to_num(images).flatten(0, 1)
            seen = classifier.to(images.device)(shown).argmax(-1)
        probabilities = F.one_hot(seen, classes).to(images.dtype)
        return {**starts, CLASS: probabilities.view(*images.shape[:2], classes)}

    return again

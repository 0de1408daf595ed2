"""The network of a learned attack: from hashed updates to images, trained on clients that the attacker simulated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradsiege.arithmetic import square_root
from gradsiege.errors import GradSiegeError, StudyError
from gradsiege.models.layers import initialize
from gradsiege.seeds import torch_generator

HELD_OUT = 0.1
LOOKS = 50
CHANCE = 4.0
TINY = 1e-12


@dataclass
class Examples:
    """Simulated updates, hashed, beside the images that they come from; the first `held` choose the training step.

    `features` ``[n, features]`` fill up while clients are simulated; `images` are ``[n, c, h, w]`` in [0, 1], `labels`
    ``[n]``.
    """

    features: Tensor
    images: Tensor
    labels: Tensor
    held: int


def plan(images: Tensor, labels: Tensor, updates: int, features: int) -> Examples:
    """Return the order of the simulated clients' images: held-out images once, then the others in turn, mirrored every other time.

    images: ``[m, c, h, w]`` in [0, 1]; labels: ``[m]``; the examples are of the shapes of `Examples`.

    Raises:
        StudyError: too few images or updates to train and to hold some out.
    """
    held = max(1, round(HELD_OUT * min(updates, len(images))))
    left = len(images) - held
    if updates - held < 2 or left < 2:
        raise StudyError(
            f"a learned attack needs two updates and two auxiliary images beside the {held} held out, not {updates} "
            f"updates of {len(images)} images; raise 'updates', or the count of aux"
        )
    turn = torch.arange(updates - held)
    chosen = torch.cat([torch.arange(held), held + turn % left])
    mirrored = torch.cat([torch.zeros(held, dtype=torch.bool), (turn // left) % 2 == 1])
    shown = images[chosen]
    shown = torch.where(mirrored[:, None, None, None], shown.flip(3), shown)
    return Examples(torch.zeros(updates, features), shown, labels[chosen], held)


class Inverter(nn.Module):
    """One hidden layer from features to what is added to a mean image ``[c, h, w]``.

    While it is trained, a share of the hidden units drops out (Srivastava et al., JMLR 2014), by an explicit generator.
    """

    def __init__(self, features: int, width: int, mean: Tensor) -> None:
        super().__init__()
        self.mean = mean
        self.hidden = nn.Linear(features, width)
        self.output = nn.Linear(width, mean.numel())

    def forward(
        self, features: Tensor, dropout: float = 0.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return images ``[n, c, h, w]``, not clipped, of features ``[n, features]``."""
        hidden = F.relu(self.hidden(features))
        if dropout:
            mask = torch.rand(hidden.shape, generator=generator) >= dropout
            hidden = hidden * mask / (1 - dropout)
        images: Tensor = self.mean + self.output(hidden).unflatten(1, self.mean.shape)
        return images


class Training:
    """Trains an `Inverter` by Adam with cosine decay, and keeps its answers at the step that served the held-out images best.

    It runs on the CPU, wherever the attack does: the network is small, and the same bytes come out everywhere.

    Attributes:
        answers: images ``[victims, c, h, w]`` of the best step so far; NaN before the first look.
        looks: mean squared error on held-out images ``[looks]`` after some of the steps, see `look_steps`.
    """

    def __init__(
        self,
        examples: Examples,
        observed: Tensor,
        width: int,
        learning_rate: float,
        batch_size: int,
        dropout: float,
        iterations: int,
        seed: tuple[object, ...],
    ) -> None:
        self.examples, self.observed = examples, observed
        self.learning_rate, self.batch_size, self.dropout = learning_rate, batch_size, dropout
        self.iterations = iterations
        self.generator = torch_generator(*seed, "training")
        mean = examples.images[examples.held :].mean(0)
        self.network = Inverter(observed.shape[1], width, mean)
        initialize(self.network, torch_generator(*seed, "network"))
        self.optimizer = torch.optim.Adam(self.network.parameters(), fused=True)
        self.answers = torch.full((len(observed), *mean.shape), torch.nan)
        self.looks = torch.full((len(self.look_steps),), torch.inf)
        self._ready: tuple[Tensor, Tensor, Tensor] | None = None

    @property
    def look_steps(self) -> range:
        """Numbers of the steps after which the held-out images are measured; the last step is one."""
        every = max(1, self.iterations // LOOKS)
        return range((self.iterations - 1) % every, self.iterations, every)

    def parts(self) -> dict[str, Any]:
        """Return everything that simulated clients and steps change, for a checkpoint."""
        return {
            "features": self.examples.features,
            "network": self.network,
            "optimizer": self.optimizer,
            "answers": self.answers,
            "looks": self.looks,
        }

    def step(self, number: int) -> None:
        """Take one step on a random batch of examples."""
        if self._ready is None:
            # After the last simulated client, or after a resumption: it depends on the features alone.
            self._ready = prepared(self.examples, self.observed)
        features, observed, usable = self._ready
        drawn = torch.randint(len(usable), (self.batch_size,), generator=self.generator)
        batch = usable[drawn]
        decay = 0.5 * (1 + math.cos(math.pi * number / self.iterations))
        self.optimizer.param_groups[0]["lr"] = decay * self.learning_rate
        self.optimizer.zero_grad()
        images = self.network(features[batch], self.dropout, self.generator)
        F.mse_loss(images, self.examples.images[batch]).backward()
        self.optimizer.step()
        if number in self.look_steps:
            self._look(self.look_steps.index(number), features, observed)

    @torch.no_grad()
    def _look(self, place: int, features: Tensor, observed: Tensor) -> None:
        """Measure the held-out images, and keep the victims' images if no earlier step was better."""
        held = self.examples.held
        finite = self.examples.features[:held].isfinite().all(1)
        images = self.network(features[:held][finite]).clamp(0, 1)
        error = F.mse_loss(images, self.examples.images[:held][finite])
        if error < self.looks.min():
            self.answers.copy_(self.network(observed).clamp(0, 1))
        self.looks[place] = error


def relevance(features: Tensor, images: Tensor) -> Tensor:
    """Return how much of the images each standardised feature tells, ``[features]``: a share of their variance, 0 by chance.

    It is the squared correlation with the images' pixels, averaged by the variance of these, less what chance alone gives:
    of features ``[n, features]`` that know nothing one in twenty exceeds 4 / n. Where a defense drowns most of an update in
    noise, this finds what it left.
    """
    count = len(images)
    pixels = images.flatten(1) - images.flatten(1).mean(0)
    # Pixels of photographs are few degrees of freedom; averaged colours of 8 x 8 cells say as much and cost less.
    cells = F.adaptive_avg_pool2d(pixels.view_as(images), 8).flatten(1)
    variance = cells.var(0).clamp_min(TINY)
    correlation = features.T @ (cells / square_root(variance)) / count
    share = (correlation.square() * variance).sum(1) / variance.sum()
    return (share - CHANCE / count).clamp_min(0)


def prepared(examples: Examples, observed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return features of examples and of victims as the network gets them, and which examples can be trained on.

    observed: ``[victims, features]``. Returns ``[n, features]``, ``[victims, features]`` and indices ``[usable]``.

    Features are in units of the training examples' mean and deviation, weighted by their `relevance`. A simulated
    update that is not finite is left out. A feature that never varies, such as one that a defense always removes, is zero.

    Raises:
        GradSiegeError: too few simulated updates are finite, or none of the held-out ones.
    """
    finite = examples.features.isfinite().all(1)
    usable = finite.nonzero().flatten()
    usable = usable[usable >= examples.held]
    if len(usable) < 2 or not finite[: examples.held].any():
        raise GradSiegeError(
            "the simulated clients' updates are not finite: the defense breaks the attacker's own clients, and nothing "
            "can be learned from them"
        )
    known = examples.features[usable]
    mean, deviation = known.mean(0), known.std(0)
    scale = torch.where(deviation > TINY, 1 / deviation.clamp_min(TINY), 0)
    weight = relevance((known - mean) * scale, examples.images[usable])
    if weight.any():
        # If no feature is informative, keep all; the held-out error then shows that nothing is learned.
        scale = scale * weight / square_root(weight.square().mean())
    return (examples.features - mean) * scale, (observed - mean) * scale, usable

"""Diffusion posterior sampling (Chung et al., ICLR 2023, arXiv 2209.14687) as the step of an optimizer."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from gradsiege.arithmetic import square_root
from gradsiege.attacks.optimizers.gradient import Adam
from gradsiege.attacks.spaces.denoised import ESTIMATE, NOISY, SIGMA
from gradsiege.attacks.variables import Variables, wide
from gradsiege.seeds import torch_generator

# Bends the levels of noise towards the small ones (Karras et al., NeurIPS 2022, equation 5 and table 1).
RHO = 7
SEED = "seed"
# Moves variables that are not the model's, such as a counter's map of noise.
REST = Adam(0.1, schedule="cosine")


def level(iteration: int, iterations: int, largest: float, least: float) -> float:
    """Return the deviation of the noise before a step: from `largest` down to `least`, 0 after the last (EDM, equation 5).

    >>> [round(level(step, 4, 10.0, 0.1), 3) for step in range(5)]
    [10.0, 2.934, 0.663, 0.1, 0.0]
    """
    if iteration == iterations:
        return 0.0
    way = iteration / max(1, iterations - 1)
    root = largest ** (1 / RHO) + way * (least ** (1 / RHO) - largest ** (1 / RHO))
    return float(root**RHO)


def ancestral(x: Tensor, denoised: Tensor, noise: Tensor, now: float, after: float) -> Tensor:
    """Return a draw from q(x' | x, image) with the estimate for the image, noise from `now` to `after`.

    It is DDPM's step for noise that is added without shrinking the image (Song et al., ICLR 2021, equation 47):
    x' = x + (s^2 - t^2) (D - x) / s^2 + t sqrt(s^2 - t^2) / s z, where (D - x) / s^2 is the score.

    >>> ancestral(torch.tensor([4.0]), torch.tensor([0.0]), torch.tensor([1.0]), 2.0, 0.0)
    tensor([0.])
    """
    share = 1 - (after / now) ** 2
    moved: Tensor = x + share * (denoised - x) + after * share**0.5 * noise
    return moved


def guidance(
    gradient: Tensor, now: float, after: float, weight: float, limit: float | None
) -> Tensor:
    """Return zeta_t grad of the likelihood distance at D(x), ``[n, ...]`` (DPS, algorithm 1, line 7).

    zeta_t = weight (s^2 - t^2) is the step of the score of p(update | x): with the exact likelihood in nats per coordinate, and the
    number of coordinates for weight, samples are those of the posterior. By Tweedie's formula the likelihood moves the
    estimate by s^2 weight |grad|. An estimate that is wrong by about s cannot have to move much further, so that this change
    is bounded by `limit` s, root mean square over an element.

    >>> guidance(torch.tensor([[3.0, 0.0]]), 1.0, 0.0, 1.0, None)
    tensor([[3., 0.]])
    >>> guidance(torch.tensor([[3.0, 3.0]]), 1.0, 0.0, 1.0, 0.5)
    tensor([[0.5000, 0.5000]])
    """
    pull = now**2 * weight * gradient
    if limit is not None:
        size = square_root(pull.flatten(1).square().mean(1)).clamp_min(1e-30)
        pull = pull * wide((limit * now / size).clamp(max=1), pull)
    bounded: Tensor = (1 - (after / now) ** 2) * pull
    return bounded


@dataclass(frozen=True)
class PosteriorSampler:
    """The ancestral sampler of a diffusion model, pulled by the gradient of the matching distance.

    Attributes:
        weight: of the distance, in nats: the number of coordinates for a distance in nats per coordinate; 0 samples the prior.
        limit: of the pull at each level, in units of the noise; None for none.
        largest, least: first and last level of noise.
    """

    weight: float
    limit: float | None
    largest: float
    least: float

    def rate(self, iteration: int, iterations: int) -> float:
        """Return zeta of an iteration before it is bounded."""
        now, after = self._levels(iteration, iterations)
        return self.weight * (now**2 - after**2)

    def _levels(self, iteration: int, iterations: int) -> tuple[float, float]:
        now, after = (
            level(step, iterations, self.largest, self.least) for step in (iteration, iteration + 1)
        )
        return now, after

    def start(self, x: Variables) -> Variables:
        """Return each element's seed ``[n]``, a digest of its own starting point, so that elements draw alike in any company."""
        rows = x[NOISY].cpu().numpy()
        seeds = [int.from_bytes(hashlib.sha256(row.tobytes()).digest()[:7], "big") for row in rows]
        return {SEED: torch.tensor(seeds, device=x[NOISY].device), **REST.start(_others(x))}

    def step(
        self, x: Variables, gradient: Variables, memory: Variables, iteration: int, iterations: int
    ) -> tuple[Variables, Variables]:
        """Take the sampler's step from the estimate that the gradient carries, less the guidance."""
        now, after = self._levels(iteration, iterations)
        noisy = x[NOISY]
        noise = _noise(memory[SEED], iteration, noisy)
        moved = ancestral(noisy, gradient[ESTIMATE], noise, now, after)
        moved = moved - guidance(gradient[NOISY], now, after, self.weight, self.limit)
        rest, remembered = REST.step(_others(x), gradient, memory, iteration, iterations)
        sampled = {
            NOISY: moved,
            SIGMA: torch.full_like(x[SIGMA], after),
            ESTIMATE: torch.zeros_like(moved),
        }
        return {**sampled, **rest}, {SEED: memory[SEED], **remembered}


def _others(x: Variables) -> Variables:
    return {name: value for name, value in x.items() if name not in (NOISY, SIGMA, ESTIMATE)}


def _noise(seeds: Tensor, iteration: int, like: Tensor) -> Tensor:
    """Draw N(0, 1) for every element with a generator of the CPU, so that every device samples alike."""
    drawn = [
        torch.randn(
            like.shape[1:], dtype=like.dtype, generator=torch_generator("sampler", seed, iteration)
        )
        for seed in seeds.tolist()
    ]
    return torch.stack(drawn).to(like.device)

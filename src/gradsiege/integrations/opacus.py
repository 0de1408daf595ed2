"""Opacus: a network and an optimiser that a `PrivacyEngine` made are read, so that an audit repeats no number by hand.

    engine = PrivacyEngine()
    model, optimizer, loader = engine.make_private(module=net, optimizer=sgd, data_loader=loader, noise_multiplier=1.0, max_grad_norm=1.0)
    private = private_training(model, optimizer, loader, engine, delta=1e-5)
    gs.audit(images=images, labels=labels, **private.arguments())

Opacus: Yousefpour et al., arXiv 2109.12298. Tried with version 1.6.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from gradsiege.defenses.dp_sgd import DpSgd, epsilon
from gradsiege.errors import UsageError
from gradsiege.extras import need
from gradsiege.protocol.local_update import LocalTraining

# Settings of PyTorch's optimisers that make a step more than the learning rate times the gradient.
BEYOND_PLAIN = ("momentum", "weight_decay", "nesterov")


@dataclass(frozen=True, eq=False)
class PrivateTraining:
    """The settings of a `PrivacyEngine`, as an audit takes them.

    Attributes:
        model: the network alone, a copy without Opacus' hooks.
        training: of a client: batches of the expected size, plain steps.
        defense: DP-SGD with the engine's noise multiplier and clipping bound.
        sample_rate: probability with which a step uses an image.
        epsilon_spent: of all steps so far, by the engine's accountant; 0 before the first.
        epsilon_per_round: of one client's local steps, by Renyi accounting; infinite without noise.
        notes: what was read, and how the simulation departs from it, in sentences.
    """

    model: nn.Module
    training: LocalTraining
    defense: DpSgd
    sample_rate: float
    epsilon_spent: float
    epsilon_per_round: float
    notes: tuple[str, ...]

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `gradsiege.audit` beside the pictures: model, training, defenses and remarks."""
        return {
            "model": self.model,
            "training": self.training,
            "defenses": [None, self.defense],
            "remarks": list(self.notes),
        }


def private_training(
    model: nn.Module,
    optimizer: Any,
    loader: Any,
    engine: Any,
    delta: float = 1e-5,
    *,
    local_steps: int = 1,
) -> PrivateTraining:
    """Return the private training that Opacus' `make_private` set up.

    Args:
        model, optimizer, loader: as `make_private` returned them.
        engine: the `PrivacyEngine`.
        delta: of the account, which Opacus does not keep.
        local_steps: that a client takes before it uploads; the simulation repeats one batch, and Opacus draws a new one per step.

    Raises:
        UsageError: they were not made by an engine, clip otherwise than by one fixed norm over all parameters, spread a batch over
            several processes, or have several learning rates.
        MissingError: Opacus is not installed.
    """
    need("opacus")
    if not hasattr(model, "to_standard_module") or not hasattr(optimizer, "noise_multiplier"):
        raise UsageError(
            f"{type(model).__name__} and {type(optimizer).__name__} were not made by Opacus; give what PrivacyEngine.make_private "
            "returned"
        )
    bound, noise = _clipping_bound(optimizer, engine), float(optimizer.noise_multiplier)
    batch = round(optimizer.expected_batch_size)
    rate = float(getattr(loader, "sample_rate", None) or 1 / len(loader))
    name: Literal["fedsgd", "fedavg"] = "fedsgd" if local_steps == 1 else "fedavg"
    training = LocalTraining(name, batch, batch, local_steps, _learning_rate(optimizer), "train")
    spent = _spent(engine, delta)
    of_round = epsilon(noise, rate, training.steps, delta) if noise else math.inf
    told = (
        f"Opacus: noise multiplier {noise:g}, clipping bound {bound:g}, sampling rate {rate:.3g}, batches of {batch}; epsilon is "
        f"{spent:.3g} so far and {of_round:.3g} for one round, at delta {delta:g}"
    )
    wrapped: Any = copy.deepcopy(model)
    return PrivateTraining(
        wrapped.to_standard_module().eval(),
        training,
        DpSgd(bound=bound, noise_multiplier=noise, delta=delta),
        rate,
        spent,
        of_round,
        (told, *_departures(optimizer, loader, local_steps)),
    )


def _clipping_bound(optimizer: Any, engine: Any) -> float:
    """Return the bound C of the norm over all parameters of a picture's gradient."""
    bound = optimizer.max_grad_norm
    if hasattr(optimizer, "world_size"):
        raise UsageError(
            f"{type(optimizer).__name__} spreads a batch over several processes; audits simulate a client of one process: make the engine "
            "with a network that is not distributed"
        )
    # Ghost clipping whose bound follows a quantile of the norms has the usual optimiser, on which every step sets this attribute.
    adaptive = (
        hasattr(optimizer, "_adjusted_noise_multiplier")
        or "AdaptiveClipping" in type(engine).__name__
    )
    if adaptive or hasattr(optimizer, "max_grad_norms") or "AdaClip" in type(optimizer).__name__:
        raise UsageError(
            f"{type(optimizer).__name__} does not clip by one fixed norm over all parameters; audits simulate clipping='flat' alone"
        )
    return float(bound)


def _learning_rate(optimizer: Any) -> float:
    """Return the learning rate of a mean over a batch."""
    rates = {float(group["lr"]) for group in optimizer.param_groups}
    if len(rates) > 1:
        raise UsageError(
            f"the optimiser has learning rates {sorted(rates)}; audits simulate one for all parameters"
        )
    if optimizer.loss_reduction != "mean":
        raise UsageError(
            f"loss_reduction is {optimizer.loss_reduction!r}; audits simulate 'mean': make the engine with it, and multiply the learning "
            "rate by the batch size"
        )
    return rates.pop()


def _spent(engine: Any, delta: float) -> float:
    """Return the epsilon of the steps so far; without noise the accountant has no answer, and nothing is private."""
    history = engine.accountant.history
    if not history:
        return 0.0
    if any(noise == 0 for noise, _, _ in history):
        return math.inf
    return float(engine.get_epsilon(delta))


def _departures(optimizer: Any, loader: Any, local_steps: int) -> list[str]:
    """Return in sentences what clients do that an audit does not simulate."""
    told = []
    plain = getattr(optimizer, "original_optimizer", optimizer)
    beyond = [name for name in BEYOND_PLAIN if any(group.get(name) for group in plain.param_groups)]
    if not isinstance(plain, torch.optim.SGD):
        told.append(
            f"clients step by {type(plain).__name__}, and plain gradient steps were simulated"
        )
    elif beyond:
        told.append(f"clients use {', '.join(beyond)}, which was not simulated")
    if local_steps > 1:
        told.append(
            f"Opacus draws a new batch in every step, and {local_steps} steps on the same batch were simulated"
        )
    if hasattr(loader, "sample_rate"):
        told.append(
            "batches drawn by Poisson sampling vary in size, and batches of the expected size were simulated"
        )
    return told

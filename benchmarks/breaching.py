"""The framework `breaching` (Geiping et al., github.com/JonasGeiping/breaching), called as its documentation says.

None of its code is here. The environment variable GRADSIEGE_BREACHING names a checkout; it runs in this process, on the same
networks, weights, victims and starting points as the engines. It attacks one victim at a time.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from torch import Tensor, nn

from benchmarks.textbook import plain_network
from gradsiege.attacks.engine.objective import Problem, Target

VARIABLE = "GRADSIEGE_BREACHING"
Watch = Callable[[Tensor], None]


def checkout() -> Path | None:
    """Return the checkout that the environment names, None if it names none.

    Raises:
        SystemExit: there is no such package in that folder.
    """
    named = os.environ.get(VARIABLE)
    if not named:
        return None
    folder = Path(named)
    if not (folder / "breaching" / "__init__.py").is_file():
        raise SystemExit(
            f"{VARIABLE}={named}: no package `breaching` in it; name the folder of a checkout"
        )
    return folder


def load(folder: Path) -> ModuleType:
    """Import the framework from its checkout."""
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module("breaching")
    finally:
        sys.path.remove(str(folder))


class Denormalised(nn.Module):
    """A network of images in [0, 1] as one of normalised images, which is what the framework optimises."""

    def __init__(self, network: nn.Module, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        self.network = network
        # No buffers: the framework would take them for the server's.
        self.mean, self.deviation = mean[:, None, None], deviation[:, None, None]

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of ``[b, c, h, w]``."""
        logits: Tensor = self.network(x * self.deviation + self.mean)
        return logits


@dataclass(frozen=True)
class Breaching:
    """Inverting Gradients of the framework against the victims of a problem: cosine, total variation, signed Adam in a box.

    Its total variation also counts the image's border against zero, and adds 1e-8 to every difference; ours does neither.
    """

    framework: Any
    problem: Problem
    target: Target

    def reconstruct(self, victim: int, start: Tensor, iterations: int, watch: Watch | None) -> None:
        """Attack one victim.

        Args:
            victim: its index.
            start: normalised pixels ``[1, c, h, w]``.
            iterations: length of the attack, by which its step size falls.
            watch: called with every candidate ``[1, c, h, w]``, normalised, before it is evaluated.
        """
        network = self._network(watch)
        device = start.device
        attacker = self.framework.attacks.prepare_attack(
            network,
            nn.CrossEntropyLoss(),
            self._settings(iterations),
            {"device": device, "dtype": start.dtype},
        )
        space: Any = self.problem.phase.space
        metadata = SimpleNamespace(
            shape=list(self.problem.observation.image_shape),
            mean=space.mean.tolist(),
            std=space.deviation.tolist(),
            modality="vision",
        )
        payload = {
            "parameters": [value.detach() for value in network.parameters()],
            "buffers": list(network.buffers()),
            "metadata": metadata,
        }
        observed = {name: value[victim] for name, value in self.target.observed.items()}
        names = [name.removeprefix("network.") for name, _ in network.named_parameters()]
        shared = {
            "gradients": [observed[name] for name in names],
            "buffers": None,
            "metadata": {
                "num_data_points": len(start),
                "labels": self.target.labels[victim],
                "local_hyperparams": None,
            },
        }
        attacker.reconstruct([payload], [shared], {}, initial_data=start)

    def _network(self, watch: Watch | None) -> nn.Module:
        space: Any = self.problem.phase.space
        network = Denormalised(plain_network(self.problem), space.mean, space.deviation).eval()
        if watch is not None:

            def look(module: nn.Module, inputs: Sequence[Tensor]) -> None:
                watch(inputs[0].detach().clone())

            network.register_forward_pre_hook(look)
        return network

    def _settings(self, iterations: int) -> Any:
        """Return the framework's own configuration of the attack, with our numbers of step, weight and length."""
        phase = self.problem.phase
        (weight, _), *_ = phase.regularizers
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            # Of Hydra, about a version that the framework asks for; the framework prints what it loads.
            warnings.simplefilter("ignore")
            return self.framework.get_attack_config(
                "invertinggradients",
                overrides=[
                    f"optim.max_iterations={iterations}",
                    f"optim.step_size={phase.optimizer.rate(0, iterations)}",
                    f"regularization.total_variation.scale={weight}",
                ],
            )

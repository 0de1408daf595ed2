"""The attack that is timed: random single-image victims of a network, cosine with total variation, signed Adam."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gradsiege.attacks.engine.objective import Problem, Target
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.objectives.distances import cosine
from gradsiege.attacks.objectives.regularizers import total_variation
from gradsiege.attacks.optimizers.gradient import Adam
from gradsiege.attacks.recipe import Phase
from gradsiege.attacks.variables import Variables
from gradsiege.models import ModelSpec, build
from gradsiege.protocol.local_update import LocalTraining, local_update, split_state
from gradsiege.protocol.observation import Observation, stacked
from gradsiege.protocol.threat_model import ThreatModel

WEIGHT = 0.01


@dataclass(frozen=True)
class Case:
    """A network and its number of victims.

    Attributes:
        name: of the network, as in a study file.
        victims: single images, each its own client.
        parameters: of the network.
        size: side of the images in pixels.
        rate, variation, iterations: step of Adam, weight of the total variation, length of the attack.
    """

    name: str
    victims: int
    parameters: Mapping[str, int] = field(default_factory=dict)
    size: int = 32
    rate: float = 0.1
    variation: float = WEIGHT
    iterations: int = 100

    @property
    def title(self) -> str:
        """The network, with parameters and image size where they are not the usual ones, for a table.

        >>> Case("convnet", 32, {"width": 16}).title, Case("resnet18", 4, size=64).title
        ('convnet (width 16)', 'resnet18 (64 px)')
        """
        facts = [f"{name} {value}" for name, value in self.parameters.items()]
        facts += [f"{self.size} px"] if self.size != 32 else []
        return f"{self.name} ({', '.join(facts)})" if facts else self.name

    def build(
        self, device: str = "cpu", images: Tensor | None = None
    ) -> tuple[Problem, Variables, Target]:
        """Return the problem, starting points and targets; random victims unless `images [victims, 3, size, size]` are given."""
        generator = torch.Generator().manual_seed(0)
        spec = ModelSpec(self.name, dict(self.parameters), 10, 3, self.size)
        model = build(spec, generator).to(device)
        parameters, buffers = split_state(model)
        shape = (self.victims, 1, 3, self.size, self.size)
        drawn = torch.rand(shape, generator=generator) if images is None else images[:, None]
        labels = torch.randint(0, 10, (self.victims, 1), generator=generator).to(device)
        training = LocalTraining("fedsgd", 1, 1, 1, 0.01, "eval")
        updates = [
            local_update(model, parameters, buffers, x, y, training)[0]
            for x, y in zip(drawn.to(device), labels, strict=True)
        ]
        update = stacked(updates)
        seen = Observation.of_updates(spec, parameters, buffers, update, training, labels=labels)
        space = Knowledge(seen, ThreatModel(id="benchmark")).pixels()
        terms = ((self.variation, total_variation),)
        phase = Phase(space, cosine, terms, Adam(self.rate, sign="hard"), self.iterations)
        x = {"x": torch.stack([space.start(generator)["x"] for _ in range(self.victims)])}
        target = Target(labels, update, torch.zeros_like(x["x"]), {})
        return Problem(model, seen, training, phase), x, target


def case(name: str, victims: int, device: str) -> tuple[Problem, Variables, Target]:
    """Return random single-image victims at 32 px and an attack on them."""
    return Case(name, victims).build(device)

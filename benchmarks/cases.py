"""The attack that is timed. Nothing heavy is imported here, so that start-up can be timed too."""

from __future__ import annotations

import torch

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


def case(name: str, victims: int, device: str) -> tuple[Problem, Variables, Target]:
    """Return random single-image victims at 32 px and an attack on them: cosine with total variation."""
    generator = torch.Generator().manual_seed(0)
    spec = ModelSpec(name, {}, 10, 3, 32)
    model = build(spec, generator).to(device)
    parameters, buffers = split_state(model)
    images = torch.rand(victims, 1, 3, 32, 32, generator=generator).to(device)
    labels = torch.randint(0, 10, (victims, 1), generator=generator).to(device)
    training = LocalTraining("fedsgd", 1, 1, 1, 0.01, "eval")
    updates = [
        local_update(model, parameters, buffers, x, y, training)[0]
        for x, y in zip(images, labels, strict=True)
    ]
    update = stacked(updates)
    seen = Observation.of_updates(spec, parameters, buffers, update, training, labels=labels)
    space = Knowledge(seen, ThreatModel("benchmark")).pixels()
    phase = Phase(space, cosine, ((WEIGHT, total_variation),), Adam(0.1, sign="hard"), 100)
    x = {"x": torch.stack([space.start(generator)["x"] for _ in range(victims)])}
    target = Target(labels, update, torch.zeros_like(x["x"]), {})
    return Problem(model, seen, training, phase), x, target

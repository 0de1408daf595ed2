"""Small attack problems, for tests of engines."""

from __future__ import annotations

import torch

from gradsiege.attacks.engine.objective import Evaluation, Problem, Target
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.objectives.distances import cosine
from gradsiege.attacks.objectives.regularizers import total_variation
from gradsiege.attacks.optimizers.gradient import Adam
from gradsiege.attacks.recipe import Phase
from gradsiege.attacks.spaces.pixels import PixelsAndLabels
from gradsiege.attacks.variables import Variables
from gradsiege.models import ModelSpec, build
from gradsiege.protocol.local_update import LocalTraining, local_update, split_state
from gradsiege.protocol.observation import Observation, stacked
from gradsiege.protocol.threat_model import ThreatModel

MODELS = {"lenet": {"channels": 4}, "convnet": {"width": 4}, "resnet18": {"width": 4}}
Case = tuple[Problem, Variables, Target]


def case(
    name: str = "lenet",
    *,
    mode: str = "eval",
    images: int = 2,
    steps: int = 1,
    joint: bool = False,
    kind: torch.dtype = torch.float64,
    elements: int = 3,
) -> Case:
    """A problem, random elements, and what they are matched with."""
    spec = ModelSpec(name, MODELS[name], 10, 3, 16)
    model = build(spec, torch.Generator().manual_seed(1)).to(kind)
    parameters, buffers = split_state(model)
    generator = torch.Generator().manual_seed(2)
    truth = torch.rand(elements, images, 3, 16, 16, generator=generator).to(kind)
    labels = torch.randint(0, 10, (elements, images), generator=generator)
    protocol = "fedsgd" if steps == 1 else "fedavg"
    training = LocalTraining(protocol, images, images // steps, 1, 0.1, mode)
    updates = [
        local_update(model, parameters, buffers, x, y, training)[0]
        for x, y in zip(truth, labels, strict=True)
    ]
    update = stacked(updates)
    seen = Observation.of_updates(spec, parameters, buffers, update, training, labels=labels)
    knowledge = Knowledge(seen, ThreatModel(id="test"))
    space = (
        PixelsAndLabels(*knowledge.pixel_arguments(), classes=10) if joint else knowledge.pixels()
    )
    phase = Phase(space, cosine, ((0.1, total_variation),), Adam(0.1, sign="hard"), 5)
    starts = [space.start(generator) for _ in range(elements)]
    x = {key: torch.stack([one[key] for one in starts]).to(kind) for key in starts[0]}
    consensus = torch.zeros(elements, images, 3, 16, 16, dtype=kind)
    return Problem(model, seen, training, phase), x, Target(labels, update, consensus, {})


def assert_same(found: Evaluation, expected: Evaluation, tolerance: float = 1e-8) -> None:
    torch.testing.assert_close(found[1], expected[1], rtol=tolerance, atol=1e-12)
    torch.testing.assert_close(found[0], expected[0], rtol=tolerance, atol=1e-12)

"""Measure the generic counter beside blind and hand-written attackers: `python -m benchmarks.generic [DEFENSE ...]`.

Two attacks meet an untrained network whose clients hold one crop of the packaged photographs each: Inverting Gradients (`pixels`), and
maximum a posteriori under a Gaussian prior (`gaussian`), in nats. All images play auxiliary roles: the attacker's are `aux`, the
attacked ones `tune`, and labels are granted, so that the match alone makes a difference. Nothing is tuned. Rows go to `generic.csv`;
`--table` writes them to docs/GENERIC.md and runs nothing.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.generic_table import FIELDS, write
from gradsiege import catalogue, datasets, defenses
from gradsiege.attacks.base import Attack
from gradsiege.attacks.engine.autotune import FIXED, EnginePolicy
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.matching import match
from gradsiege.attacks.recipes.inverting_gradients import InvertingGradients
from gradsiege.attacks.recipes.maximum_a_posteriori import MaximumAPosteriori
from gradsiege.defenses.base import Arm, Client
from gradsiege.federated.client import run_client
from gradsiege.federated.simulation import simulator
from gradsiege.models import ModelSpec, build
from gradsiege.priors.auxiliary_images import AuxiliaryImages
from gradsiege.priors.base import TrainedPrior
from gradsiege.priors.class_conditional_gaussian import ClassConditionalGaussian
from gradsiege.protocol.local_update import LocalTraining, split_state
from gradsiege.protocol.observation import Observation, stacked
from gradsiege.protocol.threat_model import ThreatModel
from gradsiege.seeds import torch_generator

ROWS = Path(__file__).with_name("generic.csv")
GENERIC = "generic.learned_reliability"
TRAINING = LocalTraining("fedsgd", 1, 1, 1, 0.01, "eval")
MODELS: dict[str, dict[str, Any]] = {"convnet": {"width": 16}, "lenet": {}}
# Strengths of the adaptive study; names of defenses, and for the released arm with that behind a slash.
SETTINGS: dict[str, dict[str, Any]] = {
    "none": {},
    "gaussian": {"sigma": 0.1},
    "laplace": {"scale": 0.1},
    "quantization": {"levels": 4},
    "sign": {},
    "top_k": {"fraction": 0.01},
    "sparsification": {"percent": 99.0},
    "censor": {},
    "censor/as_released": {},
    "dp_sgd": {"noise_multiplier": 0.1},
    "tip": {"ratio": 0.1},
    "agp": {},
    "soteria": {"prune": 60.0, "probes": 64},
    "precode": {},
    "clipping": {},
}
# It stacks several rounds, and there is one.
OTHERS = ("censor.null_space",)


@dataclass(frozen=True)
class Scene:
    """Crops of the photographs: the attacker's ``[n, 3, side, side]``, and the attacked ones, with labels."""

    aux: tuple[Tensor, Tensor]
    attacked: tuple[Tensor, Tensor]
    model: str

    @classmethod
    def draw(cls, images: int, side: int, aux: int, model: str) -> Scene:
        """Cut crops whose roles share no pixel."""
        counts = {"train": 10, "test": 10, "aux": aux, "public": 10, "tune": images, "victims": 10}
        splits = datasets.prepare("photos", side, counts, 12345, {}, None).splits
        pairs = [
            (
                torch.from_numpy(splits[role].images).float() / 255,
                torch.from_numpy(splits[role].labels),
            )
            for role in ("aux", "tune")
        ]
        return cls(pairs[0], pairs[1], model)

    @cached_property
    def priors(self) -> tuple[TrainedPrior, ...]:
        """What the attacker makes of its images."""
        given = (AuxiliaryImages(), ClassConditionalGaussian())
        return tuple(
            TrainedPrior(prior.name, *prior.train(*self.aux, torch.Generator().manual_seed(0)))
            for prior in given
        )


def observed(scene: Scene, setting: str) -> Observation:
    """Return what a server sees of clients under a defense, one per attacked image."""
    images, labels = scene.attacked
    name, _, released = setting.partition("/")
    arm: Arm = "as_released" if released else "faithful"
    parameters = catalogue.entries("defenses")[name].validate(SETTINGS[setting], "benchmark")
    defended = defenses.build(name, parameters, arm)
    sizes = catalogue.entries("models")[scene.model].validate(MODELS[scene.model], "benchmark")
    spec = defended.wrap_model(ModelSpec(scene.model, sizes, 10, 3, images.shape[-1]))
    network = build(spec, torch.Generator().manual_seed(1))
    values, buffers = split_state(network)
    updates = [
        run_client(
            Client(
                model=network,
                parameters=values,
                buffers=buffers,
                images=image[None],
                labels=label[None],
                training=TRAINING,
                generator=torch_generator("benchmark", setting, number),
            ),
            defended,
        )[0]
        for number, (image, label) in enumerate(zip(images, labels, strict=True))
    ]
    return Observation.of_updates(
        spec,
        values,
        buffers,
        stacked(updates),
        TRAINING,
        disclosure=defended.disclosure(),
        labels=labels[:, None],
    )


def psnr(scene: Scene, seen: Observation, attack: Attack) -> float:
    """Return the mean PSNR of an attack in dB."""
    threat = ThreatModel(id="benchmark", labels="given", disclosure=attack.counter is not None)
    knowledge = Knowledge(seen, threat, scene.priors)
    simulate = simulator(seen, 0, 1) if attack.simulates else None
    matched = match(
        attack, knowledge, ("benchmark", "attack"), EnginePolicy(FIXED), simulate=simulate
    )
    images = matched.reconstruction.images[:, 0].clamp(0, 1)
    errors = (images - scene.attacked[0]).square().mean((1, 2, 3))
    return float((-10 * errors.log10()).mean())


def attacks(setting: str, iterations: int) -> Iterator[tuple[str, Attack]]:
    """Yield (name, attack) for blind, generic and hand-written attackers; under the Gaussian prior, of the latter the likelihoods."""
    defense = setting.partition("/")[0]
    written = [
        name
        for name in catalogue.entries("counters")
        if name.partition(".")[0] == defense and name not in OTHERS
    ]
    likelihoods = [name for name in written if name.endswith("likelihood")]
    for counter in (None, GENERIC, *written):
        yield (
            "pixels",
            InvertingGradients(
                iterations=iterations, learning_rate=0.2, total_variation=0.03, counter=counter
            ),
        )
    for counter in (None, GENERIC, *likelihoods):
        yield "gaussian", MaximumAPosteriori(iterations=iterations, counter=counter)


def rows(scene: Scene, names: list[str], iterations: int) -> Iterator[dict[str, Any]]:
    """Yield one row per attack."""
    for setting in names:
        seen = observed(scene, setting)
        for recipe, attack in attacks(setting, iterations):
            yield {
                "model": scene.model,
                "defense": setting,
                "attack": recipe,
                "counter": attack.counter or "",
                "psnr": f"{psnr(scene, seen, attack):.2f}",
                "images": len(scene.attacked[0]),
                "iterations": iterations,
                "side": scene.attacked[0].shape[-1],
            }


def main(arguments: list[str] | None = None) -> None:
    """Append rows, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("defense", nargs="*", default=list(SETTINGS), help="by default all")
    parser.add_argument("--model", choices=MODELS, default="convnet")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--side", type=int, default=16)
    parser.add_argument("--aux", type=int, default=300)
    parser.add_argument("--rows", type=Path, default=ROWS)
    parser.add_argument("--table", action="store_true", help="write docs/GENERIC.md, run nothing")
    given = parser.parse_args(arguments)
    if given.table:
        write(given.rows)
        return
    torch.set_num_threads(1)
    scene = Scene.draw(given.images, given.side, given.aux, given.model)
    new = not given.rows.exists()
    with given.rows.open("a", encoding="utf-8", newline="") as file:
        out = csv.DictWriter(file, FIELDS, lineterminator="\n")
        if new:
            out.writeheader()
        for row in rows(scene, given.defense, given.iterations):
            out.writerow(row)
            file.flush()


if __name__ == "__main__":
    main()

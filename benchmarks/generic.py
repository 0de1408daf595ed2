"""Measure the generic counter beside blind and hand-written attackers: `python -m benchmarks.generic [DEFENSE ...]`.

Inverting Gradients attacks an untrained convnet whose clients hold crops of the packaged photographs. All images play auxiliary roles:
the attacker's are `aux`, the attacked ones `tune`, and labels are granted, so that the match alone makes a difference. The
hand-written counter is the best one of the defense, in hindsight. Prints a Markdown table of mean PSNR in dB.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gradsiege import catalogue, datasets, defenses
from gradsiege.attacks.engine.autotune import FIXED, EnginePolicy
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.matching import match
from gradsiege.attacks.recipes.inverting_gradients import InvertingGradients
from gradsiege.defenses.base import Client
from gradsiege.federated.client import run_client
from gradsiege.federated.simulation import simulator
from gradsiege.models import ModelSpec, build
from gradsiege.priors.auxiliary_images import AuxiliaryImages
from gradsiege.priors.base import TrainedPrior
from gradsiege.protocol.local_update import LocalTraining, split_state
from gradsiege.protocol.observation import Observation, stacked
from gradsiege.protocol.threat_model import ThreatModel
from gradsiege.seeds import torch_generator

GENERIC = "generic.learned_reliability"
TRAINING = LocalTraining("fedsgd", 1, 1, 1, 0.01, "eval")
# Strengths of the adaptive study.
SETTINGS: dict[str, dict[str, Any]] = {
    "none": {},
    "gaussian": {"sigma": 0.1},
    "laplace": {"scale": 0.1},
    "sparsification": {"percent": 99.0},
    "top_k": {"fraction": 0.01},
    "sign": {},
    "quantization": {"levels": 4},
    "soteria": {"prune": 60.0, "probes": 64},
    "precode": {},
    "agp": {},
    "tip": {"ratio": 0.1},
    "censor": {},
}


@dataclass(frozen=True)
class Scene:
    """Crops of the photographs: the attacker's ``[n, 3, side, side]``, and the attacked ones, with labels."""

    aux: tuple[Tensor, Tensor]
    attacked: tuple[Tensor, Tensor]
    width: int

    @classmethod
    def draw(cls, images: int, side: int, aux: int, width: int) -> Scene:
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
        return cls(pairs[0], pairs[1], width)


def observed(scene: Scene, defense: str) -> Observation:
    """Return what a server sees of clients under a defense, one per attacked image."""
    images, labels = scene.attacked
    entry = catalogue.entries("defenses")[defense]
    defended = defenses.build(defense, entry.validate(SETTINGS[defense], "benchmark"))
    side = images.shape[-1]
    spec = defended.wrap_model(ModelSpec("convnet", {"width": scene.width}, 10, 3, side))
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
                generator=torch_generator("benchmark", defense, number),
            ),
            defended,
        )[0]
        for number, (image, label) in enumerate(zip(images, labels, strict=True))
    ]
    stated = defended.disclosure()
    return Observation.of_updates(
        spec,
        values,
        buffers,
        stacked(updates),
        TRAINING,
        disclosure=stated,
        labels=labels[:, None],
    )


def psnr(scene: Scene, seen: Observation, counter: str | None, iterations: int) -> float:
    """Return the mean PSNR of an attack in dB."""
    threat = ThreatModel(id="benchmark", labels="given", disclosure=counter is not None)
    weights, card = AuxiliaryImages().train(*scene.aux, torch.Generator().manual_seed(0))
    knowledge = Knowledge(seen, threat, (TrainedPrior("auxiliary_images", weights, card),))
    attack = InvertingGradients(
        iterations=iterations, learning_rate=0.2, total_variation=0.03, counter=counter
    )
    simulate = simulator(seen, 0, 1) if attack.simulates else None
    matched = match(
        attack, knowledge, ("benchmark", "attack"), EnginePolicy(FIXED), simulate=simulate
    )
    errors = (matched.reconstruction.images[:, 0] - scene.attacked[0]).square().mean((1, 2, 3))
    return float((-10 * errors.log10()).mean())


def rows(scene: Scene, names: list[str], iterations: int) -> Iterator[tuple[str, ...]]:
    """Yield (defense, blind, best hand-written, its name, generic, seconds of processor time of the generic one)."""
    for defense in names:
        seen = observed(scene, defense)
        known = catalogue.entries("counters")
        written = {
            name: psnr(scene, seen, name, iterations)
            for name in known
            if name.partition(".")[0] == defense
        }
        best = max(written, key=lambda name: written[name]) if written else ""
        blind = psnr(scene, seen, None, iterations)
        started = time.process_time()
        generic = psnr(scene, seen, GENERIC, iterations)
        seconds = time.process_time() - started
        hand = f"{written[best]:.1f}" if best else ""
        idea = best.partition(".")[2]
        yield defense, f"{blind:.1f}", hand, idea, f"{generic:.1f}", f"{seconds:.0f}"


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("defense", nargs="*", default=list(SETTINGS), help="by default all")
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--iterations", type=int, default=150)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--aux", type=int, default=300)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    scene = Scene.draw(given.images, given.side, given.aux, given.width)
    print("| defense | blind | hand-written | which | generic | seconds |")
    print("|---|---|---|---|---|---|")
    for row in rows(scene, given.defense, given.iterations):
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()

"""Count how many labels each rule finds, for every model and every defense: `python -m benchmarks.labels [MODEL ...]`.

A trial is one client of an untrained network, with default parameters of its defense. Images are crops of the packaged
photographs, each used once, class by class in turn; a batch of four holds four classes, or two of two. A number is the share
of a batch's labels that were found, as multisets, on average. Rows go to `labels.jsonl`; `--table` writes them to
docs/LABELS.md and runs nothing.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.labels_table import write
from gradsiege import catalogue, datasets, defenses
from gradsiege.attacks import labels
from gradsiege.attacks.counters.censor import label_by_orthogonality
from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.recipe import Recipe
from gradsiege.defenses.base import Client, Defense
from gradsiege.federated.client import train_locally, upload
from gradsiege.metrics.labels import label_accuracy
from gradsiege.models import ModelSpec, build
from gradsiege.models.head import head_of
from gradsiege.models.layers import initialize
from gradsiege.priors.shadow_generator import ShadowGeneratorNetwork
from gradsiege.protocol.local_update import LocalTraining, Tensors, split_state
from gradsiege.protocol.observation import Observation, stacked
from gradsiege.protocol.threat_model import ThreatModel

ROWS = Path(__file__).with_name("labels.jsonl")
CLASSES, TRIALS, NETWORKS = 10, 40, 4
# Side of the images, and sizes of the networks at which thousands of clients take minutes on one core.
MODELS: dict[str, tuple[int, dict[str, Any]]] = {
    "lenet": (16, {}),
    "convnet": (16, {"width": 16}),
    "resnet18": (16, {"width": 8}),
    "vgg11": (32, {"width": 8}),
    "densenet121": (16, {"growth": 4}),
    "vit_small": (16, {"depth": 2, "width": 96}),
}
# The hooks of a defense that act in a local step.
LOCAL = ("transform_batch", "transform_gradient")
# What only costs time and changes no label: Shadow's latents, and how exactly Soteria ranks.
CHEAP: dict[str, dict[str, Any]] = {
    "shadow": {"shadow_steps": 1, "latent_steps": 2},
    "soteria": {"probes": 4},
}


@dataclass(frozen=True)
class Batches:
    """How many images a client has, and whether their labels repeat."""

    name: str
    images: int
    duplicates: bool = False

    def deal(self, images: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``[trials, images, c, h, w]`` and ``[trials, images]`` of images whose classes take turns."""
        count = TRIALS * self.images
        images, true = images[:count], true[:count]
        if self.duplicates:
            # Blocks of all classes, twice: image i of one block goes beside image i of the next.
            order = torch.arange(count).view(-1, 2, CLASSES).transpose(1, 2).flatten()
            images, true = images[order], true[order]
        return images.view(TRIALS, self.images, *images.shape[1:]), true.view(TRIALS, self.images)


BATCHES = (Batches("one image", 1), Batches("four classes", 4), Batches("two of two", 4, True))


@cache
def photographs(size: int) -> tuple[Tensor, Tensor]:
    """Return images in [0, 1] and labels, class by class in turn."""
    split = datasets.prepare("photos", size, {"victims": TRIALS * 4}, 0).splits["victims"]
    return torch.from_numpy(split.images).float() / 255, torch.from_numpy(split.labels)


def every_defense(size: int) -> Iterator[tuple[str, str, Defense]]:
    """Return (name, arm, defense) for every defense and arm of the catalogue."""
    network = ShadowGeneratorNetwork(8, 4, 3, size)
    initialize(network, torch.Generator().manual_seed(7))
    for name, entry in catalogue.entries("defenses").items():
        for arm in entry.arms:
            parameters = entry.validate(CHEAP.get(name, {}), "benchmark")
            yield name, arm, defenses.build(name, parameters, arm, dict(network.state_dict()))


@dataclass
class Clients:
    """Clients of one untrained network, who meet one defense after the other.

    What they trained without a defense is kept for those defenses that change the upload alone.
    """

    model: str
    batches: Batches
    seed: int

    def __post_init__(self) -> None:
        """Choose the clients' images."""
        images, true = self.batches.deal(*photographs(MODELS[self.model][0]))
        each = TRIALS // NETWORKS
        own = slice(self.seed * each, (self.seed + 1) * each)
        self.images, self.true = images[own], true[own]
        self.trained: list[tuple[Tensors, Tensors]] = []

    def meet(self, defense: Defense) -> Observation:
        """Return what the server sees."""
        size, sizes = MODELS[self.model]
        parameters = catalogue.entries("models")[self.model].validate(sizes, "benchmark")
        spec = defense.wrap_model(ModelSpec(self.model, parameters, CLASSES, 3, size))
        network = build(spec, torch.Generator().manual_seed(self.seed))
        count = self.batches.images
        training = LocalTraining("fedsgd", count, count, 1, 0.1, "eval")
        clients = [
            Client(network, *split_state(network), x, y, training, torch.Generator().manual_seed(n))
            for n, (x, y) in enumerate(zip(self.images, self.true, strict=True), 1000 * self.seed)
        ]
        trained = (
            [train_locally(client, defense) for client in clients]
            if any(getattr(type(defense), hook) is not getattr(Defense, hook) for hook in LOCAL)
            else self._undefended(clients)
        )
        updates = [
            upload(*one, client, defense)[0] for one, client in zip(trained, clients, strict=True)
        ]
        update = stacked(updates)
        held, stated = clients[0], defense.disclosure()
        return Observation.of_updates(
            spec, held.parameters, held.buffers, update, training, disclosure=stated
        )

    def _undefended(self, clients: list[Client]) -> list[tuple[Tensors, Tensors]]:
        if not self.trained:
            self.trained = [train_locally(client, Defense()) for client in clients]
        return self.trained


def answers(seen: Observation) -> dict[str, Tensor]:
    """Return what every rule says, ``[victims, images]`` each; rules that do not apply are left out."""
    head = head_of(seen.model, {**seen.parameters, **seen.buffers})
    rules = {
        rule: labels.infer(seen.update, seen.images_per_client, rule, head) for rule in labels.RULES
    }
    found = {"automatic": labels.inferred(seen), **rules}
    unbiased = replace(head, bias=None)
    found["automatic, no bias"] = labels.infer(
        seen.update, seen.images_per_client, "automatic", unbiased
    )
    if seen.images_per_client == 1:
        threat = ThreatModel(id="benchmark", disclosure=True)
        plan = AttackPlan(Knowledge(seen, threat), Recipe(()))
        found["orthogonality"] = label_by_orthogonality(plan)
    return found


def accuracy(crowd: list[Clients], defense: Defense) -> dict[str, float]:
    """Return the mean accuracy of every rule over all clients."""
    parts: dict[str, list[Tensor]] = {}
    for clients in crowd:
        for rule, found in answers(clients.meet(defense)).items():
            parts.setdefault(rule, []).append(label_accuracy(found, clients.true))
    return {rule: round(float(torch.cat(one).mean()), 4) for rule, one in parts.items()}


def measure(model: str, batches: Batches, chosen: list[str]) -> Iterator[dict[str, Any]]:
    """Return a row per defense and arm, of the defenses that are chosen or of all."""
    crowd = [Clients(model, batches, seed) for seed in range(NETWORKS)]
    for name, arm, defense in every_defense(MODELS[model][0]):
        if chosen and name not in chosen:
            continue
        yield {
            "model": model,
            "batches": batches.name,
            "defense": name,
            "arm": arm,
            "trials": TRIALS,
            "accuracy": accuracy(crowd, defense),
        }


def main() -> None:
    """Measure, print and keep the rows of the models that are named, or of all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", help=f"of {', '.join(MODELS)}; all if none is named")
    parser.add_argument("--defenses", nargs="*", default=[], help="these alone")
    parser.add_argument("--table", action="store_true", help="write docs/LABELS.md, run nothing")
    given = parser.parse_args()
    torch.set_num_threads(1)
    when = datetime.now(UTC).isoformat(timespec="seconds")
    if given.table:
        write(ROWS)
        return
    for batches, model in itertools.product(BATCHES, given.models or MODELS):
        for row in measure(model, batches, given.defenses):
            print(json.dumps({"when": when, **row}), flush=True)
            with ROWS.open("a", encoding="utf-8") as rows:
                rows.write(json.dumps({"when": when, **row}) + "\n")


if __name__ == "__main__":
    main()

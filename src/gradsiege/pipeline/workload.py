"""Rough estimates of a cell's time and memory before any measurement, for limits of cluster jobs and sizes of shards."""

from __future__ import annotations

from gradsiege.pipeline.cells import Cell, cells
from gradsiege.study import Study
from gradsiege.study.tuning import is_tuned

# Seconds of a forward and backward pass of one 32-pixel image through a small network on one slow core.
SECONDS_PER_PASS = 0.02
# Seconds of a cell for reading, writing and measuring, beside its passes.
SECONDS_PER_CELL = 2.0


def images_attacked(cell: Cell, study: Study) -> int:
    """Return the number of images that an attack holds in memory at once."""
    images = int(study.one("protocols", cell.protocol).images)
    return study.victims * images * int(study.one("attacks", cell.attack).restarts)


def attacks_alike(cell: Cell, study: Study) -> int:
    """Return how many attacks of the study share the network, the protocol and the entry of this one.

    A counter builds the defense's numbers, or what it learns of the defense, into its objective: only cells of one defense share it.
    """
    same = ["dataset", "model", "protocol", "attack"]
    if study.one("attacks", cell.attack).counter:
        same.append("defense")
    wanted = [getattr(cell, name) for name in same]
    every = cells(study)["attack"]
    return sum([getattr(other, name) for name in same] == wanted for other in every)


def passes(cell: Cell, study: Study) -> float:
    """Return the approximate number of forward and backward passes of one 32-pixel image in a cell."""
    dataset, federation = study.one("datasets", cell.dataset), study.federation
    count: float = sum(dataset.counts.values())
    if cell.stage == "prior":
        chosen = study.one("priors", cell.prior).parameters
        count = chosen.get("epochs", 100) * dataset.counts["aux"]
        if "epochs" not in chosen and {"steps", "batch_size"} <= chosen.keys():
            # A generator and a discriminator, the second on two batches.
            count = 3 * chosen["steps"] * chosen["batch_size"]
    elif cell.stage == "shadow":
        count = 100 * dataset.counts["public"]
    elif cell.stage == "federate":
        share = federation.clients_per_round / federation.clients
        epochs = federation.rounds * federation.local_epochs
        count = epochs * share * dataset.counts["train"]
        # A defense that searches does so once for every image that it meets; a step costs it about half of a pass.
        searched = study.one("defenses", cell.defense).parameters
        count += dataset.counts["train"] * 0.5 * searched.get("latent_steps", 0)
    elif cell.stage == "attack":
        iterations = study.one("attacks", cell.attack).iterations
        count = 2 * iterations * images_attacked(cell, study)
        if study.tuning and is_tuned(study, cell.attack, cell.threat_model):
            share = study.tuning.trials * study.tuning.clients / study.victims
            count *= 1 + share
    elif cell.stage == "observe":
        # A defense may search for every image by itself, as Shadow does.
        count = 50 * study.victims * int(study.one("protocols", cell.protocol).images)
    elif cell.stage == "score":
        # A perceptual distance of every reconstruction, and once of the gallery.
        count = 0.2 * (dataset.counts["aux"] + dataset.counts["test"])
    return float(count * (dataset.size / 32) ** 2)


def seconds(cell: Cell, study: Study) -> float:
    """Return the seconds that a cell may take on a slow core, without the start of its process."""
    return SECONDS_PER_CELL + SECONDS_PER_PASS * passes(cell, study)


def megabytes(cell: Cell, study: Study) -> float:
    """Return the memory that a cell may need: libraries, data set, and an attack's activations."""
    dataset = study.one("datasets", cell.dataset)
    image = 3 * dataset.size**2 * 4 / 1e6
    held = 4 * image * sum(dataset.counts.values())
    if cell.stage == "attack":
        held += 1000 * image * images_attacked(cell, study)
    return float(2000 + held)

"""Stage `observe`: let each victim run the client loop once, and split the result into observation and truth."""

from __future__ import annotations

from gradsiege import defenses
from gradsiege.federated.diagnostics import save_explanations
from gradsiege.federated.victims import chosen_victims, run_victims
from gradsiege.images import load_images
from gradsiege.pipeline.cells import grants_candidates, shadow_of
from gradsiege.pipeline.jobs import Job
from gradsiege.protocol.checkpoint import load_checkpoint
from gradsiege.protocol.gallery import gallery_of
from gradsiege.protocol.local_update import LocalTraining
from gradsiege.protocol.observation import save_observation, save_truth


def observe(job: Job) -> None:
    """Write ``observation.safetensors`` (what the server sees) and ``truth.safetensors`` (sealed).

    A third file, ``explanation.safetensors``, holds diagnostics of the first victims' models.
    """
    cell, study = job.cell, job.study
    checkpoint = load_checkpoint(
        job.input(cell.at("federate"), f"{cell.training_stage}.safetensors")
    )
    entry = study.one("defenses", cell.defense)
    shadow = shadow_of(cell, study)
    pretrained = job.input(shadow, "shadow.safetensors") if shadow else None
    defense = defenses.build(entry.name, entry.parameters, entry.arm, pretrained)
    protocol = study.one("protocols", cell.protocol)
    role, role_labels, _ = load_images(job.input(cell.at("fetch"), "victims.safetensors"))
    images, labels = chosen_victims(
        role[:], role_labels, study.victims, protocol.images, duplicates=protocol.duplicates
    )
    observed = run_victims(
        checkpoint,
        defense,
        LocalTraining(**protocol.training),
        images,
        labels,
        # The noise of a victim does not depend on the attack: all attacks face the same update.
        (study.seed, cell.key),
        of_rounds=max(study.federation.rounds, 1),
        rounds=protocol.rounds,
        explained=study.explained,
    )
    observation = observed.observation
    if grants_candidates(study):
        test, _, _ = load_images(job.input(cell.at("fetch"), "test.safetensors"))
        observation = observation.with_candidates(gallery_of(images, test))
    failures = observation.failures
    if failures:
        job.fail(
            f"{len(failures)} of {study.victims} victims: "
            + "; ".join(sorted(set(failures.values())))
        )
    save_observation(job.path("observation.safetensors"), observation)
    save_truth(job.path("truth.safetensors"), images, labels, observed.trained_images)
    save_explanations(job.path("explanation.safetensors"), observed.explanations)

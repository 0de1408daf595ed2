"""Auxiliary lookup: planted images are found, and the best one of others is what a reference says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lookups import CLASSES, auxiliary, observed, pictures

import gradsiege as gs
from gradsiege.errors import StudyError
from gradsiege.protocol.local_update import LocalTraining

IMAGES, LABELS = pictures(4, 0), torch.tensor([0, 2, 2, 3])
AUX, AUX_LABELS = pictures(20, 1), torch.arange(20) % CLASSES
PLANTED = auxiliary(torch.cat([AUX, IMAGES]), torch.cat([AUX_LABELS, LABELS]))
GIVEN = gs.ThreatModel(labels="given")
ATTACK = gs.attacks.AuxiliaryLookup()


@pytest.mark.parametrize("steps", [1, 3])
def test_an_auxiliary_image_that_is_the_private_one_is_found(steps: int) -> None:
    name = "fedsgd" if steps == 1 else "fedavg"
    training = LocalTraining(name, 1, 1, steps, 0.2, "eval")
    result = ATTACK(observed(IMAGES, LABELS, training=training), priors=PLANTED)
    assert torch.equal(result.images, IMAGES)
    assert result.labels.tolist() == LABELS.tolist()
    assert result.matching_loss.abs().max() < 1e-6


def test_under_the_noise_that_a_counter_knows_it_is_found_too() -> None:
    seen = observed(IMAGES, LABELS, defense=gs.defenses.Laplace(scale=0.02))
    informed = gs.attacks.AuxiliaryLookup(counter="laplace.likelihood")
    result = informed(seen, gs.ThreatModel(disclosure=True), PLANTED)
    assert torch.equal(result.images, IMAGES)
    assert 0.9 < result.matching_loss.mean() < 1.1, "the mean of |noise| / b is 1"


def test_without_the_private_image_the_one_of_least_distance_is_returned() -> None:
    seen = observed(IMAGES, LABELS)
    result = ATTACK(seen, priors=auxiliary(AUX, AUX_LABELS))
    updates = observed(AUX, AUX_LABELS).update

    def flat(update: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.cat([value.flatten(1) for value in update.values()], 1).double()

    ours, theirs = flat(updates), flat(seen.update)
    cosines = torch.nn.functional.cosine_similarity(theirs[:, None], ours[None], dim=2)
    best = cosines.argmax(1)
    assert torch.equal(result.images, AUX[best])
    assert torch.equal(result.labels, AUX_LABELS[best])
    torch.testing.assert_close(
        result.matching_loss.double(), 1 - cosines.amax(1), atol=1e-6, rtol=0
    )


def test_a_granted_label_leaves_images_of_it_alone() -> None:
    seen = observed(IMAGES, LABELS, defense=gs.defenses.Gaussian(sigma=100.0))
    result = ATTACK(seen, GIVEN, auxiliary(AUX, AUX_LABELS))
    assert torch.equal(result.labels, LABELS)


def test_a_batch_is_refused() -> None:
    seen = observed(IMAGES, LABELS, images_per_client=2)
    with pytest.raises(StudyError, match="one image, not of 2"):
        ATTACK(seen, priors=PLANTED)


def test_a_run_that_is_left_goes_on_to_the_same_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gradsiege.attacks.lookup import distances as module

    seen = observed(IMAGES, LABELS)
    # One candidate per step, saved after each.
    monkeypatch.setattr(module, "BYTES", 1)
    monkeypatch.setattr("gradsiege.priors.resumable.SECONDS_BETWEEN_SAVES", 0.0)
    straight = ATTACK(seen, priors=PLANTED).reconstruction
    computed: list[int] = []
    update = module.local_update

    def leave(*given: object, **named: object) -> object:
        if len(computed) == 9:
            raise KeyboardInterrupt
        computed.append(1)
        return update(*given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(module, "local_update", leave)
        with pytest.raises(KeyboardInterrupt):
            ATTACK(seen, priors=PLANTED, resume=tmp_path)
    monkeypatch.setattr(
        module, "local_update", lambda *a, **k: computed.append(1) or update(*a, **k)
    )
    resumed = ATTACK(seen, priors=PLANTED, resume=tmp_path).reconstruction
    assert len(computed) == 24, "no candidate was computed twice"
    assert torch.equal(resumed.images, straight.images)
    assert torch.equal(resumed.matching_loss, straight.matching_loss)

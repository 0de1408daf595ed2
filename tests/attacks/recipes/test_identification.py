"""Identification: the victim is found where nothing hides it, chance is left where all is hidden, and the order tells nothing."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lookups import CLASSES, observed, pictures
from torch import Tensor

import gradsiege as gs
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.lookup import distances
from gradsiege.errors import ArtifactError, StudyError, ThreatModelError, UsageError
from gradsiege.metrics.candidate_rank import candidate_rank
from gradsiege.protocol.observation import Observation
from gradsiege.protocol.threat_model import strip

IMAGES, LABELS = pictures(5, 0), torch.tensor([0, 2, 2, 3, 1])
GALLERY = torch.cat([IMAGES, pictures(15, 1)])
GRANTED = gs.ThreatModel(candidates=True)
INFORMED = gs.ThreatModel(candidates=True, disclosure=True)
ATTACK = gs.attacks.Identification()


def ranks(result: Any, gallery: Tensor = GALLERY) -> list[int]:
    losses = result.reconstruction.candidate_losses
    assert losses is not None
    return candidate_rank(losses, gallery).tolist()


@pytest.mark.parametrize("labels", ["every", "inferred"])
def test_undefended_victims_are_all_named(labels: Any) -> None:
    seen = observed(IMAGES, LABELS)
    result = gs.attacks.Identification(labels=labels)(seen, GRANTED, candidates=GALLERY)
    assert ranks(result) == [1] * 5
    assert torch.equal(result.images, IMAGES)
    assert torch.equal(result.labels, LABELS)
    assert result.matching_loss.abs().max() < 1e-6


def test_every_label_is_tried_where_the_inferred_one_is_wrong() -> None:
    """Noise on a few large coordinates of the head hides the label, and not the image."""
    seen = observed(IMAGES, LABELS)
    update = {name: value.clone() for name, value in seen.update.items()}
    bias = next(name for name in update if name.endswith("4.weight"))
    wrong = (LABELS + 1) % CLASSES
    update[bias][torch.arange(5), wrong] -= 100
    hidden = replace(seen, update=update)
    matched = {"priors": (), "candidates": GALLERY}
    inferred = gs.attacks.Identification(labels="inferred")(hidden, GRANTED, **matched)
    assert inferred.labels.tolist() == wrong.tolist()
    every = ATTACK(
        replace(hidden, update={k: v for k, v in update.items() if k != bias}), GRANTED, **matched
    )
    assert ranks(every) == [1] * 5
    assert every.labels.tolist() == LABELS.tolist()


def test_a_granted_label_is_the_only_one_tried() -> None:
    seen = replace(observed(IMAGES, LABELS), labels=torch.tensor([[1]] * 5))
    knows = gs.ThreatModel(candidates=True, labels="given")
    result = ATTACK(seen, knows, candidates=GALLERY)
    assert result.labels.tolist() == [1] * 5
    knowledge = Knowledge(strip(seen.with_candidates(GALLERY), knows), knows)
    assert ATTACK.evaluations(knowledge) == 20
    inferring = Knowledge(strip(seen.with_candidates(GALLERY), GRANTED), GRANTED)
    assert ATTACK.evaluations(inferring) == 20 * CLASSES


@pytest.mark.parametrize(
    ("defense", "counter"),
    [
        (gs.defenses.Gaussian(sigma=0.02), "gaussian.likelihood"),
        (gs.defenses.Laplace(scale=0.02), "laplace.likelihood"),
        (gs.defenses.Quantization(levels=4), "quantization.dequantized"),
        (gs.defenses.Censor(trials=2), "censor.norms_and_orthogonality"),
        (gs.defenses.Sparsification(), "sparsification.on_support"),
    ],
)
def test_a_counter_s_distance_names_the_victims(defense: Any, counter: str) -> None:
    seen = observed(IMAGES, LABELS, defense=defense)
    informed = gs.attacks.Identification(counter=counter)
    assert ranks(informed(seen, INFORMED, candidates=GALLERY)) == [1] * 5


def test_pure_noise_leaves_chance() -> None:
    """Over 100 victims in galleries of ten: about one in ten is named, and ranks are spread evenly."""
    found: list[int] = []
    for seed in range(10):
        images = pictures(10, 100 + seed)
        labels = torch.arange(10) % CLASSES
        noise = gs.defenses.Gaussian(sigma=1e4)
        seen = observed(images, labels, defense=noise, seed=seed)
        informed = gs.attacks.Identification(counter="gaussian.likelihood", labels="inferred")
        found += ranks(informed(seen, INFORMED, candidates=images), images)
    named = sum(rank == 1 for rank in found)
    # Binomial of 100 and 1/10: fewer than five in a thousand cases lie outside.
    assert 2 <= named <= 19
    assert abs(sum(found) / 100 - 5.5) < 0.9


def test_the_wall_permuting_the_gallery_changes_nothing() -> None:
    seen = observed(IMAGES, LABELS, defense=gs.defenses.Gaussian(sigma=0.3))
    straight = ATTACK(seen, GRANTED, candidates=GALLERY).reconstruction
    assert straight.candidate_losses is not None
    for seed in range(3):
        order = torch.randperm(20, generator=torch.Generator().manual_seed(seed))
        again = ATTACK(seen, GRANTED, candidates=GALLERY[order]).reconstruction
        assert torch.equal(again.images, straight.images)
        assert torch.equal(again.labels, straight.labels)
        assert again.candidate_losses is not None
        assert torch.equal(again.candidate_losses, straight.candidate_losses)


def test_the_wall_the_attack_is_handed_a_set_and_no_index() -> None:
    """All that the attack knows is equal whichever image of the gallery is the victim's, but for the update itself."""
    seen, other = (
        observed(GALLERY[[n]], LABELS[:1]).with_candidates(GALLERY.roll(-n, 0)) for n in (0, 7)
    )
    first, second = (strip(one, GRANTED) for one in (seen, other))
    for part in fields(Observation):
        mine, theirs = getattr(first, part.name), getattr(second, part.name)
        if part.name in ("update", "model"):
            continue
        if part.name == "candidates":
            assert torch.equal(mine, theirs)
        elif isinstance(mine, dict) and mine:
            assert all(torch.equal(mine[name], theirs[name]) for name in mine)
        else:
            assert mine == theirs, part.name
    assert first.labels is None
    assert first.statistics == {}


def test_what_is_not_granted_is_not_used() -> None:
    seen = observed(IMAGES, LABELS)
    with pytest.raises(ThreatModelError, match="identification needs candidates"):
        ATTACK(seen, candidates=GALLERY)
    with pytest.raises(ThreatModelError, match="the observation holds none"):
        ATTACK(seen, GRANTED)
    with pytest.raises(UsageError, match="inverting_gradients chooses among no candidates"):
        gs.attacks.InvertingGradients(iterations=1)(seen, GRANTED, candidates=GALLERY)
    with pytest.raises(StudyError, match="one image, not of 5"):
        ATTACK(observed(IMAGES, LABELS, images_per_client=5), GRANTED, candidates=GALLERY)


def test_progress_in_another_gallery_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distances, "BYTES", 1)
    monkeypatch.setattr("gradsiege.priors.resumable.SECONDS_BETWEEN_SAVES", 0.0)
    seen = observed(IMAGES, LABELS)
    calls = iter(range(9))
    update = distances.local_update

    def leave(*given: Any, **named: Any) -> Any:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return update(*given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(distances, "local_update", leave)
        with pytest.raises(KeyboardInterrupt):
            ATTACK(seen, GRANTED, candidates=GALLERY, resume=tmp_path)
    with pytest.raises(ArtifactError, match="the progress of another attack"):
        ATTACK(seen, GRANTED, candidates=GALLERY[:-1], resume=tmp_path)
    shuffled = ATTACK(seen, GRANTED, candidates=GALLERY.flip(0), resume=tmp_path)
    assert torch.equal(shuffled.images, IMAGES), "the same set is the same gallery"


def test_a_client_without_a_finite_update_fails_and_is_ranked_last() -> None:
    seen = observed(IMAGES, LABELS)
    update = {name: value.clone() for name, value in seen.update.items()}
    next(iter(update.values()))[1] = torch.nan
    result = ATTACK(replace(seen, update=update), GRANTED, candidates=GALLERY)
    assert list(result.failures) == [1]
    assert result.images[1].isnan().all()
    assert ranks(result) == [1, 20, 1, 1, 1]

"""Label lookup: the class's mean auxiliary image, by the label that is granted, inferred, or told by a counter."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from lookups import CLASSES, auxiliary, observed, pictures

import gradsiege as gs
from gradsiege.attacks.counters.censor import label_by_orthogonality
from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.errors import StudyError, ThreatModelError
from gradsiege.protocol.threat_model import strip

IMAGES, LABELS = pictures(3, 0), torch.tensor([0, 2, 2])
AUX, AUX_LABELS = pictures(20, 1), torch.arange(20) % (CLASSES - 1)
PRIOR = auxiliary(AUX, AUX_LABELS)
GIVEN = gs.ThreatModel(labels="given")
ATTACK = gs.attacks.LabelLookup()


def mean_of(label: int) -> torch.Tensor:
    return AUX[label == AUX_LABELS].mean(0)


def test_the_inferred_label_s_mean_image_is_returned() -> None:
    result = ATTACK(observed(IMAGES, LABELS), priors=PRIOR)
    assert result.labels.tolist() == LABELS.tolist()
    expected = torch.stack([mean_of(int(label)) for label in LABELS])
    torch.testing.assert_close(result.images, expected)
    assert not result.failures
    # What it expects of its guess: how far the class's images lie from their mean.
    spread = [float((AUX[n == AUX_LABELS] - mean_of(n)).square().mean()) for n in LABELS.tolist()]
    torch.testing.assert_close(result.matching_loss, torch.tensor(spread))


def test_a_granted_label_replaces_the_inferred_one() -> None:
    seen = observed(IMAGES, LABELS)
    lied = replace(seen, labels=torch.tensor([[1], [1], [0]]))
    assert ATTACK(lied, GIVEN, PRIOR).labels.tolist() == [1, 1, 0]
    assert ATTACK(lied, priors=PRIOR).labels.tolist() == LABELS.tolist()


def test_a_class_without_images_gets_the_mean_of_all() -> None:
    seen = observed(IMAGES[:1], torch.tensor([CLASSES - 1]))
    torch.testing.assert_close(ATTACK(seen, priors=PRIOR).images[0], AUX.mean(0))


def test_every_image_of_a_batch_gets_the_mean_of_its_label() -> None:
    seen = observed(pictures(4, 3), torch.tensor([0, 1, 2, 1]), images_per_client=4)
    result = ATTACK(seen, GIVEN, PRIOR)
    expected = torch.stack([mean_of(n) for n in (0, 1, 2, 1)])
    torch.testing.assert_close(result.images, expected)


def test_a_counter_s_better_label_is_used() -> None:
    """The faithful CENSOR turns the head's update by a right angle, which its counter knows how to read."""
    seen = observed(IMAGES, LABELS, defense=gs.defenses.Censor(trials=2))
    informed = gs.ThreatModel(disclosure=True)
    counter = gs.attacks.LabelLookup(counter="censor.norms_and_orthogonality")
    knowledge = Knowledge(strip(seen, informed), informed)
    expected = label_by_orthogonality(AttackPlan(knowledge, ATTACK.recipe(knowledge))).flatten()
    result = counter(seen, informed, PRIOR)
    assert torch.equal(result.labels, expected)
    assert ATTACK(seen, priors=PRIOR).labels.tolist() != expected.tolist()


def test_it_needs_the_images_and_neither_the_protocol_nor_a_useless_counter() -> None:
    seen = observed(IMAGES, LABELS)
    assert not ATTACK(seen, gs.ThreatModel(protocol=False), PRIOR).failures
    with pytest.raises(ThreatModelError, match="auxiliary"):
        ATTACK(seen, gs.ThreatModel(auxiliary=False), PRIOR)
    with pytest.raises(ThreatModelError, match=r"shape \[1, 7, 8\]"):
        ATTACK(seen, priors=auxiliary(AUX[:, :, 1:], AUX_LABELS))
    augmented = replace(seen, disclosure={"defense": "ats", "policies": ["0-3"]})
    with pytest.raises(
        StudyError, match=r"ats\.undo_policy changes the images that an attack finds"
    ):
        gs.attacks.LabelLookup(counter="ats.undo_policy")(
            augmented, gs.ThreatModel(disclosure=True), PRIOR
        )
    with pytest.raises(ValueError, match="iterations must be"):
        gs.attacks.LabelLookup(iterations=10)


def test_a_client_without_a_finite_update_fails() -> None:
    seen = observed(IMAGES, LABELS)
    update = {name: value.clone() for name, value in seen.update.items()}
    next(iter(update.values()))[1] = torch.nan
    result = ATTACK(replace(seen, update=update, failures={1: "not finite"}), priors=PRIOR)
    assert result.failures == {1: "not finite"}

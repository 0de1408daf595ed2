"""Recorded updates: what matches is reported, and the truth is not claimed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_audits import BUDGET, pictures
from small_classifiers import small

import gradsiege as gs
from gradsiege.auditing.audit import Audit
from gradsiege.auditing.recorded import RecordedAudit
from gradsiege.protocol.local_update import LocalTraining


def recorded(count: int = 3, **changed: object) -> RecordedAudit:
    """An audit of the updates of some clients."""
    images, labels = pictures(count)
    seen = gs.observe(small(), images, labels)
    updates = {name.removeprefix("body."): value for name, value in seen.update.items()}
    given = {"budget": BUDGET, "training": None} | changed
    found: RecordedAudit = gs.audit_updates(small(), updates, (3, 16, 16), **given)
    return found


@pytest.fixture(scope="module")
def found() -> RecordedAudit:
    return recorded(remarks="Faces of volunteers.")


def test_labels_and_norms_are_read_off(found: RecordedAudit) -> None:
    assert found.about["remarks"] == ["Faces of volunteers."], "a single text is one remark"
    assert found.labels is not None
    assert found.labels.flatten().tolist() == [0, 1, 2]
    images, labels = pictures(3)
    seen = gs.observe(small(), images, labels)
    norms = (
        torch.stack([value.flatten(1).square().sum(1) for value in seen.update.values()])
        .sum(0)
        .sqrt()
    )
    torch.testing.assert_close(found.norms, norms)


def test_a_parameter_without_an_update_is_remarked_on() -> None:
    images, labels = pictures(1)
    seen = gs.observe(small(), images, labels)
    updates = {name.removeprefix("body."): value for name, value in seen.update.items()}
    del updates["0.bias"]
    found = gs.audit_updates(small(), updates, (3, 16, 16), budget=BUDGET)
    assert found.about["remarks"] == [
        "the updates lack 1 of the network's 4 parameter tensors, such as 0.bias; attackers match the others"
    ]


def test_nothing_that_needs_the_truth_runs(found: RecordedAudit) -> None:
    assert not any(match.attacker.startswith("identification") for match in found.matches)
    assert any("no gallery" in reason for _, reason in found.refused)
    assert "psnr" not in str(found.document()).lower()


def test_equal_uploads_are_recognised_as_an_aggregate() -> None:
    images, labels = pictures(1)
    seen = gs.observe(small(), images, labels)
    updates = {
        name.removeprefix("body."): value.repeat(3, *[1] * (value.dim() - 1))
        for name, value in seen.update.items()
    }
    same = gs.audit_updates(small(), updates, (3, 16, 16), budget=replace(BUDGET, rank=0))
    assert same.equal
    assert "aggregate" in same.sentence()
    assert not recorded(2, budget=replace(BUDGET, rank=0)).equal


def test_a_difference_of_weights_is_the_gradient_in_another_unit() -> None:
    images, labels = pictures(2)
    training = LocalTraining("fedsgd", 1, 1, 1, 0.5, "eval")
    seen = gs.observe(small(), images, labels, training=training)
    updates = {name.removeprefix("body."): -0.5 * value for name, value in seen.update.items()}
    quick = replace(BUDGET, rank=0)
    other = gs.audit_updates(
        small(), updates, (3, 16, 16), training, budget=quick, unit="difference"
    )
    torch.testing.assert_close(other.norms, recorded(2, budget=quick).norms)


def test_a_known_defense_is_answered() -> None:
    found = recorded(2, defense=gs.defenses.Gaussian(sigma=0.01))
    assert "inverting_gradients+gaussian.likelihood" in {match.attacker for match in found.matches}


def test_the_page_shows_reconstructions_alone(found: RecordedAudit, tmp_path: Path) -> None:
    page = found.save(tmp_path / "out").read_text()
    assert "Reconstruction for client 0" in page
    assert "Private picture" not in page
    assert "https://" not in page


def test_audits_say_what_they_are_without_their_pictures(
    found: RecordedAudit, whole: Audit
) -> None:
    for audit, told in ((found, found.sentence()), (whole, f"decibel={whole.decibel:.4g}")):
        text = repr(audit)
        assert text.startswith(f"{type(audit).__name__}(")
        assert told in text
        assert "tensor(" not in text
    assert "tensor(" not in repr(replace(found.matches[0], loss=found.matches[0].loss.tolist()))

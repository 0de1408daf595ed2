"""Clients of given sizes and batches, and a learning rate in steps: the federation of Shadow's paper."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradsiege.errors import StudyError
from gradsiege.federated import training
from gradsiege.federated.partition import sizes
from gradsiege.pipeline.cells import cells
from gradsiege.pipeline.jobs import Job
from gradsiege.protocol.local_update import LocalTraining
from gradsiege.stages import federate as federate_module
from gradsiege.study import Study, load, parse

PAPER = [8, 32, 128, 512, 8, 32, 128, 512, 1]
CONFIG = Path(__file__).parents[2] / "config" / "paper" / "shadow.yaml"


@settings(max_examples=40)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(1, 5), st.integers(0, 100))
def test_clients_have_their_sizes_share_no_image_and_hold_the_classes_alike(
    wanted: list[int], classes: int, seed: int
) -> None:
    labels = np.arange(sum(wanted) + classes) % classes
    shares = sizes(labels, wanted, np.random.default_rng(seed))
    assert [len(share) for share in shares] == wanted
    together = np.concatenate(shares)
    assert len(set(together)) == len(together)
    for share in shares:
        counts = np.bincount(labels[share], minlength=classes)
        # A client begins and ends within a turn of the classes.
        assert counts.max() - counts.min() <= 2


def test_the_papers_clients_are_balanced_exactly() -> None:
    labels = np.repeat([0, 1], 700)
    shares = sizes(labels, PAPER, np.random.default_rng(0))
    means = [labels[share].mean() for share in shares[:-1]]
    assert means == [0.5] * 8
    other = sizes(labels, PAPER, np.random.default_rng(1))
    assert not np.array_equal(shares[3], other[3])


def test_a_class_that_is_used_up_ends_its_turns() -> None:
    labels = np.array([0] * 3 + [1] * 20)
    shares = sizes(labels, [6, 10], np.random.default_rng(0))
    assert np.bincount(labels[shares[0]]).tolist() == [3, 3]
    assert np.bincount(labels[shares[1]], minlength=2).tolist() == [0, 10]


def sized(raw: dict[str, Any], **changes: Any) -> Study:
    raw = copy.deepcopy(raw)
    raw["defenses"] = ["none"]
    raw["federation"] = {
        "clients": 3,
        "clients_per_round": 3,
        "rounds": 4,
        "early_round": 1,
        "learning_rate": 0.1,
        "partition": "sizes",
        "client_images": [8, 16, 1],
        "client_batches": [4, 8, 2],
        "milestones": [2, 3],
        **changes,
    }
    return parse(raw)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"client_images": [8, 16]}, "client_images has 2 entries for 3 clients"),
        ({"client_batches": [8]}, "client_batches has 1 entries for 3 clients"),
        ({"client_images": []}, "partition: sizes and client_images need each other"),
        ({"partition": "iid"}, "partition: sizes and client_images need each other"),
        ({"client_images": [8, 16, 40]}, "are 64 images in all; counts.train is only 48"),
        (
            {"client_images": [8, 16, 0]},
            "client_images.2 must be a whole number from 1 to 1,000,000,000, not 0",
        ),
        ({"milestone": [2]}, "did you mean 'milestones'"),
    ],
)
def test_what_does_not_fit_is_named(
    tiny_raw: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(StudyError, match=message):
        sized(tiny_raw, **changes)


def test_every_client_trains_with_its_own_batch_and_the_rounds_rate(
    tiny_raw: dict[str, Any],
    tmp_path: Path,
    verb: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import yaml

    study = sized(tiny_raw)
    raw = study.model_dump(mode="json", exclude_defaults=True)
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(raw))
    assert verb("fetch", "digits", "--study", file, "--root", tmp_path) == 0
    seen: list[tuple[int, LocalTraining]] = []
    applied: list[float] = []
    run_client, apply_update = training.run_client, training.apply_update

    def watch(client: Any, defense: Any) -> Any:
        seen.append((client.round, client.training))
        return run_client(client, defense)

    def count(parameters: Any, update: Any, rate: float) -> Any:
        applied.append(rate)
        return apply_update(parameters, update, rate)

    monkeypatch.setattr(training, "run_client", watch)
    monkeypatch.setattr(training, "apply_update", count)
    cell = cells(study)["federate"][0]
    with Job(cell, study, tmp_path).running() as job:
        federate_module.federate(job)
    first = [training for number, training in seen if number == 0]
    assert [(t.images, t.batch_size, t.steps) for t in first] == [(8, 4, 2), (16, 8, 2), (1, 1, 1)]
    rates = [0.1, 0.1, 0.01, 0.001]
    assert applied == pytest.approx(rates)
    assert [t.learning_rate for _, t in seen] == pytest.approx(np.repeat(rates, 3).tolist())


def test_the_papers_study_holds_the_released_federation() -> None:
    federation = load(CONFIG).federation
    assert federation.client_images == PAPER
    assert federation.client_batches == [4, 4, 4, 4, 8, 8, 8, 8, 1]
    steps = [
        training.local_training(federation, client, 0, images).steps
        for client, images in enumerate(PAPER)
    ]
    assert steps == [2, 8, 32, 128, 1, 4, 16, 64, 1]
    rates = [training.learning_rate(federation, number) for number in (0, 40, 80)]
    assert rates == pytest.approx([1e-2, 1e-3, 1e-4])
    assert (federation.clients_per_round, federation.rounds, federation.local_epochs) == (9, 100, 1)

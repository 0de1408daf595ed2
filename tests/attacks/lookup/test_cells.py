"""Cells of a study with attacks that choose among images: what meets what, the wall, the score, and an early end."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from gradsiege import artifacts
from gradsiege.attacks.lookup import distances
from gradsiege.errors import StudyError
from gradsiege.images import load_images
from gradsiege.pipeline.cells import cells, digest
from gradsiege.pipeline.jobs import Job
from gradsiege.pipeline.stage import STAGES
from gradsiege.protocol.gallery import order_of
from gradsiege.protocol.observation import load_observation, load_truth
from gradsiege.study import Study, parse

Finished = tuple[Study, Path]
LOOKUPS = [
    {"name": "label_lookup", "iterations": 1, "prior": "auxiliary_images"},
    {"name": "auxiliary_lookup", "iterations": 1, "prior": "auxiliary_images"},
    {"name": "identification", "iterations": 1, "counters": ["none", "gaussian"]},
]
THREATS = [
    {"id": "blind"},
    {"id": "gallery", "candidates": True},
    {"id": "informed_gallery", "candidates": True, "disclosure": True},
]
COUNTS = {"train": 8, "test": 20, "aux": 40, "public": 10, "tune": 2, "victims": 4}
RAW: dict[str, Any] = {
    "study": "lookups",
    "description": "Digits at 16 px and attacks that choose among images.",
    "victims": 2,
    "datasets": [{"name": "digits", "size": 16, "counts": COUNTS}],
    "models": [{"name": "lenet", "parameters": {"channels": 4}}],
    "defenses": ["none", {"name": "gaussian", "parameters": {"sigma": 0.01}}],
    "federation": {"clients": 2, "clients_per_round": 1, "rounds": 2, "early_round": 1},
    "training_stages": ["untrained"],
    "protocols": ["fedsgd"],
    "threat_models": THREATS,
    "priors": ["auxiliary_images"],
    "attacks": LOOKUPS,
}


@pytest.fixture(scope="module")
def lookups(run_study: Callable[..., Study], tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The study after all its stages, and its root."""
    root = tmp_path_factory.mktemp("lookups")
    return run_study(RAW, root), root


def test_candidates_meet_those_who_use_them_and_nobody_else() -> None:
    met = {(cell.threat_model, cell.attack, cell.defense) for cell in cells(parse(RAW))["attack"]}
    everywhere = {"none", "gaussian"}
    expected = {
        ("blind", f"{kind}_lookup", d) for kind in ("label", "auxiliary") for d in everywhere
    }
    expected |= {("gallery", "identification", defense) for defense in everywhere}
    expected |= {
        ("informed_gallery", f"identification-gaussian.{idea}", "gaussian")
        for idea in ("likelihood", "estimated_likelihood")
    }
    assert met == expected


def test_a_study_without_candidates_keeps_its_digests(tiny_raw: dict[str, Any]) -> None:
    plain = parse(tiny_raw)
    tiny_raw["threat_models"].append({"id": "gallery", "candidates": True})
    tiny_raw["attacks"].append({"name": "identification", "iterations": 1})
    more = parse(tiny_raw)
    federated, observed = (
        {cell.key: digest(cell, study) for study in (plain,) for cell in cells(study)[stage]}
        for stage in ("federate", "observe")
    )
    assert all(digest(c, more) == federated[c.key] for c in cells(more)["federate"])
    # An observation with a gallery in it is another one.
    assert all(digest(c, more) != observed[c.key] for c in cells(more)["observe"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw["attacks"][0].update(iterations=5), "write iterations: 1"),
        (lambda raw: raw["attacks"][1].update(restarts=2), "'restarts' would change nothing"),
        (lambda raw: raw["attacks"][2].update(patience=3), "'patience' would change nothing"),
        (
            lambda raw: raw.update(threat_models=THREATS[:1]),
            "identification needs candidates, and blind does not grant them",
        ),
        (
            lambda raw: raw.update(attacks=LOOKUPS[:2]),
            "label_lookup has no use for candidates, and gallery grants them",
        ),
    ],
)
def test_what_would_change_nothing_is_refused(
    change: Callable[[dict[str, Any]], None], message: str
) -> None:
    raw = copy.deepcopy(RAW)
    raw["attacks"][2].pop("counters")
    raw["threat_models"] = THREATS[:2]
    parse(raw)
    change(raw)
    with pytest.raises(StudyError, match=message):
        parse(raw)


def scores(study: Study, root: Path, defense: str) -> pd.DataFrame:
    (cell,) = (one for one in cells(study)["score"] if one.defense == defense)
    return pd.read_parquet(cell.folder(study, root) / "scores.parquet")


def test_scores_hold_the_rank_among_candidates(lookups: Finished) -> None:
    study, root = lookups
    table = scores(study, root, "none")
    named = table[table.attack == "identification"]
    assert named.candidate_rank.tolist() == [1, 1]
    assert named.candidate_rank_among_victims.tolist() == [1, 1]
    # Two victims and all twenty test images of this study.
    assert named.gallery_size.tolist() == [22, 22]
    assert named.evaluations.tolist() == [220, 220]
    others = table[table.attack != "identification"]
    assert others.candidate_rank.isna().all()
    assert set(table[table.kind == "attack"].attack) == {"label_lookup", "auxiliary_lookup"}
    assert set(table[table.kind == "identification"].attack) == {"identification"}
    noisy = scores(study, root, "gaussian")
    informed = noisy[noisy.attack == "identification-gaussian.likelihood"]
    assert informed.candidate_rank.tolist() == [1, 1]


def test_the_wall_an_observation_holds_the_set_and_nothing_about_its_order(
    lookups: Finished,
) -> None:
    study, root = lookups
    (cell,) = (one for one in cells(study)["observe"] if one.defense == "none")
    folder = cell.folder(study, root)
    seen = load_observation(folder / "observation.safetensors")
    truths, _, _ = load_truth(folder / "truth.safetensors")
    fetched = cell.at("fetch").folder(study, root)
    test, _, _ = load_images(fetched / "test.safetensors")
    given = torch.cat([test[:], truths.flatten(0, 1)])
    assert seen.candidates is not None
    # The order of the file is that of the pixels' hashes, whatever order they were put together in.
    assert torch.equal(seen.candidates, given[order_of(given)])
    header = artifacts.read_header(folder / "observation.safetensors", "observation")
    assert set(header) <= {"model", "images", "training", "disclosure", "failures"}


def test_a_cell_that_is_left_between_steps_ends_with_the_same_bytes(
    lookups: Finished, verb: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    study, root = lookups
    where = ("--study", root / "tiny.yaml", "--root", root)
    for name in ("auxiliary_lookup", "identification"):
        (cell,) = (
            one for one in cells(study)["attack"] if (one.attack, one.defense) == (name, "none")
        )
        outputs = [cell.folder(study, root) / file for file in STAGES["attack"].outputs]
        monkeypatch.setattr(distances, "BYTES", 1)
        assert verb("attack", cell.key, *where) == 0
        straight = [path.read_bytes() for path in outputs]
        stops = iter([*[False] * 12, True, *[False] * 21, True])
        with monkeypatch.context() as patch:
            patch.setattr(Job, "should_stop", lambda job, stops=stops: next(stops, False))
            assert [verb("attack", cell.key, *where) for _ in range(3)] == [75, 75, 0]
        assert [path.read_bytes() for path in outputs] == straight

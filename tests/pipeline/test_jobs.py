"""Jobs: an orderly end, progress that survives it, and inputs of the right make."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gradsiege import artifacts
from gradsiege.errors import ArtifactError, StoppedEarlyError
from gradsiege.pipeline.cells import Cell, digest, parse_key
from gradsiege.pipeline.jobs import Job
from gradsiege.study import Study, parse

Finished = tuple[Study, Path]
KEY = "digits/lenet/none/untrained/fedsgd/seed0"
ATTACK = f"{KEY}/labels_inferred/inverting_gradients"


@pytest.fixture
def cell(tiny: Study) -> Cell:
    return parse_key("attack", ATTACK, tiny)


@pytest.fixture
def job(cell: Cell, tiny: Study, tmp_path: Path) -> Job:
    return Job(cell, tiny, tmp_path)


def fill(job: Job) -> None:
    """Write what the cell should hold."""
    for name in ("reconstructions.safetensors", "trace.parquet"):
        artifacts.write_text(job.path(name), name)


def test_a_finished_job_says_how_it_was_made(job: Job, cell: Cell, tiny: Study) -> None:
    with job.running():
        fill(job)
        job.notes = {"evaluations": 6}
    manifest = artifacts.read_manifest(job.folder)
    assert manifest["digest"] == digest(cell, tiny)
    assert (manifest["stage"], manifest["key"]) == ("attack", cell.key)
    assert (manifest["status"], manifest["reason"]) == ("complete", "")
    assert manifest["settings"]["attack"]["iterations"] == 5
    assert manifest["started"] <= manifest["ended"]
    assert set(manifest["environment"]["versions"]) >= {"python", "torch", "gradsiege"}
    assert artifacts.verify_folder(job.folder) == []


def test_no_job_ends_before_it_began(
    job: Job, cell: Cell, tiny: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock is set back by a day between save and resume."""
    job.save_progress({}, {})
    again, now = Job(cell, tiny, tmp_path), time.time()
    assert again.load_progress() is not None
    monkeypatch.setattr(time, "time", lambda: now - 86400)
    with again.running():
        fill(again)
    manifest = artifacts.read_manifest(again.folder)
    assert manifest["started"] == job.started
    assert manifest["ended"] == manifest["started"] + manifest["seconds"]


def test_a_failed_job_is_finished_and_counted(job: Job) -> None:
    with job.running():
        fill(job)
        job.fail("the update is not finite")
        job.fail("another reason")
    manifest = artifacts.read_manifest(job.folder)
    assert manifest["status"] == "failed"
    assert manifest["reason"] == "the update is not finite; another reason"


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refuse(job: Job) -> None:
    """What checks do before a job has written anything."""
    raise ArtifactError("planted")


def crash(job: Job) -> None:
    """A defect after half of the files."""
    artifacts.write_text(job.path("trace.parquet"), "half")
    raise RuntimeError("planted")


def stop(job: Job) -> None:
    """SIGTERM: progress is saved, and the job leaves."""
    artifacts.write_text(job.path("trace.parquet"), "half")
    os.kill(os.getpid(), signal.SIGTERM)
    assert job.should_stop()
    job.interrupt()


@pytest.mark.parametrize("end", [refuse, crash, stop])
def test_a_finished_cell_stays_until_its_successor_is_whole(
    job: Job, end: Callable[[Job], None]
) -> None:
    with job.running():
        fill(job)
    before = content(job.folder)
    with pytest.raises((ArtifactError, RuntimeError, StoppedEarlyError)), job.running():
        end(job)
    assert content(job.folder) == before
    with job.running():
        fill(job)
        artifacts.write_text(job.path("trace.parquet"), "new")
    assert job.path("trace.parquet").parent != job.folder
    assert (job.folder / "trace.parquet").read_text() == "new"
    assert artifacts.verify_folder(job.folder) == []
    assert not list(job.root.rglob("scratch/*"))


def test_what_was_read_is_recorded_and_belongs_to_the_progress(study_copy: Finished) -> None:
    study, root = study_copy
    cell = parse_key("attack", ATTACK, study)
    observed = cell.at("observe").folder(study, root)
    read = artifacts.read_manifest(cell.folder(study, root))["reads"]
    name = f"observe/{cell.at('observe').key}/observation.safetensors"
    assert read == {name: artifacts.file_digest(observed / "observation.safetensors")}
    job = Job(cell, study, root)
    job.input(cell.at("observe"), "observation.safetensors")
    job.save_progress({}, {})
    assert job.load_progress() is not None
    # The same settings, and other bytes.
    path = observed / "observation.safetensors"
    path.write_bytes(path.read_bytes() + b" ")
    manifest = artifacts.read_manifest(observed)
    artifacts.write_manifest(observed, manifest, [*manifest["files"]])
    later = Job(cell, study, root)
    later.input(cell.at("observe"), "observation.safetensors")
    assert later.load_progress() is None


def test_leftovers_of_a_killed_job_are_swept_up(job: Job) -> None:
    for folder in (job.draft, job.scratch):
        folder.mkdir(parents=True)
        (folder / ".x.json.abc.part").write_text("half")
        (folder / ".tmptAuz1a").write_text("half of what safetensors writes")
    with job.running():
        assert not list(job.draft.iterdir())
        assert not list(job.scratch.iterdir())
        fill(job)
    assert not job.scratch.exists()


def test_progress_is_taken_up_by_the_same_cell_alone(
    job: Job, cell: Cell, tiny: Study, tmp_path: Path, tiny_raw: dict[str, Any]
) -> None:
    assert job.load_progress() is None
    job.save_progress({"x": torch.ones(2)}, {"iteration": 3})
    again = Job(cell, tiny, tmp_path)
    found = again.load_progress()
    assert found is not None
    assert torch.equal(found[0]["x"], torch.ones(2))
    assert found[1]["iteration"] == 3
    # The seconds of the first part belong to the job; so does its beginning.
    assert again.seconds >= found[1]["seconds"] > 0
    assert again.started == job.started

    tiny_raw["description"] = "the same science in other words"
    assert Job(cell, parse(tiny_raw), tmp_path).load_progress() is not None
    tiny_raw["federation"]["rounds"] = 4
    other = Job(cell, parse(tiny_raw), tmp_path)
    assert other.load_progress() is None
    # Not even if the file is put where the other cell looks for it.
    other.scratch.parent.mkdir(exist_ok=True)
    job.scratch.rename(other.scratch)
    assert other.load_progress() is None


@pytest.mark.parametrize(
    "damage", ["torn", "empty", "one bit", "other words", "pickle", "other kind", "no metadata"]
)
def test_a_torn_checkpoint_is_ignored(job: Job, damage: str) -> None:
    import pickle

    from safetensors.torch import save_file

    job.save_progress({"x": torch.ones(200)}, {"iteration": 3})
    (path,) = job.scratch.iterdir()
    if damage == "torn":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "one bit":
        path.write_bytes(path.read_bytes()[:-1] + b"\1")
    elif damage == "other words":
        path.write_bytes(path.read_bytes().replace(b'iteration\\": 3', b'iteration\\": 4'))
    elif damage == "pickle":
        path.write_bytes(pickle.dumps({"x": 1}))
    elif damage == "other kind":
        artifacts.write_tensors(
            path, {"x": torch.ones(2)}, "truth", {"digest": job.record["digest"]}
        )
    else:
        header = {"kind": "checkpoint", "format": artifacts.FORMAT}
        save_file({"x": torch.ones(2)}, path, metadata=header)
    assert job.load_progress() is None


def test_a_new_checkpoint_that_fails_leaves_the_old_one(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    job.save_progress({"x": torch.ones(2)}, {"iteration": 3})
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArtifactError, match="No space left"):
        job.save_progress({"x": torch.zeros(2)}, {"iteration": 4})
    found = job.load_progress()
    assert found is not None
    assert found[1]["iteration"] == 3


def test_sigterm_asks_the_job_to_stop(job: Job) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def work() -> None:
        with job.running():
            assert not job.should_stop()
            os.kill(os.getpid(), signal.SIGTERM)
            assert job.should_stop()
            job.interrupt()

    with pytest.raises(StoppedEarlyError, match="Run the same command again"):
        work()
    assert signal.getsignal(signal.SIGTERM) == before
    assert not (job.folder / artifacts.MANIFEST).exists()


def test_the_time_budget_ends(cell: Cell, tiny: Study, tmp_path: Path) -> None:
    assert Job(cell, tiny, tmp_path, 0.0).should_stop()
    assert not Job(cell, tiny, tmp_path, 1000.0).should_stop()
    assert not Job(cell, tiny, tmp_path, None).should_stop()


def test_inputs_made_under_other_settings_are_refused(
    study_copy: Finished, tiny_raw: dict[str, Any]
) -> None:
    study, root = study_copy
    cell = parse_key("attack", ATTACK, study)
    observe = cell.at("observe")
    assert Job(cell, study, root).input(observe, "observation.safetensors").is_file()
    tiny_raw["federation"]["rounds"] = 4
    with pytest.raises(ArtifactError, match=r"made under other settings .*`gradsiege mend`"):
        Job(cell, parse(tiny_raw), root).input(observe, "observation.safetensors")


def test_reading_another_file_is_no_longer_the_studys_cell(
    cell: Cell, tiny: Study, tmp_path: Path
) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    own.write_text("one")
    other.write_text("one")
    job = Job(cell, tiny, tmp_path)
    job.read_instead(other, own)
    assert job.record["digest"] == digest(cell, tiny)
    other.write_text("two")
    job.read_instead(other, own)
    assert job.record["digest"] != digest(cell, tiny)
    assert job.record["read_instead"]["file"] == "other"
    assert job.scratch.name == job.record["digest"]


# ---- the same bytes after an early end ----

"""Jobs: an orderly end, progress that survives it, and the same bytes afterwards."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from gradsiege import artifacts, catalogue
from gradsiege.cells import Cell, digest, parse_key
from gradsiege.errors import ArtifactError, StoppedEarlyError
from gradsiege.jobs import Job
from gradsiege.study import Study, load, parse

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


def test_a_failed_job_is_finished_and_counted(job: Job) -> None:
    with job.running():
        fill(job)
        job.fail("the update is not finite")
        job.fail("another reason")
    manifest = artifacts.read_manifest(job.folder)
    assert manifest["status"] == "failed"
    assert manifest["reason"] == "the update is not finite; another reason"


def test_a_crash_leaves_no_manifest(job: Job) -> None:
    with job.running():
        fill(job)
    with pytest.raises(RuntimeError), job.running():
        raise RuntimeError("a defect")
    with pytest.raises(ArtifactError, match="its job has not finished"):
        artifacts.read_manifest(job.folder)


def test_leftovers_of_a_killed_job_are_swept_up(job: Job) -> None:
    for folder in (job.folder, job.scratch):
        folder.mkdir(parents=True)
        (folder / ".x.json.abc.part").write_text("half")
    with job.running():
        assert not list(job.folder.iterdir())
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


@pytest.mark.parametrize("damage", ["torn", "empty", "pickle", "other kind", "no metadata"])
def test_a_torn_checkpoint_is_ignored(job: Job, damage: str) -> None:
    import pickle

    from safetensors.torch import save_file

    job.save_progress({"x": torch.ones(200)}, {"iteration": 3})
    (path,) = job.scratch.iterdir()
    if damage == "torn":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "empty":
        path.write_bytes(b"")
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
    with pytest.raises(
        ArtifactError, match=r"made under other settings .*gradsiege observe digits"
    ):
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


def prints(folder: Path) -> dict[str, str]:
    """Checksums of what a job wrote; its manifest holds times and may differ."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.name != artifacts.MANIFEST
    }


def stop_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every job be asked to leave at each third occasion."""
    asked: list[int] = []

    def every_third_time(job: Job) -> bool:
        asked.append(1)
        return len(asked) % 3 == 0

    monkeypatch.setattr(Job, "should_stop", every_third_time)


def run_to_the_end(verb: Callable[..., int], root: Path, folder: Path, *arguments: object) -> int:
    """Run a command again and again while it leaves with 75; return how often that was."""
    codes = []
    while not codes or codes[-1] == 75:
        assert len(codes) < 40
        codes.append(verb(*arguments))
        if codes[-1] == 75:
            assert not (folder / artifacts.MANIFEST).exists()
            assert list((root / "scratch").iterdir())
    assert codes[-1] == 0
    assert not list((root / "scratch").iterdir())
    return len(codes) - 1


def test_a_federation_that_was_stopped_ends_with_the_same_bytes(
    study_copy: Finished, verb: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    study, root = study_copy
    # With noise on the updates: after a resume it must fall on the same coordinates.
    cell = parse_key("federate", "digits/lenet/gaussian/seed0", study)
    folder = cell.folder(study, root)
    before = prints(folder)
    stop_often(monkeypatch)
    common = ("--study", root / "tiny.yaml", "--root", root)
    assert run_to_the_end(verb, root, folder, "federate", cell.key, *common) > 0
    assert prints(folder) == before


# The tiny study trains an autoencoder alone; tests/attacks/test_generator_attacks.py stops and resumes the others.
WITHOUT_GENERATOR = [
    name
    for name, entry in catalogue.entries("attacks").items()
    if "prior:staged_gan" not in entry.requires
]


@pytest.mark.parametrize("name", WITHOUT_GENERATOR)
def test_an_attack_that_was_stopped_ends_with_the_same_bytes(
    name: str,
    study_copy: Finished,
    verb: Callable[..., int],
    tiny_raw: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, root = study_copy
    requires = catalogue.entries("attacks")[name].requires
    entry: dict[str, Any] = {"name": name, "iterations": 7, "restarts": 2}
    entry |= {"prior": "autoencoder"} if "prior:autoencoder" in requires else {}
    tiny_raw["attacks"] = [entry]
    tiny_raw["threat_models"] = [{"id": "all", "labels": "given", "disclosure": True}]
    (root / "tiny.yaml").write_text(yaml.safe_dump(tiny_raw))
    study = parse(tiny_raw)
    cell = parse_key("attack", f"{KEY}/all/{name}", study)
    folder = cell.folder(study, root)
    common = ("attack", cell.key, "--study", root / "tiny.yaml", "--root", root)
    assert verb(*common) == 0
    before = prints(folder)
    stop_often(monkeypatch)
    assert run_to_the_end(verb, root, folder, *common) > 1
    assert prints(folder) == before


def test_a_budget_of_no_time_saves_and_leaves(
    study_copy: Finished, verb: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    _, root = study_copy
    common = ("--study", root / "tiny.yaml", "--root", root)
    assert verb("attack", ATTACK, *common, "--time-budget", 0) == 75
    assert "Run the same command again to go on" in capsys.readouterr().err
    assert verb("attack", ATTACK, *common) == 0


KILLABLE = """
import sys, time
import gradsiege.attacks.attack as stage
from gradsiege.cli import main

pause = stage.Saver.pause

def slowly(self, state):
    time.sleep(0.01)
    pause(self, state)

stage.SECONDS_BETWEEN_SAVES = 0.0
stage.Saver.pause = slowly
main(sys.argv[1:])
"""


def test_a_killed_attack_ends_with_the_same_bytes(
    finished_study: Finished, verb: Callable[..., int], tmp_path: Path
) -> None:
    """Kill it without warning at whatever iteration it is in, start it again, compare every byte."""
    _, source = finished_study
    raw = yaml.safe_load((source / "tiny.yaml").read_text())
    raw["attacks"][0]["iterations"] = 100
    file = tmp_path / "long.yaml"
    file.write_text(yaml.safe_dump(raw))
    study = load(file)
    cell = parse_key("attack", ATTACK, study)
    roots = {name: tmp_path / name for name in ("straight", "killed")}
    for root in roots.values():
        observed = root / "results" / "tiny" / "observe"
        shutil.copytree(source / "results" / "tiny" / "observe", observed)

    def command(name: str) -> list[str]:
        return ["attack", ATTACK, "--study", str(file), "--root", str(roots[name])]

    assert verb(*command("straight")) == 0
    scratch = roots["killed"] / "scratch" / digest(cell, study)
    arguments = [sys.executable, "-c", KILLABLE, *command("killed")]
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not list(scratch.glob("checkpoint.*")) and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.005)
        # Anywhere in the loop, in the middle of a save as like as not.
        time.sleep(int.from_bytes(os.urandom(1)) / 1000)
        process.kill()
    assert process.returncode == -signal.SIGKILL, "it ended before it could be killed"
    killed = cell.folder(study, roots["killed"])
    assert not (killed / artifacts.MANIFEST).exists()
    assert Job(cell, study, roots["killed"]).load_progress() is not None
    assert verb(*command("killed")) == 0
    assert prints(killed) == prints(cell.folder(study, roots["straight"]))
    assert artifacts.verify_folder(killed) == []


SMALL_PRIORS: dict[str, dict[str, Any]] = {
    "autoencoder": {"epochs": 4, "batch_size": 16},
    "denoising_autoencoder": {"epochs": 4, "batch_size": 16},
    "staged_gan": {"steps": 4, "batch_size": 4, "width": 4, "discriminator_width": 4, "latent": 4},
    "mapping_classifier": {"epochs": 4, "batch_size": 16, "width": 2},
}


def test_the_priors_that_train_in_steps_are_known() -> None:
    stepless = {"pca", "shadow_generator", "biggan", "stylegan2"}
    assert {*SMALL_PRIORS, *stepless} == set(catalogue.entries("priors"))


@pytest.mark.parametrize("name", SMALL_PRIORS)
def test_a_prior_that_was_stopped_ends_with_the_same_bytes(
    name: str,
    study_copy: Finished,
    verb: Callable[..., int],
    tiny_raw: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, root = study_copy
    tiny_raw["priors"].append({"name": name, "id": "own", "parameters": SMALL_PRIORS[name]})
    (root / "tiny.yaml").write_text(yaml.safe_dump(tiny_raw))
    folder = root / "results/tiny/prior/digits/own/seed0"
    common = ("prior", "digits/own/seed0", "--study", root / "tiny.yaml", "--root", root)
    assert verb(*common) == 0
    before = prints(folder)
    stop_often(monkeypatch)
    assert run_to_the_end(verb, root, folder, *common) > 0
    assert prints(folder) == before


def test_a_shadow_generator_that_was_stopped_ends_with_the_same_bytes(
    study_copy: Finished,
    verb: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from gradsiege.priors import shadow_generator

    small = shadow_generator.Parameters(epochs=4, width=4, latent=4, batch_size=4, search_steps=5)
    monkeypatch.setattr(shadow_generator, "Parameters", lambda: small)
    _, root = study_copy
    folder = root / "results/tiny/shadow/digits/seed0"
    common = ("shadow", "digits/seed0", "--study", root / "tiny.yaml", "--root", root)
    assert verb(*common) == 0
    before = prints(folder)
    stop_often(monkeypatch)
    assert run_to_the_end(verb, root, folder, *common) > 0
    assert prints(folder) == before


def test_sigterm_stops_a_prior_between_steps(
    study_copy: Finished, verb: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal in the middle of the training, and nothing but the signal."""
    from gradsiege.priors import autoencoder

    _, root = study_copy
    folder = root / "results/tiny/prior/digits/autoencoder/seed0"
    before = prints(folder)
    loss, calls = autoencoder.F.mse_loss, []

    def terminated(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss(*arguments)

    monkeypatch.setattr(autoencoder.F, "mse_loss", terminated)
    common = ("prior", "digits/autoencoder/seed0", "--study", root / "tiny.yaml", "--root", root)
    assert verb(*common) == 75
    assert verb(*common) == 0
    assert len(calls) == 2, "one step before the signal, and only the other one after it"
    assert prints(folder) == before

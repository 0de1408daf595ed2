"""Jobs that are stopped, run out of time or are killed end with the same bytes as if nothing had happened."""

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
import yaml

from gradsiege import artifacts, catalogue
from gradsiege.pipeline.cells import digest, parse_key
from gradsiege.pipeline.jobs import Job
from gradsiege.study import Study, load, parse

Finished = tuple[Study, Path]
KEY = "digits/lenet/none/untrained/fedsgd/seed0"
ATTACK = f"{KEY}/labels_inferred/inverting_gradients"


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
    """Run a command again and again while it leaves with 75, the finished cell there all the while; return how often that was."""
    codes = []
    finished = prints(folder)
    while not codes or codes[-1] == 75:
        assert len(codes) < 40
        codes.append(verb(*arguments))
        if codes[-1] == 75:
            assert prints(folder) == finished
            assert (folder / artifacts.MANIFEST).is_file()
            assert list((root / "scratch").iterdir())
    assert codes[-1] == 0
    assert not list((root / "scratch").iterdir())
    return len(codes) - 1


def check_the_end(
    verb: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    root: Path,
    folder: Path,
    *arguments: object,
) -> int:
    """Run a command at once, then with stops; every byte must be the same. Return how often it was stopped."""
    assert verb(*arguments) == 0
    before = prints(folder)
    stop_often(monkeypatch)
    stopped = run_to_the_end(verb, root, folder, *arguments)
    assert prints(folder) == before
    return stopped


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


# The tiny study trains an autoencoder alone. In tests/attacks/recipes, test_generator_attacks.py and test_posterior_sampling.py stop
# and resume the others, test_learned_inversion.py what learns from clients of its own; tests/attacks/lookup/test_cells.py what
# chooses among images. SPEAR computes its answer in one step.
WITHOUT_GENERATOR = [
    name
    for name, entry in catalogue.entries("attacks").items()
    if not {"prior:staged_gan", "prior:auxiliary_images", "prior:denoiser", "candidates"}
    & set(entry.requires)
    and name != "spear"
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
    entry["only"] = {"threat_model": "all"}
    entry |= {"prior": "autoencoder"} if "prior:autoencoder" in requires else {}
    if "prior:class_conditional_gaussian" in requires:
        tiny_raw["priors"].append("class_conditional_gaussian")
        entry["prior"] = "class_conditional_gaussian"
    tiny_raw["attacks"] = [entry]
    tiny_raw["threat_models"] = [{"id": "all", "labels": "given", "disclosure": True}]
    (root / "tiny.yaml").write_text(yaml.safe_dump(tiny_raw))
    study = parse(tiny_raw)
    cell = parse_key("attack", f"{KEY}/all/{name}", study)
    folder = cell.folder(study, root)
    place = ("--study", root / "tiny.yaml", "--root", root)
    if "prior:class_conditional_gaussian" in requires:
        assert verb("prior", "digits/class_conditional_gaussian/seed0", *place) == 0
    common = ("attack", cell.key, *place)
    assert check_the_end(verb, monkeypatch, root, folder, *common) > 1


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
import gradsiege.attacks.progress as stage
from gradsiege.cli import main

pause = stage.LoopCheckpointer.pause

def slowly(self, state):
    time.sleep(0.01)
    pause(self, state)

stage.SECONDS_BETWEEN_SAVES = 0.0
stage.LoopCheckpointer.pause = slowly
main(sys.argv[1:])
"""


def test_a_killed_attack_ends_with_the_same_bytes(finished_study: Finished, tmp_path: Path) -> None:
    """Kill it without warning at whatever iteration it is in, start it again, compare every byte.

    Every run has a process of its own: libraries that have computed in this one keep their choice of kernels.
    """
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

    subprocess.run([sys.executable, "-m", "gradsiege", *command("straight")], check=True)
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
    subprocess.run([sys.executable, "-m", "gradsiege", *command("killed")], check=True)
    assert prints(killed) == prints(cell.folder(study, roots["straight"]))
    assert artifacts.verify_folder(killed) == []


SMALL_PRIORS: dict[str, dict[str, Any]] = {
    "autoencoder": {"epochs": 4, "batch_size": 16},
    "denoising_autoencoder": {"epochs": 4, "batch_size": 16},
    "staged_gan": {"steps": 4, "batch_size": 4, "width": 4, "discriminator_width": 4, "latent": 4},
    "mapping_classifier": {"epochs": 4, "batch_size": 16, "width": 2},
    "denoiser": {"steps": 4, "batch_size": 4, "width": 8},
}


def test_the_priors_that_train_in_steps_are_known() -> None:
    stepless = {"pca", "auxiliary_images", "shadow_generator", "biggan", "stylegan2"}
    stepless |= {"class_conditional_gaussian"}
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
    assert check_the_end(verb, monkeypatch, root, folder, *common) > 0


def test_a_shadow_generator_that_was_stopped_ends_with_the_same_bytes(
    study_copy: Finished,
    verb: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from gradsiege.stages import shadow

    small = shadow.ShadowGenerator(epochs=4, width=4, latent=4, batch_size=4, search_steps=5)
    monkeypatch.setattr(shadow, "ShadowGenerator", lambda: small)
    _, root = study_copy
    folder = root / "results/tiny/shadow/digits/seed0"
    common = ("shadow", "digits/seed0", "--study", root / "tiny.yaml", "--root", root)
    assert check_the_end(verb, monkeypatch, root, folder, *common) > 0


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

"""Snakemake runs what is missing or changed, and nothing else; nothing that is killed is half-written."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import time

import pytest
from workspaces import STUDY

from gradsiege.artifacts import verify_folder

pytestmark = pytest.mark.pipeline
GOOD = "digits/convnet/none/untrained/fedsgd/seed0"
DIVERGED = "digits/convnet/none/late/fedsgd/seed0"


def manifest(workspace, stage, key):
    return json.loads((workspace.folder / f"results/tiny/{stage}/{key}/manifest.json").read_text())


def test_a_run_leaves_every_figure_and_sound_artifacts(finished):
    results = finished.folder / "results/tiny"
    for kind in ("pdf", "svg", "png", "csv"):
        assert (results / f"figures/utility_curve.{kind}").stat().st_size
    for name in ("table_attacks", "table_attacks_data", "columns"):
        assert (results / f"tables/{name}.csv").stat().st_size
    folders = [path.parent for path in results.glob("**/manifest.json")]
    assert len(folders) == 9
    assert not [problem for folder in folders for problem in verify_folder(folder)]
    assert (results / f"logs/score/{GOOD}.log").read_text() == f"score {GOOD}: done\n"


def test_a_federation_that_diverges_is_recorded_and_the_study_completes(finished):
    failed = manifest(finished, "observe", DIVERGED)
    assert failed["status"] == "failed"
    assert "not finite" in failed["reason"]
    assert manifest(finished, "observe", GOOD)["status"] == "complete"
    assert manifest(finished, "score", DIVERGED)["notes"]["failed_rows"] == 3


def test_no_attack_is_given_a_truth(clone):
    """By the reason that Snakemake states for each job of a first run, which names all that it asks for."""
    said = clone.snakemake("--dry-run")
    jobs = re.findall(r"^Job \d+: (.*)\nReason: (.*)$", said, re.MULTILINE)
    attacks = [asked for message, asked in jobs if message.startswith("Attacking: ")]
    taken = [asked for message, asked in jobs if message.startswith("Taking attack ")]
    scores = [asked for message, asked in jobs if message.startswith("Scoring attacks: ")]
    assert attacks
    assert scores
    assert all("/observation.safetensors" in asked for asked in attacks)
    assert taken
    assert not [asked for asked in attacks + taken if "truth" in asked]
    assert all("/truth.safetensors" in asked for asked in scores)


def test_a_second_run_does_nothing_whatever_the_times(workspace):
    """Sources and results were touched, and the study file lies elsewhere: the content is the same."""
    for folder in ("src", "workflow", "results/tiny/fetch"):
        for path in (workspace.folder / folder).rglob("*"):
            path.touch()
    shutil.copy(workspace.folder / "config/tiny.yaml", workspace.folder / "copy.yaml")
    assert "Nothing to be done" in workspace.snakemake(study="copy.yaml")


def test_changed_settings_and_versions_rerun_exactly_their_cells(workspace):
    """Iterations of the attack on the late model; the version of the other, which met the untrained one."""
    workspace.rewrite("config/tiny.yaml", "gradients, iterations: 5", "gradients, iterations: 6")
    drawn = {"figure": 1, "table": 1, "report": 1}
    again = {"attack": 1, "attack_cell": 1, "score": 1, "score_cell": 1}
    assert workspace.planned() == {**again, **drawn}
    recipe = "src/gradsiege/attacks/recipes/gi_pip.py"
    workspace.rewrite(recipe, "\nVERSION = ", "\nVERSION = 100")
    assert workspace.planned(f"results/tiny/score/{GOOD}/scores.parquet") == again


def test_a_cell_that_is_asked_for_is_computed_alone(clone):
    """Although its shard holds another attack, on another observation."""
    target = f"results/tiny/attack/{GOOD}/labels_inferred/gi_pip/trace.parquet"
    stages = ("fetch", "prior", "federate", "observe", "attack")
    assert clone.planned(target) == {
        rule: 1 for stage in stages for rule in (stage, f"{stage}_cell")
    }
    assert f"Attacking: {GOOD}/labels_inferred/gi_pip\n" in clone.snakemake("-n", target)


def test_a_run_that_is_limited_to_some_rules_loses_no_cell_of_its_shards(clone):
    """Attacks are run, and no rule takes them; the next run takes them as they are."""
    clone.snakemake("--cores", "1", "--until", "attack")
    drafts = clone.folder / "scratch/staged/tiny/computed"
    waiting = [path.read_text() for path in drafts.glob("*/manifest.json")]
    assert len(waiting) > 1
    clone.snakemake("--cores", "1", "reconstructions")
    results = clone.folder / "results/tiny/attack"
    assert sorted(waiting) == sorted(path.read_text() for path in results.rglob("manifest.json"))
    assert not drafts.exists()


def test_a_failing_cell_fails_alone_and_its_neighbours_are_kept(workspace):
    """Both attacks are one shard, and must be run again; one of them breaks."""
    late = f"{DIVERGED}/labels_inferred/inverting_gradients"
    for name in (f"attack/{late}", f"score/{DIVERGED}"):
        shutil.rmtree(workspace.folder / "results/tiny" / name)
    recipe = "src/gradsiege/attacks/recipes/gi_pip.py"
    old = manifest(workspace, "attack", f"{GOOD}/labels_inferred/gi_pip")
    workspace.rewrite(recipe, "\nVERSION = ", "\nVERSION = 100")
    workspace.rewrite(recipe, "\n    def recipe(", "\n    recipe = None\n\n    def broken(")
    said = workspace.snakemake("reconstructions", check=False)
    assert "TypeError" in said
    log = workspace.folder / f"results/tiny/logs/attack/{GOOD}/labels_inferred/gi_pip.log"
    assert "TypeError" in log.read_text()
    ended = manifest(workspace, "attack", late)["ended"]
    # The results of the old version stay until there are new ones.
    assert manifest(workspace, "attack", f"{GOOD}/labels_inferred/gi_pip") == old
    # Both scores would be one shard, which waits for the broken cell; yet what can be scored is scored.
    workspace.snakemake("tables", check=False)
    assert manifest(workspace, "score", DIVERGED)["ended"] > ended
    assert manifest(workspace, "attack", late)["ended"] == ended
    workspace.rewrite(recipe, "\n    recipe = None\n\n    def broken(", "\n    def recipe(")
    assert workspace.planned("reconstructions") == {
        "attack": 1,
        "attack_cell": 1,
        "reconstructions": 1,
    }
    workspace.snakemake("reconstructions")
    assert manifest(workspace, "attack", late)["ended"] == ended
    assert manifest(workspace, "attack", f"{GOOD}/labels_inferred/gi_pip")["status"] == "complete"
    assert not (workspace.folder / "scratch/staged/tiny").exists()


def test_a_changed_ledger_of_claims_writes_the_report_again_and_nothing_else(workspace):
    report = (workspace.folder / "results/tiny/report.html").read_text()
    assert "tip.accuracy.comparable" in report
    workspace.rewrite("config/claims.yaml", "tip.accuracy.comparable", "tip.accuracy.alike")
    assert workspace.planned() == {"report": 1}


def test_a_deleted_figure_is_drawn_again_and_nothing_else(workspace):
    picture = workspace.folder / "results/tiny/figures/utility_curve.pdf"
    before = picture.read_bytes()
    for path in picture.parent.glob("*"):
        path.unlink()
    said = workspace.snakemake("results/tiny/figures/utility_curve.pdf")
    assert "1 of 1 steps (100%) done" in said
    assert picture.read_bytes() == before


def test_a_killed_run_leaves_nothing_half_written_and_ends_the_same(workspace):
    undisturbed = workspace.checksums(f"attack/{GOOD}")
    shutil.rmtree(workspace.folder / "results/tiny/attack")
    target = f"results/tiny/attack/{GOOD}/labels_inferred/gi_pip/manifest.json"
    head = workspace.start("snakemake", target, "--config", "study=config/tiny.yaml")
    # The note of a cell at work.
    wait_for(lambda: list(workspace.folder.glob("scratch/staged/tiny/computed/*.failed")))
    assert head.poll() is None
    os.killpg(head.pid, signal.SIGKILL)
    head.wait()
    sealed = [path.parent for path in workspace.folder.glob("results/**/manifest.json")]
    assert not [problem for folder in sealed for problem in verify_folder(folder)]
    # The lock of a killed run stays, lest two runs write at once; `snakemake --unlock` does this, and takes seconds to start.
    shutil.rmtree(workspace.folder / ".snakemake/locks")
    workspace.snakemake(target)
    again = workspace.checksums(f"attack/{GOOD}")
    assert len(again) == 2
    assert again.items() <= undisturbed.items()


def wait_for(happened, seconds=60):
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.1)


STUB = """#!/usr/bin/env python3
import signal, sys, time
def leave(number, frame):
    print("progress saved", flush=True)
    sys.exit(75)
signal.signal(signal.SIGTERM, leave)
print(*sys.argv[1:], flush=True)
time.sleep(60)
"""


def test_slurm_warning_reaches_the_job_and_its_last_words_the_log(workspace):
    """Slurm sends SIGTERM to every process of a job; only `gradsiege` may end by it."""
    programs = workspace.folder / "programs"
    programs.mkdir()
    (programs / "gradsiege").write_text(STUB)
    (programs / "gradsiege").chmod(0o755)
    workspace.environment = {
        "PATH": f"{programs}:{workspace.variables['PATH']}",
        "SLURM_JOB_ID": "1",
    }
    target, logs = "results/tiny/fetch/digits/card.json", "results/tiny/logs/shards/fetch"
    for name in ("results/tiny/fetch", logs):
        shutil.rmtree(workspace.folder / name)
    head = workspace.start("snakemake", target, "--config", "study=config/tiny.yaml")
    wait_for(lambda: [path for path in (workspace.folder / logs).glob("*") if path.read_text()])
    (written,) = (workspace.folder / logs).iterdir()
    os.killpg(head.pid, signal.SIGTERM)
    said = head.communicate(timeout=60)[0]
    assert head.returncode != 0
    assert "exit status 75" in said
    # Twenty minutes, less the four that saving and leaving may take.
    assert written.read_text() == (
        "fetch digits --staged --study config/tiny.yaml --time-budget 960\nprogress saved\n"
    )


# Snakemake as its own command runs it, with a note of every look for jobs that it schedules.
NOTED = """
import sys
from snakemake.cli import main
from snakemake.scheduling.job_scheduler import JobScheduler

schedule = JobScheduler._schedule_reevalutation

def noted(self, delay):
    print("another look in", delay)
    schedule(self, delay)

JobScheduler._schedule_reevalutation = noted
main(sys.argv[1:])
"""


@pytest.mark.parametrize(("limit", "looks"), [([], False), (["30/1s"], True)])
def test_the_head_looks_for_jobs_when_one_ends_and_not_every_second(workspace, limit, looks):
    """The looks of Snakemake's limit of starts add up, one for every job that ends, until they take a processor."""
    shutil.rmtree(workspace.folder / "results/tiny/figures")
    limits = ["--max-jobs-per-timespan", *limit] if limit else []
    said = workspace.run(sys.executable, "-c", NOTED, *limits, "--config", f"study={STUDY}")
    assert "Drawing" in said
    assert ("another look in 1" in said) == looks

"""The study on a real Slurm: the same bytes as on this machine, although jobs were cancelled and requeued.

Not part of `make test`, since it needs Slurm and root: `make test-cluster` installs the packages and runs it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gradsiege.pipeline import runner
from gradsiege.pipeline.cells import digest, parse_key
from gradsiege.study import load

ROOT = Path(__file__).resolve().parents[2]
STUDY = "config/cluster.yaml"
OBSERVED = "digits/convnet/none/{}/fedsgd/seed0"
LONG = f"{OBSERVED.format('untrained')}/all/inverting_gradients"
REFUSED = f"{OBSERVED.format('late')}/no_auxiliary/gi_pip"
MOST_SECONDS = 900
STAGES = ("fetch", "prior", "federate", "observe", "attack", "score")


def _slurm() -> ModuleType:
    spec = importlib.util.spec_from_file_location("slurm", Path(__file__).with_name("slurm.py"))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


slurm = _slurm()
pytestmark = pytest.mark.skipif(
    bool(slurm.missing()) or os.geteuid() != 0,
    reason=f"needs root and the Debian packages {' '.join(slurm.PACKAGES)}: make test-cluster",
)


def variables(folder: Path) -> dict[str, str]:
    """This interpreter's programs, the copy's own sources, and one engine for all."""
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin",
        "PYTHONPATH": str(folder / "src"),
        "OMP_NUM_THREADS": "1",
        "GRADSIEGE_ENGINE": "loop",
    }


def copy(folder: Path) -> Path:
    """What a commit of the working tree would hold, and the study of this test."""
    command = ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "-z"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_symlink() or (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    shutil.copy2(Path(__file__).with_name("study.yaml"), folder / STUDY)
    return folder


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of every finished cell's files, compared with the files themselves."""
    found = {}
    for path in sorted(folder.glob("results/cluster/*/**/manifest.json")):
        for name, entry in json.loads(path.read_text())["files"].items():
            found[f"{path.parent.relative_to(folder)}/{name}"] = entry["sha256"]
            assert hashlib.sha256((path.parent / name).read_bytes()).hexdigest() == entry["sha256"]
    return found


@dataclass
class Campaign:
    """Both runs of the study, what Slurm's accounting has of the second, and what Snakemake said."""

    local: Path
    remote: Path
    said: str
    jobs: list[dict[str, str]]
    checkpoints: list[int]

    def jobs_of(self, rule: str) -> list[dict[str, str]]:
        """The submissions and restarts of a rule's jobs."""
        return [job for job in self.jobs if f"rule_{rule}_" in job["Comment"]]


def snakemake(*arguments: str) -> list[str]:
    return ["snakemake", *arguments, "--config", f"study={STUDY}", "gpu=1"]


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    """Run the study here, then on the cluster, where the long attack is cancelled once and requeued once."""
    local, remote = (copy(tmp_path_factory.mktemp(name)) for name in ("local", "remote"))
    here = {**os.environ, **variables(local)}
    for _ in range(2):
        command = snakemake("tables", "--cores", "2")
        done = subprocess.run(command, cwd=local, env=here, capture_output=True, text=True)
        assert "does not grant" in done.stdout + done.stderr, done.stdout + done.stderr
    with slurm.cluster(tmp_path_factory.mktemp("slurm")) as cluster:
        cluster.environment |= variables(remote)
        with submitted(remote, cluster) as head:
            checkpoints = [
                interrupt(remote, cluster, head, *command)
                for command in (("scancel",), ("scontrol", "requeue"))
            ]
            said = head.end()
        # The scores were one shard, which waited for the broken attack: the next run scores the other observation.
        assert not list((remote / "results/cluster").glob("score/**/manifest.json")), said
        with submitted(remote, cluster) as head:
            head.end()
        fields = "JobID,State,ReqTRES,Timelimit,SubmitLine,Comment"
        return Campaign(local, remote, said, cluster.jobs(fields), checkpoints)


@dataclass
class Head:
    """The Snakemake that submits jobs and waits for them; what it says goes into a file."""

    process: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """Fail if it left."""
        assert self.process.poll() is None, self.log.read_text()

    def end(self) -> str:
        """Wait until it leaves; return what it said."""
        try:
            self.process.wait(MOST_SECONDS)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still waiting for jobs after {MOST_SECONDS} s:\n{self.log.read_text()}")
        return self.log.read_text()


@contextmanager
def submitted(folder: Path, cluster: Any) -> Iterator[Head]:
    """Start the study on the cluster; whatever happens, nothing of it is left running."""
    settings = ("--profile", "slurm", "--slurm-init-seconds-before-status-checks", "3")
    log = folder / "head.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            snakemake("tables", *settings, "--latency-wait", "5"),
            cwd=folder,
            env=cluster.environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Head(process, log)
    finally:
        process.kill()
        process.wait()


def interrupt(folder: Path, cluster: Any, head: Head, *command: str) -> int:
    """Interrupt the job of the long attack when it is at work; return the iteration that it saved."""
    study = load(folder / STUDY)
    cell = parse_key("attack", LONG, study)
    note = runner.note_of(cell, study, folder)

    def at_work() -> bool:
        head.check()
        return note.is_file()

    slurm.wait_for(at_work, MOST_SECONDS)
    time.sleep(5)
    running = [
        line.split("|")[0]
        for line in cluster.run("squeue", "-h", "-t", "R", "-o", "%i|%k").splitlines()
        if "rule_attack_" in line
    ]
    cluster.run(*command, *running)
    slurm.wait_for(lambda: not note.is_file())
    path = folder / "scratch" / digest(cell, study) / "checkpoint.safetensors"
    header = json.loads(path.read_bytes()[8 : 8 + int.from_bytes(path.read_bytes()[:8], "little")])
    return int(json.loads(header["__metadata__"]["metadata"])["iteration"])


def test_the_same_bytes_as_here(campaign: Campaign) -> None:
    local, remote = checksums(campaign.local), checksums(campaign.remote)
    assert {name.split("/")[2] for name in remote} == set(STAGES)
    assert remote == local


def test_an_interrupted_attack_went_on_where_it_was(campaign: Campaign) -> None:
    """Cancelled once, and submitted again by Snakemake; requeued once, under its own number."""
    states = [job["State"].split()[0] for job in campaign.jobs_of("attack")]
    # The last one is the broken attack, tried again alone.
    assert sorted(states) == ["CANCELLED", "COMPLETED", "COMPLETED", "REQUEUED"]
    first, second = campaign.checkpoints
    assert 0 < first < second < 1500


def test_resources_are_what_the_rules_ask_for(campaign: Campaign) -> None:
    for rule in ("prior", "federate", "observe", "attack"):
        for job in campaign.jobs_of(rule):
            assert "gres/gpu=1" in job["ReqTRES"], rule
    for job in campaign.jobs_of("score"):
        assert "gres/gpu" not in job["ReqTRES"]
    for job in campaign.jobs:
        memory, minutes = re.search(r"mem=(\d+)M", job["ReqTRES"]), job["Timelimit"]
        assert memory
        assert 2000 <= int(memory[1]) <= 3 * 2100
        assert minutes.startswith("00:2"), minutes
        assert "--signal=TERM@180" in job["SubmitLine"]
    # A failed attempt asks for more memory the next time.
    asked = [re.search(r"mem=(\d+)M", job["ReqTRES"]) for job in campaign.jobs_of("attack")]
    assert len({found[1] for found in asked if found}) == 2


def test_a_failing_cell_fails_alone(campaign: Campaign) -> None:
    assert "does not grant" in campaign.said
    attacks = campaign.remote / "results/cluster/attack"
    assert not (attacks / REFUSED / "manifest.json").exists()
    late = OBSERVED.format("late")
    assert (attacks / late / "all/gi_pip/manifest.json").is_file()
    # What reads the failed cell waits; the other observation is scored.
    scores = campaign.remote / "results/cluster/score"
    assert [path.parent.relative_to(scores) for path in scores.rglob("manifest.json")] == [
        Path(OBSERVED.format("untrained"))
    ]


def test_tiny_jobs_stay_on_the_head_node(campaign: Campaign) -> None:
    """One submission per shard: two observations, their three attacks and their scores are one job each."""
    rules = [re.search(r"rule_([a-z]+)_", job["Comment"]) for job in campaign.jobs]
    submitted = sorted(found[1] for found in rules if found)
    # The attacks were submitted twice and once requeued; the broken one was tried again alone.
    assert submitted == ["attack"] * 4 + ["federate", "observe", "prior", "score"]

"""Whole runs of Snakemake that are killed, doubled, misled by clocks and given damaged files."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import time

import pytest
from workspaces import NOTHING, Workspace

from gradsiege.artifacts import MANIFEST, PART, verify_folder

KILLS = 4
GOOD = "digits/convnet/none/untrained/fedsgd/seed0"
STUDY = ("--study", "config/tiny.yaml")
RUN = ("snakemake", "--config", "study=config/tiny.yaml")


def prints(workspace: Workspace) -> dict[str, str]:
    """Checksums of all stages."""
    return workspace.checksums("*")


def torn(workspace: Workspace) -> list[str]:
    sealed = [path.parent for path in workspace.folder.glob(f"results/**/{MANIFEST}")]
    return [problem for folder in sealed for problem in verify_folder(folder)]


def drawn(workspace: Workspace) -> dict[str, bytes]:
    """Figures and tables; the report tells seconds and is another each time."""
    results = workspace.folder / "results/tiny"
    return {
        path.name: path.read_bytes()
        for kind in ("figures", "tables")
        for path in (results / kind).iterdir()
    }


def test_runs_that_are_killed_end_with_the_same_bytes(
    workspace: Workspace, chance: random.Random
) -> None:
    """Head and jobs at once, as by a power cut; the remedy is the documented one."""
    before, figures = prints(workspace), drawn(workspace)
    for name in ("results", "scratch", ".snakemake"):
        shutil.rmtree(workspace.folder / name, ignore_errors=True)
    killed = 0
    for _ in range(KILLS):
        head = workspace.start(*RUN)
        started_jobs(head, chance.randint(1, 4))
        # Somewhere in them: they take some seconds, most of which are spent on imports.
        time.sleep(chance.uniform(0, 6))
        os.killpg(head.pid, signal.SIGKILL)
        killed += head.wait() == -signal.SIGKILL
        assert torn(workspace) == []
        assert prints(workspace).items() <= before.items()
        shutil.rmtree(workspace.folder / ".snakemake/locks", ignore_errors=True)
    assert killed
    said = workspace.run(*RUN, check=False)
    for note in re.findall(r"power failed\), delete (\S+)", said):
        # A cell at which three runs died is blamed for it until somebody says that it was not the cell.
        (workspace.folder / note).unlink()
    if "All done" not in said:
        workspace.run(*RUN)
    assert prints(workspace) == before
    assert drawn(workspace).keys() == figures.keys()
    assert torn(workspace) == []
    assert not list(workspace.folder.glob(f"results/**/.*{PART}"))
    assert not list((workspace.folder / "scratch").glob("[0-9a-f]*"))
    assert NOTHING in workspace.run(*RUN)
    print(f", {killed} of {KILLS} runs killed", end="")


def started_jobs(head: subprocess.Popen[str], count: int) -> None:
    """Wait until Snakemake has started jobs so many times, or ended."""
    assert head.stdout is not None
    while count and (line := head.stdout.readline()):
        count -= line.startswith("Execute ")


def test_the_second_of_two_runs_stops_and_touches_nothing(workspace: Workspace) -> None:
    before = prints(workspace)
    for name in ("score", "tables"):
        shutil.rmtree(workspace.folder / "results/tiny" / name)
    first = workspace.start(*RUN)
    try:
        started_jobs(first, 1)
        # The first one stands still, so that whatever changes now was changed by the second.
        os.killpg(first.pid, signal.SIGSTOP)
        found = contents(workspace)
        said = workspace.run(*RUN, check=False)
        assert "Directory cannot be locked" in said
        assert contents(workspace) == found
        os.killpg(first.pid, signal.SIGCONT)
        told = first.communicate(timeout=900)[0]
        assert first.returncode == 0, told
    finally:
        if first.poll() is None:
            os.killpg(first.pid, signal.SIGKILL)
            first.wait()
    assert prints(workspace) == before


def contents(workspace: Workspace) -> dict[str, tuple[int, int]]:
    """Size and time of everything in results and scratch."""
    paths = [
        path for name in ("results", "scratch") for path in (workspace.folder / name).rglob("*")
    ]
    files = [path for path in paths if path.is_file()]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


@pytest.mark.parametrize("moment", [0.0, 4_000_000_000.0], ids=["1970", "2096"])
def test_nothing_is_to_be_done_whatever_the_clock_was(workspace: Workspace, moment: float) -> None:
    for path in (workspace.folder / "results").rglob("*"):
        os.utime(path, (moment, moment))
    assert NOTHING in workspace.run(*RUN)


def test_a_damaged_file_that_snakemake_takes_as_good(workspace: Workspace) -> None:
    """Size and time are as they were, so Snakemake sees nothing; readers and `gradsiege verify` do."""
    before = prints(workspace)
    path = workspace.folder / f"results/tiny/observe/{GOOD}/observation.safetensors"
    times = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert NOTHING in workspace.run(*RUN)
    named = str(path.relative_to(workspace.folder))
    assert named in workspace.run("gradsiege", "verify", *STUDY, check=False)
    # No cell is computed from it.
    shutil.rmtree(workspace.folder / f"results/tiny/attack/{GOOD}")
    again = ("snakemake", "reconstructions", *RUN[1:])
    said = workspace.run(*again, check=False)
    assert f"{named} differs from its {MANIFEST}" in said
    workspace.run("gradsiege", "mend", *STUDY)
    assert prints(workspace) == before
    workspace.run("gradsiege", "verify", *STUDY)

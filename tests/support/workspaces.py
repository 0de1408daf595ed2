"""A clean clone of the working tree, the tiny study finished in it, and what both tell about themselves."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "tests/workflow/tiny.yaml"
PROGRAMS = Path(sys.executable).parent
STUDY = "config/tiny.yaml"
NOTHING = "Nothing to be done"


@dataclass
class Workspace:
    """A copy of the repository in which commands are run as a user would run them."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def variables(self) -> dict[str, str]:
        """Environment of commands: this interpreter's programs, and the copy's own sources."""
        return {
            **os.environ,
            "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
            "PYTHONPATH": str(self.folder / "src"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_AUTHOR_NAME": "test",
            "GIT_AUTHOR_EMAIL": "test@localhost",
            "GIT_COMMITTER_NAME": "test",
            "GIT_COMMITTER_EMAIL": "test@localhost",
            "DVC_NO_ANALYTICS": "1",
            "OMP_NUM_THREADS": "1",
            **self.environment,
        }

    @property
    def options(self) -> dict[str, Any]:
        """How every command is started: here, with both of its voices in one."""
        return {
            "cwd": self.folder,
            "env": self.variables,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.STDOUT,
            "text": True,
        }

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command to its end; return everything it said."""
        done = subprocess.run(command, timeout=900, **self.options)
        assert not check or done.returncode == 0, f"{' '.join(command)}\n{done.stdout}"
        return done.stdout

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command as the head of a process group of its own."""
        return subprocess.Popen(command, start_new_session=True, **self.options)

    def snakemake(self, *arguments: str, study: str = STUDY, check: bool = True) -> str:
        """Run Snakemake on a study."""
        return self.run("snakemake", *arguments, "--config", f"study={study}", check=check)

    def planned(self, *arguments: str, study: str = STUDY) -> dict[str, int]:
        """Jobs that Snakemake would run, by rule."""
        said = self.snakemake("--dry-run", *arguments, study=study)
        table = re.search(r"Job stats:\njob +count\n[- ]+\n((?:\w+ +\d+\n)+)", said)
        assert table or NOTHING in said, said
        rows = table.group(1).splitlines() if table else []
        counts = {row.split()[0]: int(row.split()[1]) for row in rows}
        return {rule: count for rule, count in counts.items() if rule not in ("all", "total")}

    def checksums(self, stage: str) -> dict[str, str]:
        """SHA-256 of every file of a stage, as its manifests have it."""
        return {
            f"{path.parent.relative_to(self.folder)}/{name}": entry["sha256"]
            for path in sorted(self.folder.glob(f"results/tiny/{stage}/**/manifest.json"))
            for name, entry in json.loads(path.read_text())["files"].items()
        }

    def rewrite(self, name: str, old: str, new: str) -> None:
        """Replace text in a file of the copy."""
        path = self.folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def copy(self, folder: Path) -> Workspace:
        """The same files, times included, elsewhere."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Workspace(folder)


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A git clone of everything that a commit of the working tree would hold, and the tiny study."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "-z"],
        capture_output=True,
        text=True,
        check=True,
    )
    origin = Workspace(tmp_path_factory.mktemp("origin"))
    for name in filter(None, listed.stdout.split("\0")):
        source, target = ROOT / name, origin.folder / name
        if source.is_symlink() or source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    shutil.copy2(TINY, origin.folder / STUDY)
    origin.run("git", "init", "--quiet")
    origin.run("git", "add", "--all")
    origin.run("git", "commit", "--quiet", "--message", "everything")
    cloned = tmp_path_factory.mktemp("clone") / "gradsiege"
    origin.run("git", "clone", "--quiet", str(origin.folder), str(cloned))
    return Workspace(cloned)


@pytest.fixture(scope="session")
def finished(clone: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The tiny study, run from the clone by one command; tests change copies of it only."""
    workspace = clone.copy(tmp_path_factory.mktemp("finished") / "gradsiege")
    said = workspace.snakemake()
    assert "All done. Open the report in a browser: results/tiny/report.html" in said
    return workspace


@pytest.fixture
def workspace(finished: Workspace, tmp_path: Path) -> Workspace:
    """A copy of the finished study for one test."""
    return finished.copy(tmp_path / "gradsiege")


@pytest.fixture(scope="session")
def shareable(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The finished study, which `dvc.yaml` lists; tests change copies of it only."""
    workspace = finished.copy(tmp_path_factory.mktemp("shareable") / "gradsiege")
    workspace.rewrite("dvc.yaml", "quick: config/quick.yaml", f"tiny: {STUDY}")
    return workspace

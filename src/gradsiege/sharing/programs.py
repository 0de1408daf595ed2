"""Calls of DVC and Snakemake as the user would run them; this program imports neither."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from gradsiege.errors import ArtifactError, SharingError
from gradsiege.extras import install

SNAKEMAKE = "snakemake"
MOST_LINES = 12  # of what a program said, in a message


@dataclass(frozen=True)
class Said:
    """The result of a program."""

    succeeded: bool
    text: str

    @property
    def end(self) -> str:
        """The last lines of the output, which contain the errors."""
        lines = [line.rstrip() for line in self.text.splitlines() if line.strip()]
        return "\n".join(lines[-MOST_LINES:])


def run(root: Path, program: str, *arguments: str) -> Said:
    """Run a program in the root of the repository, to its end and without interaction.

    Raises:
        SharingError: it is not installed.
        ArtifactError: the person's folder that it cannot do without is none.
    """
    done = subprocess.run(
        [_found(program), *arguments],
        cwd=root,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    return Said(done.returncode == 0, done.stdout)


def show(root: Path, program: str, *arguments: str) -> bool:
    """Run a program in the root of the repository while the user reads what it says; return whether it succeeded.

    Raises:
        SharingError: it is not installed.
        ArtifactError: the person's folder that it cannot do without is none.
    """
    command = [_found(program), *arguments]
    return subprocess.run(command, cwd=root, env=_environment()).returncode == 0


def _found(program: str) -> str:
    """Return the path of a program: on PATH, or beside this interpreter."""
    _check_home(program)
    path = shutil.which(program) or shutil.which(program, path=Path(sys.executable).parent)
    if path is None:
        raise SharingError(f"{program} is not installed; {install('pipeline')} brings it")
    return path


def _check_home(program: str) -> None:
    """Refuse a home in which a program would end in a traceback before it reads anything of the study."""
    variable, usual = (
        ("XDG_CACHE_HOME", ".cache") if program == SNAKEMAKE else ("XDG_CONFIG_HOME", ".config")
    )
    home = os.path.expanduser("~")  # noqa: PTH111 (`Path.expanduser` raises where nobody has a home)
    folder = Path(os.environ.get(variable) or Path(home, usual)) / program
    try:
        if program == SNAKEMAKE:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        else:
            folder.stat()
    except OSError as error:
        if program != SNAKEMAKE and isinstance(error, FileNotFoundError):
            return
        raise ArtifactError(
            f"{program} cannot use its folder {folder}: {error.strerror}. Set {variable} or HOME, which lead there, to a folder "
            "that can be written to, then run the same command again"
        ) from error


def _environment() -> dict[str, str]:
    """Return the environment of a program, with this interpreter's programs on PATH, since they call one another."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)])
    return {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1"}

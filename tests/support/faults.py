"""Commands in processes of their own that tests may kill, starve and mislead, without the seconds that Python takes to start.

The process that runs the tests has loaded everything and computes nothing; a child is forked from it, runs one command as the
command line would, and ends. A test changes the child before its command begins.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradsiege import artifacts
from gradsiege.cli import main

Change = Callable[[], object]
OBSERVED = "digits/lenet/gaussian/late/fedsgd/seed0"
# One command for each of the eight stages.
COMMANDS: dict[str, list[str]] = {
    "fetch": ["fetch", "digits"],
    "prior": ["prior", "digits/autoencoder/seed0"],
    "shadow": ["shadow", "digits/seed0"],
    "federate": ["federate", "digits/lenet/gaussian/seed0"],
    "observe": ["observe", OBSERVED],
    "attack": ["attack", f"{OBSERVED}/labels_inferred/gi_pip"],
    "score": ["score", OBSERVED],
    "publish": ["publish", "gallery", "table_attacks", "report"],
}


@dataclass(frozen=True)
class End:
    """How a command ended: exit code (minus the signal's number if one killed it), what it said, and how long it took."""

    code: int
    said: str
    seconds: float

    @property
    def killed(self) -> bool:
        """Whether SIGKILL ended it."""
        return self.code == -signal.SIGKILL

    def sentence(self) -> str:
        """The one line that it said, which is not a traceback."""
        lines = [line for line in self.said.splitlines() if line.strip()]
        assert len(lines) == 1, self.said
        assert lines[0].startswith("gradsiege: error: "), self.said
        return lines[0]


class Child:
    """One command in a forked process and session of its own.

    Args:
        arguments: of the command line.
        changes: what happens to the process before the command begins.
    """

    def __init__(self, arguments: list[str], *changes: Change) -> None:
        # Not beside the results, whose disk may be full.
        self.handle, name = tempfile.mkstemp(suffix=".log")
        self.log = Path(name)
        self.began = time.monotonic()
        self.pid = os.fork()
        if not self.pid:
            self._run(arguments, changes)

    def _run(self, arguments: list[str], changes: tuple[Change, ...]) -> None:
        """Live the child's life; never return."""
        code = 1
        try:
            os.setsid()
            os.dup2(self.handle, 1)
            os.dup2(self.handle, 2)
            sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
            sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
            for change in changes:
                change()
            main(arguments)
            code = 0
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)

    def end(self) -> End:
        """Wait for its end."""
        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - self.began
        said = self.log.read_text(encoding="utf-8", errors="replace")
        os.close(self.handle)
        self.log.unlink()
        return End(code, said, seconds)

    def kill_after(self, seconds: float) -> End:
        """Kill it without warning, so many seconds after its beginning, unless it ends before."""
        time.sleep(max(self.began + seconds - time.monotonic(), 0))
        os.kill(self.pid, signal.SIGKILL)
        return self.end()


@dataclass(frozen=True)
class Place:
    """A study file and the folder that holds its results and scratch."""

    root: Path
    file: Path

    def start(self, *command: str, changes: tuple[Change, ...] = ()) -> Child:
        """Start a command on the study."""
        options = ["--study", str(self.file), "--root", str(self.root)]
        return Child([*command, *options], *changes)

    def run(self, *command: str, changes: tuple[Change, ...] = ()) -> End:
        """Run a command on the study to its end."""
        return self.start(*command, changes=changes).end()

    def whole(self) -> dict[str, bytes]:
        """Everything that lies in the root, manifests included, by its path."""
        files = (path for path in sorted(self.root.rglob("*")) if path.is_file())
        return {str(path.relative_to(self.root)): path.read_bytes() for path in files}

    def outputs(self, stage: str) -> list[Path]:
        """The files of the cell that the stage's command makes, its manifest included; of `publish` all that it draws."""
        results = self.root / "results/faults"
        if stage == "publish":
            found = [*results.glob("figures/*"), *results.glob("tables/*"), results / "report.html"]
            return sorted(found)
        return sorted((results / stage / COMMANDS[stage][1]).iterdir())

    def prints(self) -> dict[str, str]:
        """Checksums of every result by its path; manifests hold times and are left out."""
        return self.prints_of(self.root / "results")

    @staticmethod
    def prints_of(folder: Path) -> dict[str, str]:
        """Checksums of what lies below a folder."""
        return {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name != artifacts.MANIFEST
        }

    def torn(self) -> list[str]:
        """What is wrong with any folder that a manifest vouches for."""
        folders = [path.parent for path in self.root.rglob(artifacts.MANIFEST)]
        return [problem for folder in folders for problem in artifacts.verify_folder(folder)]

    def remains(self) -> list[Path]:
        """Temporary files, and whatever lies in scratch."""
        parts = self.root.rglob(f"*{artifacts.PART}")
        return sorted({*parts, *(self.root / "scratch").rglob("*")})


def save_often() -> None:
    """Let every job save its progress whenever it may."""
    import gradsiege.attacks.progress as attack
    from gradsiege.priors import resumable

    attack.SECONDS_BETWEEN_SAVES = resumable.SECONDS_BETWEEN_SAVES = 0.0


def slow_disk(seconds: float = 0.01) -> None:
    """Let every file take its time between its temporary name and its own."""
    fsync: Any = os.fsync

    def slowly(handle: int) -> None:
        time.sleep(seconds)
        fsync(handle)

    os.fsync = slowly


def very_slow_disk() -> None:
    """So slow that a good part of a short stage is spent on writing."""
    slow_disk(0.2)


def without_rights() -> None:
    """Let even root meet the rights of files: what it owns and may not write, it cannot write."""
    header = struct.pack("=Ii", 0x20080522, 0)
    if ctypes.CDLL(None, use_errno=True).capset(header, bytes(24)):
        raise OSError(ctypes.get_errno(), "capset")


def files_of_at_most(size: int) -> Change:
    """Let the kernel refuse to make any file larger: a full disk without a disk."""

    def change() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return change


def clock_off_by(seconds: float) -> Change:
    """Let the clock of the wall, and no other, go wrong by so many seconds."""

    def change() -> None:
        right = time.time
        time.time = lambda: right() + seconds

    return change


class SmallDisk:
    """A file system in memory of a size that can be changed; only root may mount one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.mounted = self._mount("size=64m")

    def _mount(self, options: str) -> bool:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.folder)]
        try:
            return subprocess.run(command, capture_output=True, check=False).returncode == 0
        except OSError:
            return False

    def leave(self, room: int) -> None:
        """Leave so many bytes free."""
        found = os.statvfs(self.folder)
        used = (found.f_blocks - found.f_bfree) * found.f_frsize
        assert self._mount(f"remount,size={used + room}")

    def enlarge(self) -> None:
        """Give room enough for anything."""
        assert self._mount("remount,size=64m")

    def protect(self) -> None:
        """Let nobody write."""
        assert self._mount("remount,ro")

    def close(self) -> None:
        """Unmount it."""
        if self.mounted:
            subprocess.run(["umount", "--lazy", str(self.folder)], check=True)

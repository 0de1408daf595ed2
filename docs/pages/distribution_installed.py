"""Install a wheel as its readers would, and use it: ``python -m docs.pages.distribution_installed dist`` ends with code 1 if that fails.

pip installs the wheel into a new virtual environment outside the repository. Downloading PyTorch again would take minutes, so the
environment is first given links to the installed files of all that the wheel asks for without an extra, and of nothing else: pip
itself says, without a network, whether anything is missing.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
import textwrap
import venv
import zipfile
from email.parser import HeaderParser
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
COMMANDS = (["--version"], ["--help"], ["list", "defenses"], ["audit", "--help"])
# What the README's snippet takes as given.
GIVEN = """\
import torch
from torch import nn
images, labels = torch.rand(1, 3, 32, 32), torch.tensor([3])
model = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(900, 5))
"""


def asked_for(wheel: Path) -> list[str]:
    """Return the requirements of a wheel, those of its extras included."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return HeaderParser().parsestr(archive.read(name).decode()).get_all("Requires-Dist", [])


def distribution_of(name: str) -> metadata.Distribution:
    """Return an installed distribution, that of the environment that holds the project before any other.

    The builders' environment stands first on the path, and setuptools, once imported, puts copies of its own at the end.
    """
    of_project = str(metadata.distribution("gradsiege").locate_file(""))
    return next(iter(metadata.Distribution.discover(name=name, path=[of_project, *sys.path])))


def closure(requirements: list[str], extra: str = "") -> set[str]:
    """Return the names of the installed distributions that these requirements ask for, of those that they ask for, and so on.

    extra: of the wheel itself.

    >>> closure(["packaging>=1; extra == 'study'"]), closure(["packaging>=1"])
    (set(), {'packaging'})
    >>> closure(["packaging>=1; extra == 'study'"], "study")
    {'packaging'}
    """
    reached: set[tuple[str, str]] = set()
    left = [(text, extra) for text in requirements]
    while left:
        text, extra = left.pop()
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(wanted.name)
        for inner in {(name, part) for part in ("", *wanted.extras)} - reached:
            reached.add(inner)
            left += [(text, inner[1]) for text in distribution_of(name).requires or []]
    return {name for name, _ in reached}


def link(names: set[str], folder: Path) -> None:
    """Link what these distributions installed, except programs, into the site-packages of another environment."""
    for name in names:
        distribution = distribution_of(name)
        for entry in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            if not (folder / entry).exists():
                (folder / entry).symlink_to(str(distribution.locate_file(entry)))


def snippet(readme: str) -> str:
    r"""Return the program that the README shows, with a few iterations, after what it takes as given.

    >>> print(snippet("    import gradsiege as gs\n\n    attack(iterations=1000)\n\nNext").removeprefix(GIVEN))
    import gradsiege as gs
    <BLANKLINE>
    attack(iterations=2)
    print(gs.__file__)
    <BLANKLINE>
    """
    block = re.search(r"^    import gradsiege as gs.*\n(?:    .*\n|\n)+", readme, re.MULTILINE)
    if block is None:
        raise ValueError("README.md shows no program that imports gradsiege")
    shown = re.sub(r"iterations=\d+", "iterations=2", textwrap.dedent(block[0]).strip())
    return f"{GIVEN}{shown}\nprint(gs.__file__)\n"


def commands(readme: str) -> list[list[str]]:
    r"""Return the commands that the README shows with programs of `.venv/bin`, as their words.

    >>> commands("    .venv/bin/gradsiege audit \\\n      --out audit/\n    make test\n")
    [['gradsiege', 'audit', '--out', 'audit/']]
    """
    shown = re.findall(r"^    \.venv/bin/((?:.*\\\n)*.*)$", readme, re.MULTILINE)
    return [shlex.split(words.replace("\\\n", "")) for words in shown]


def run(command: list[str], folder: Path) -> tuple[str, str]:
    """Run a command in a folder, with no variable of ours for Python; return what it prints, and a sentence if it fails."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        command,
        cwd=folder,
        env={**kept, "PYTHONNOUSERSITE": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    said = (done.stdout + done.stderr).strip()
    words = " ".join(command[:4]).replace(f"{folder}{os.sep}", "")
    return done.stdout, f"{words} ended with {done.returncode}:\n{said}" if done.returncode else ""


def installed(wheel: Path, folder: Path, extra: str = "") -> tuple[Path, str]:
    """Install the wheel into a new environment `bare` of a folder; return its folder of programs, and a sentence if that fails.

    extra: extras of the wheel, with commas between them.
    """
    environment = folder / "bare"
    venv.create(environment, symlinks=True)
    for one in extra.split(","):
        link(closure(asked_for(wheel), one), packages_of(environment))
    programs = environment / "bin"
    pip = [sys.executable, "-m", "pip", "--python", str(programs / "python")]
    install = ["install", "--quiet", "--no-index", "--disable-pip-version-check"]
    wanted = f"{wheel.resolve()}[{extra}]" if extra else str(wheel.resolve())
    return programs, run([*pip, *install, wanted], folder)[1]


def packages_of(environment: Path) -> Path:
    """Return the site-packages of an environment."""
    (packages,) = (environment / "lib").glob("python*/site-packages")
    return packages


def faults(wheel: Path, folder: Path, readme: str) -> list[str]:
    """Return what goes wrong when the wheel is installed in an empty folder and the library is used there, up to the first fault."""
    programs, fault = installed(wheel, folder)
    if fault:
        return [fault]
    for words in COMMANDS:
        if fault := run([str(programs / "gradsiege"), *words], folder)[1]:
            return [fault]
    said, fault = run([str(programs / "python"), "-c", snippet(readme)], folder)
    if fault:
        return [fault]
    file, packages = Path(said.split()[-1]), packages_of(folder / "bare")
    own = file.resolve().is_relative_to(packages.resolve())
    return [] if own else [f"the README's program imports {file}, which is not the installed wheel"]


def faults_of_commands(wheel: Path, folder: Path, readme: str) -> list[str]:
    """Return what goes wrong when the wheel is installed with all that studies need, and the README's commands run, up to the first fault.

    The study files are those of the repository, which a wheel does not hold.
    """
    programs, fault = installed(wheel, folder, "study")
    if fault:
        return [fault]
    (folder / "config").symlink_to(ROOT / "config")
    for program, *words in commands(readme):
        if fault := run([str(programs / program), *words], folder)[1]:
            return [fault]
    return []


def faults_of_workflow(wheel: Path, folder: Path, readme: str) -> list[str]:
    """Return what goes wrong when the wheel lays out a folder and plain Snakemake runs a first stage there, up to the first fault."""
    programs, fault = installed(wheel, folder, "study,pipeline")
    if fault:
        return [fault]
    laid = folder / "reproduction"
    snakemake = [str(programs / "python"), "-m", "snakemake", "--cores", "1"]
    for command, place in (
        ([str(programs / "gradsiege"), "init", str(laid)], folder),
        ([*snakemake, "--dry-run", "--quiet"], laid),
        ([*snakemake, "images", "--quiet"], laid),
    ):
        if fault := run(command, place)[1]:
            return [fault]
    made = [*laid.glob("results/quick/fetch/*/manifest.json")]
    return [] if made else [f"Snakemake made no images in {laid.name}"]


if __name__ == "__main__":
    (built,) = Path(sys.argv[1]).glob("*.whl")
    text = (ROOT / "README.md").read_text()
    found = []
    for check in (faults, faults_of_commands, faults_of_workflow):
        with tempfile.TemporaryDirectory() as temporary:
            found += check(built, Path(temporary), text)
    print(
        "\n".join(found)
        or "the installed wheel runs the README's program, its commands and a study"
    )
    sys.exit(bool(found))

"""Look into a wheel and an sdist: ``python -m docs.pages.distribution dist`` ends with code 1 if something is missing or too much.

A wheel must hold every file of ``src/gradsiege`` and of the workflow that git lists; an sdist what builds that wheel and what a study needs beside it.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from gradsiege.pipeline.workspace import PARTS

ROOT = Path(__file__).parents[2]
# Files that an sdist holds like a clone, and a wheel does not.
STUDY_NEEDS = (
    "Snakefile",
    "config/claims.yaml",
    "config/quick.yaml",
    "workflow/schemas/study.schema.json",
    "LICENSE",
    "README.md",
)
NEVER = ("results/", "scratch/", ".venv", "site/", "__pycache__")


def listed(folder: str = "") -> list[str]:
    """Return the files below a folder that git lists."""
    done = subprocess.run(
        ["git", "ls-files", "-z", "--", folder or "."],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def faults_of_wheel(names: Iterable[str], sources: Iterable[str]) -> Iterator[str]:
    """Yield a sentence per file that a wheel lacks or should not hold.

    Files of the workflow stand in a folder of the package (`gradsiege.pipeline.workspace`).

    >>> [*faults_of_wheel(["gradsiege/a.py", "gradsiege-1.dist-info/licenses/LICENSE"], ["src/gradsiege/a.py", "src/gradsiege/py.typed"])]
    ['the wheel lacks gradsiege/py.typed']
    """
    held = set(names)
    wanted = {
        name.removeprefix("src/") if name.startswith("src/") else f"gradsiege/workspace/{name}"
        for name in sources
    }
    yield from (f"the wheel lacks {name}" for name in sorted(wanted - held))
    yield from (
        f"the wheel holds {name}, which git does not list"
        for name in sorted(held - wanted)
        if ".dist-info/" not in name
    )
    if not any(name.endswith(".dist-info/licenses/LICENSE") for name in held):
        yield "the wheel lacks the licence"


def faults_of_sdist(names: Iterable[str], sources: Iterable[str]) -> Iterator[str]:
    """Yield a sentence per file that an sdist lacks or should not hold; names are below its one folder.

    >>> [*faults_of_sdist(["results/quick/report.html", *STUDY_NEEDS], [])]
    ['the sdist holds results/quick/report.html']
    """
    held = set(names)
    yield from (f"the sdist lacks {name}" for name in sorted({*sources, *STUDY_NEEDS} - held))
    yield from (f"the sdist holds {name}" for name in sorted(held) if name.startswith(NEVER))


def check(folder: Path) -> list[str]:
    """Return what is wrong with the one wheel and the one sdist in a folder."""
    (wheel,), (sdist,) = [*folder.glob("*.whl")], [*folder.glob("*.tar.gz")]
    sources = listed("src/gradsiege")
    workflow = [name for part in PARTS for name in listed(part)]
    with zipfile.ZipFile(wheel) as archive:
        wheel_faults = [*faults_of_wheel(archive.namelist(), [*sources, *workflow])]
    with tarfile.open(sdist) as archive:
        names = [member.name.partition("/")[2] for member in archive if member.isfile()]
    return [*wheel_faults, *faults_of_sdist(names, sources)]


if __name__ == "__main__":
    found = check(Path(sys.argv[1]))
    print("\n".join(found) or "wheel and sdist are whole")
    sys.exit(bool(found))

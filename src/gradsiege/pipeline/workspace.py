"""A folder in which plain ``snakemake`` runs a study: the workflow and the study files, as a wheel brings them or a clone has them."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from gradsiege.errors import MissingError, UsageError

PARTS = ("Snakefile", "workflow", "profiles", "config")
# Where a wheel has the parts (pyproject.toml), and the root of a clone.
PACKAGED, CLONE = Path(__file__).parents[1] / "workspace", Path(__file__).parents[3]


def origin() -> Path:
    """Return the folder that holds the parts.

    Raises:
        MissingError: the package was installed without them.
    """
    for folder in (PACKAGED, CLONE):
        if all((folder / part).exists() for part in PARTS):
            return folder
    raise MissingError(
        "this installation of gradsiege has no workflow in it; install a wheel that `make dist` built, or clone the repository"
    )


def lay_out(folder: Path) -> None:
    """Copy the parts into a new or empty folder, all of them or none.

    Raises:
        UsageError: something is there already; MissingError: as for `origin`.
    """
    source, new = origin(), not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(
            f"{folder} cannot be a folder, since a file is in its way; name another one"
        ) from error
    if any(folder.iterdir()):
        raise UsageError(f"{folder} is there already; name a new or an empty folder")
    placed: list[Path] = []
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".laid-out-") as temporary:
            for part in PARTS:
                _copy(source / part, Path(temporary) / part)
            for part in PARTS:
                placed.append((Path(temporary) / part).rename(folder / part))
    except BaseException:
        for path in placed:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if new:
            folder.rmdir()
        raise


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)

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
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is there already; name a new or an empty folder")
    source = origin()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        made = Path(temporary) / "whole"
        made.mkdir()
        for part in PARTS:
            if (source / part).is_dir():
                shutil.copytree(
                    source / part, made / part, ignore=shutil.ignore_patterns("__pycache__")
                )
            else:
                shutil.copy(source / part, made / part)
        if folder.exists():
            folder.rmdir()
        made.rename(folder)

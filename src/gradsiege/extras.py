"""Packages that only a part of GradSiege needs: `pip install .` leaves them out, and an extra brings them."""

from __future__ import annotations

from importlib.util import find_spec

from gradsiege.errors import GradSiegeError, MissingError

EXTRAS: dict[str, tuple[str, ...]] = {
    "methods": ("cmaes", "opacus"),
    "study": ("PIL", "jinja2", "matplotlib", "pyarrow", "seaborn", "skimage", "sklearn"),
    "pipeline": ("mlflow", "rocrate"),
    "flower": ("flwr",),
}
"""By name of the extra in pyproject.toml, the modules that GradSiege imports from it."""


def install(extra: str) -> str:
    """Return the command that installs an extra; no registry has the project.

    >>> install("pipeline")
    'pip install ".[pipeline]" in a clone'
    """
    return f'pip install ".[{extra}]" in a clone'


def need(*modules: str, error: type[GradSiegeError] = MissingError) -> None:
    """Raise if a module is not installed, and name the extra that brings it. Nothing is imported.

    Args:
        modules: names that stand in `EXTRAS`.
        error: kind of the error.

    >>> need("cmaes", "opacus")
    """
    for module in modules:
        if find_spec(module) is None:
            extra = next(name for name, brought in EXTRAS.items() if module in brought)
            raise error(f"{module} is not installed; {install(extra)} brings it")

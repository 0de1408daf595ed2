"""Names on the command line: ``NAME``, ``NAME:key=value,...`` of the catalogue, or ``package.module:factory`` of the user's own."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from gradsiege import catalogue
from gradsiege.errors import GradSiegeError, UsageError, in_a_line, nearest


def parameters(text: str, place: str) -> dict[str, Any]:
    """Return the parameters in ``key=value,key=value``; values are read as in a study file.

    >>> parameters("sigma=0.1,arm=as_released", "--defense")
    {'sigma': 0.1, 'arm': 'as_released'}

    Raises:
        UsageError: an item is not a key and a value.
    """
    values: dict[str, Any] = {}
    for item in filter(None, text.split(",")):
        key, mark, value = item.partition("=")
        if not mark or not key.strip():
            raise UsageError(f"{place}: {item!r} is not key=value")
        if key.strip() in values:
            raise UsageError(f"{place}: {key.strip()} is given twice; give it once")
        try:
            values[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            values[key.strip()] = value
    return values


def of_catalogue(kind: str, spec: str) -> bool:
    """Return whether a name on the command line is one of the catalogue.

    >>> of_catalogue("defenses", "gaussian:sigma=0.1"), of_catalogue("defenses", "mine.defense:Half")
    (True, False)
    """
    return spec.partition(":")[0] in catalogue.entries(kind)


def imported(spec: str, option: str, known: Sequence[str]) -> Any:
    """Return what ``package.module:name`` names; a class or a function is called without arguments.

    The current folder is searched as Python itself does. Only this module is imported, and what it imports. `known`: names that
    stand in its place without being a module, for one that is mistyped.

    Raises:
        UsageError: there is no such module or name, or its code fails.
    """
    module, _, name = spec.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        loaded = importlib.import_module(module)
    except ModuleNotFoundError as error:
        mistyped = error.name == module and difflib.get_close_matches(module, known)
        remedy = (
            nearest(module, list(known))
            if mistyped
            else "run in the folder that holds it, or install it"
        )
        raise UsageError(f"{option} {spec}: there is no module {error.name!r}; {remedy}") from error
    except GradSiegeError:
        raise
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"{option} {spec}: {module} cannot be imported: {in_a_line(error)}"
        ) from error
    if not hasattr(loaded, name):
        public = [word for word in vars(loaded) if not word.startswith("_")]
        raise UsageError(f"{option} {spec}: {module} has no {name!r}; {nearest(name, public)}")
    made = getattr(loaded, name)
    return called(made, spec, option)


def called(made: Any, spec: str, option: str) -> Any:
    """Return the object itself, or what a class or a function returns when it is called without arguments."""
    from torch import nn

    from gradsiege.defenses.base import Defense

    if isinstance(made, nn.Module | Defense) or not callable(made):
        return made
    try:
        return made()
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"{option} {spec}: calling it without arguments fails: {in_a_line(error)}. Name a function that "
            "needs none"
        ) from error

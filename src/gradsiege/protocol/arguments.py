"""Arguments that several calls of the library share: each of another kind is refused by name, with its value and what to give."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gradsiege.errors import UsageError
from gradsiege.protocol.threat_model import ThreatModel
from gradsiege.ranges import shown


def refuse_kinds(knows: Any = None, resume: Any = None, seed: Any = 0, **called: Any) -> None:
    """Refuse shared arguments of another kind; every one of `called` is a function or None.

    >>> refuse_kinds(knows=None, resume="folder", seed=3, tell=print)

    Raises:
        UsageError: names the argument.
    """
    if knows is not None and not isinstance(knows, ThreatModel):
        raise UsageError(f"knows is {shown(knows)}; give a `gradsiege.ThreatModel`, or None")
    if resume is not None and not isinstance(resume, Path | str):
        raise UsageError(f"resume is {shown(resume)}; give the path of a folder, or None")
    if resume == "":
        raise UsageError("resume is ''; give the path of a folder, or None")
    if resume and Path(resume).exists() and not Path(resume).is_dir():
        raise UsageError(f"resume is {str(resume)!r}, which is a file; give a folder")
    if not is_whole(seed):
        raise UsageError(f"seed is {shown(seed)}; give a whole number")
    for name, function in called.items():
        if function is not None and not callable(function):
            raise UsageError(f"{name} is {shown(function)}; give a function, or leave {name} out")


def is_whole(number: Any) -> bool:
    """Return whether an argument is a whole number, of Python or NumPy; a truth value is none.

    >>> is_whole(3), is_whole(True), is_whole(1.0)
    (True, False, False)
    """
    return (
        hasattr(number, "__index__") and not isinstance(number, bool) and not hasattr(number, "dim")
    )


def sentences(remarks: str | Iterable[str]) -> list[str]:
    """Return remarks as a list; a single text is one remark.

    >>> sentences("Faces of volunteers."), sentences(["a", "b"])
    (['Faces of volunteers.'], ['a', 'b'])
    """
    return [remarks] if isinstance(remarks, str) else list(remarks)

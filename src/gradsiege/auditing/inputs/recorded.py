"""Updates that a server recorded, as files of arrays by the names of the network's parameters."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from gradsiege.auditing.inputs.arrays import named_arrays
from gradsiege.auditing.inputs.finite import not_finite
from gradsiege.auditing.inputs.weights import unwrapped
from gradsiege.errors import ModelError, UsageError

OPTION = "--updates"


def read_updates(path: Path) -> dict[str, Tensor]:
    """Return recorded updates by name, ``[*shape]`` for one client or ``[clients, *shape]`` for several.

    A client whose update is not finite is refused: a server that took the mean would have noticed.

    Raises:
        UsageError: the file holds nothing.
        ModelError: an update holds a number that is not finite.
    """
    arrays = unwrapped(named_arrays(path, OPTION))
    updates = {name: value.float() for name, value in arrays.items() if not name.startswith("__")}
    if not updates:
        raise UsageError(f"{OPTION} {path} holds no array; save one per parameter, under its name")
    for name, value in updates.items():
        strange = not_finite(value, repr(name))
        if strange:
            raise ModelError(
                f"{OPTION} {path}: {strange}, so that the server's mean would hold such numbers, too; leave that client out"
            )
    return updates

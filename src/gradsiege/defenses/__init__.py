"""Client-side defenses: one frozen dataclass each, over one small base.

`gradsiege.defenses.Gaussian(sigma=0.1)` creates one in Python, `build` creates one from a study file's entry. Modules are imported
on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradsiege import catalogue
from gradsiege.errors import MEND, ArtifactError

if TYPE_CHECKING:
    from pathlib import Path

    from gradsiege.defenses.base import Defense
    from gradsiege.protocol.local_update import Tensors


def build(
    name: str,
    parameters: dict[str, Any],
    arm: str = "faithful",
    shadow: Path | Tensors | None = None,
) -> Defense:
    """Return the defense of a study file's entry, parameters already resolved.

    Weights are tensors by name, each of the shape of the generator's own.

    `shadow` is the pretrained generator, its file or its weights, handed only to defenses with ``REQUIRES = ("shadow",)``.
    """
    entry = catalogue.entries("defenses")[name]
    more: dict[str, Any] = {"arm": arm} if len(entry.arms) > 1 else {}
    if "shadow" in entry.requires:
        if shadow is None:
            raise ArtifactError(f"{name} needs shadow.safetensors. {MEND}")
        more["pretrained"] = shadow
    defense: Defense = catalogue.implementation(entry)(**parameters, **more)
    return defense


def is_user_defined(defense: Defense) -> bool:
    """Return whether the catalogue does not know the class of a defense, which may bear the name of one that it knows.

    >>> is_user_defined(build("sign", {}))
    False
    """
    entry = catalogue.entries("defenses").get(defense.name)
    return entry is None or type(defense) is not catalogue.implementation(entry)


def __getattr__(name: str) -> Any:
    """Import a defense by the name of its class."""
    return catalogue.attribute("defenses", name)


def __dir__() -> list[str]:
    """Name every defense."""
    return catalogue.classes("defenses")

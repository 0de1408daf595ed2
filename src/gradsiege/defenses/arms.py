"""The two arms of a defense: faithful to its paper, or as its code was released, every known defect included.

A defect is a boolean parameter of its own, a switch, so that its effect can be measured alone. A switch left
at None follows the arm.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

P = TypeVar("P", bound="DataclassInstance")


def resolve(parameters: P, switches: tuple[str, ...], arm: str) -> P:
    """Return the parameters with every open switch set: off in the faithful arm, on as released.

    >>> from dataclasses import make_dataclass
    >>> Two = make_dataclass("Two", [("first", bool | None), ("second", bool | None)])
    >>> resolve(Two(None, False), ("first", "second"), "as_released")
    Two(first=True, second=False)
    """
    still_open = [name for name in switches if getattr(parameters, name) is None]
    return replace(parameters, **dict.fromkeys(still_open, arm == "as_released"))

"""Keys and ids of a study file that YAML reads as something other than text: each is refused where it stands."""

from __future__ import annotations

from typing import Any

from gradsiege.errors import StudyError
from gradsiege.ranges import shown


def refuse_other_than_text(raw: Any, place: str = "", above: tuple[int, ...] = ()) -> None:
    """Refuse a key that is not text, and an `id` that is not text or is empty, wherever they stand.

    >>> refuse_other_than_text({"defenses": [{"id": "mine"}]})

    Args:
        raw: plain data; place: where it stands in the file.
        above: identities of the lists and mappings around it, since one may hold itself, which the validation refuses.

    Raises:
        StudyError: names the place and the key or the id, and says to put it in quotes.
    """
    if id(raw) in above:
        return
    inner = (*above, id(raw))
    if isinstance(raw, list):
        for number, item in enumerate(raw):
            refuse_other_than_text(item, f"{place}.{_name(item, number)}".lstrip("."), inner)
    if not isinstance(raw, dict):
        return
    for key, value in raw.items():
        if not isinstance(key, str):
            raise StudyError(
                f"{place or 'study'}: the key {_as_read(key)} is not text; put it in quotes, if it is meant"
            )
        if key == "id" and not (isinstance(value, str) and value):
            raise StudyError(
                f"{place or 'study'}.id must be text, not {_as_read(value)}; put the word in quotes, or leave the id out"
            )
        refuse_other_than_text(value, f"{place}.{key}".lstrip("."), inner)


def _name(item: Any, number: int) -> str:
    names = [item.get("id"), item.get("name")] if isinstance(item, dict) else []
    return next((name for name in names if isinstance(name, str) and name), str(number))


def _as_read(value: Any) -> str:
    """Return a value with what YAML made of it, where it is a truth value."""
    words = {True: " (YAML reads on, yes and true so)", False: " (YAML reads off, no and false so)"}
    return f"{shown(value)}{words[value] if isinstance(value, bool) else ''}"

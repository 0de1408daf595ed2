"""The pool of augmentations that ATS chooses from: 50 entries of (operation, magnitude), as released.

A disclosure names entries by their number, so client and attacker share the pool.
"""

from __future__ import annotations

from gradsiege.errors import StudyError

MAGNITUDES = 10
LONGEST = 3

# The index of an entry is its number in a policy. The release also states a probability per entry but
# ignores it: an entry of a policy is always applied.
POOL: tuple[tuple[str, int], ...] = (
    ("invert", 7),
    ("contrast", 6),
    ("rotate", 2),
    ("translate_x", 9),
    ("sharpness", 1),
    ("sharpness", 3),
    ("shear_y", 2),
    ("translate_y", 2),
    ("autocontrast", 5),
    ("equalize", 2),
    ("shear_y", 5),
    ("posterize", 5),
    ("colour", 3),
    ("brightness", 5),
    ("sharpness", 9),
    ("brightness", 9),
    ("equalize", 5),
    ("equalize", 1),
    ("contrast", 7),
    ("sharpness", 5),
    ("colour", 5),
    ("translate_x", 5),
    ("equalize", 7),
    ("autocontrast", 8),
    ("translate_y", 3),
    ("sharpness", 6),
    ("brightness", 6),
    ("colour", 8),
    ("solarize", 0),
    ("invert", 0),
    ("equalize", 0),
    ("autocontrast", 0),
    ("equalize", 8),
    ("equalize", 4),
    ("colour", 5),
    ("equalize", 5),
    ("autocontrast", 4),
    ("solarize", 4),
    ("brightness", 3),
    ("colour", 0),
    ("solarize", 1),
    ("autocontrast", 0),
    ("translate_y", 3),
    ("translate_y", 3),
    ("autocontrast", 1),
    ("solarize", 1),
    ("equalize", 5),
    ("invert", 0),
    ("translate_y", 3),
    ("autocontrast", 1),
)


def parse_policy(text: str) -> tuple[int, ...]:
    """Return the entries of a policy in the authors' notation.

    >>> parse_policy("43-18-18")
    (43, 18, 18)
    """
    parts = text.split("-")
    known = all(part.isdecimal() and int(part) < len(POOL) for part in parts)
    if not known or len(parts) > LONGEST:
        raise StudyError(
            f"ats: {text!r} is not a policy; write up to {LONGEST} numbers from 0 to {len(POOL) - 1}, as in '3-1-7'"
        )
    return tuple(int(part) for part in parts)

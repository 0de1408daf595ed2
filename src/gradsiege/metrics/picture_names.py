"""Names of the pictures that `score` writes and figures show."""

from __future__ import annotations


def picture_name(attack: str, threat_model: str = "") -> str:
    """Return the name of the pictures of an attack under a threat model, or of a control.

    >>> picture_name("gifd", "labels_given"), picture_name("control_mean")
    ('labels_given/gifd', 'control_mean')
    """
    return f"{threat_model}/{attack}" if threat_model else attack


def source_of(name: str) -> tuple[str, str]:
    """Return (attack or control, threat model); the latter is empty for controls.

    It is empty for attacks, too, in scores of older versions of studies with one threat model.

    >>> source_of("labels_given/gifd"), source_of("control_mean")
    (('gifd', 'labels_given'), ('control_mean', ''))
    """
    threat_model, _, attack = name.rpartition("/")
    return attack, threat_model

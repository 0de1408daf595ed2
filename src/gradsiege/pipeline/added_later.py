"""Settings that came after the first results, left out of a cell's settings where they mean the earlier behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Keys of a study file, by section, with the value that means the earlier behaviour. A cell's settings omit a key with this
# value, so that its digest and its results stay.
KEYS: dict[str, dict[str, Any]] = {
    "protocol": {"rounds": 1},
    "threat_model": {"rounds": 1, "candidates": False},
    "attack": {"rounds": "first", "sweep": {}, "tuned": []},
}
# Likewise parameters of methods, by kind and name.
PARAMETERS: dict[tuple[str, str], dict[str, Any]] = {
    ("models", "convnet"): {"pooling": "flatten"},
    ("datasets", "image_folder"): {"proportional": []},
    ("datasets", "image_manifest"): {"proportional": []},
    ("attacks", "learned_inversion"): {"learner": "perceptron"},
}


def left_out(kind: str, name: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return a method's parameters without those that came later and mean the earlier behaviour.

    >>> left_out("models", "convnet", {"width": 8, "pooling": "flatten"})
    {'width': 8}
    """
    later = PARAMETERS.get((kind, name), {})
    return {
        key: value for key, value in parameters.items() if key not in later or value != later[key]
    }

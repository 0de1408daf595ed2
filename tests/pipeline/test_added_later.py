"""Keys that cells leave out of their digests are keys that exist: a forgotten one would never match again."""

from __future__ import annotations

from gradsiege import catalogue
from gradsiege.pipeline.added_later import PARAMETERS


def test_every_parameter_that_was_added_later_is_one() -> None:
    for (kind, name), added in PARAMETERS.items():
        assert set(added) <= set(catalogue.entries(kind)[name].parameters), name

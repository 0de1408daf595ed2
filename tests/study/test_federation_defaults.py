"""Keys that a study file leaves out follow those that it has, and messages say which values nobody wrote."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from gradsiege.study.sections import Federation


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({}, (10, 2)),
        ({"clients": 2, "rounds": 2}, (2, 1)),
        ({"clients": 9, "rounds": 3}, (9, 2)),
        ({"clients": 1}, (1, 2)),
        ({"clients": 40, "rounds": 40}, (10, 2)),
        ({"clients": 2, "rounds": 9, "clients_per_round": 1, "early_round": 5}, (1, 5)),
    ],
)
def test_what_is_left_out_follows_what_is_written(
    written: dict[str, Any], expected: tuple[int, int]
) -> None:
    federation = Federation.model_validate(written)
    assert (federation.clients_per_round, federation.early_round) == expected


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ({"clients_per_round": 11}, r"11 of 10 \(the default\)"),
        ({"early_round": 20}, r"20 is not below 20 \(the default\)"),
        ({"rounds": 1}, r"2 \(the default\) is not below 1"),
        ({"clients": 2, "clients_per_round": 3}, "3 of 2; lower it"),
    ],
)
def test_what_contradicts_itself_names_the_defaults(written: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Federation.model_validate(written)


@pytest.mark.parametrize("clients", [True, "2", None, 0, -1, 2.0])
def test_what_is_no_number_of_clients_is_still_refused(clients: object) -> None:
    with pytest.raises(ValidationError, match="clients"):
        Federation.model_validate({"clients": clients, "rounds": 2})

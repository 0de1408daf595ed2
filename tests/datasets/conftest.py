"""Small requests for every data set, prepared once for all tests."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import cache

import pytest

from gradsiege.datasets import prepare
from gradsiege.datasets.preparation.splits import Prepared

COUNTS = {
    "photos": {"train": 200, "test": 100, "aux": 150, "public": 100, "tune": 16, "victims": 32},
    "faces": {"train": 60, "test": 30, "aux": 24, "public": 20, "tune": 9, "victims": 16},
    "digits": {"train": 900, "test": 300, "aux": 300, "public": 150, "tune": 16, "victims": 32},
    "phantom": {"train": 80, "test": 40, "aux": 40, "public": 24, "tune": 16, "victims": 16},
}


@cache
def small(name: str, size: int = 32, seed: int = 0) -> Prepared:
    return prepare(name, size, COUNTS[name], seed)


@pytest.fixture
def build() -> Callable[..., Prepared]:
    """Prepare a data set at the small counts, or hand out what an earlier test prepared."""
    return small


@pytest.fixture
def counts() -> dict[str, dict[str, int]]:
    return COUNTS


@pytest.fixture(params=sorted(COUNTS))
def prepared(request: pytest.FixtureRequest) -> Prepared:
    return small(request.param)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every attempt to open a connection an error, in all tests of this folder."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a data set tried to open a network connection")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)

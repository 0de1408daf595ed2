"""Tracking URIs: early refusals, their form without passwords, and errors as one sentence."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from gradsiege.errors import ArtifactError, TrackingError

SECONDS_TO_ANSWER = 5
PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
WEB, FILE = ("http", "https"), "sqlite"
AGAIN = "No result was changed; run the same command again when it answers."
LIBRARIES = (
    "mlflow",
    "requests",
    "urllib3",
    "sqlalchemy",
    "sqlite3",
    "botocore",
    "google",
    "azure",
)


def scheme_of(uri: str) -> str:
    """Return the kind of a URI, without a driver.

    >>> scheme_of("postgresql+psycopg://host/db")
    'postgresql'
    """
    return urlsplit(uri).scheme.split("+")[0]


def database_file(uri: str) -> Path:
    """Return the file of an SQLite URI.

    >>> database_file("sqlite:///mlflow.db").as_posix(), database_file("sqlite:////srv/mlflow.db").as_posix()
    ('mlflow.db', '/srv/mlflow.db')
    """
    return Path(urlsplit(uri).path.removeprefix("/"))


def probe(uri: str) -> None:
    """Refuse at once an address that MLflow would try for minutes: a closed port, a wrong password, a missing folder."""
    if not uri.strip():
        raise TrackingError(
            "the address of the tracking server is empty; use sqlite:///mlflow.db or the address of a server"
        )
    try:
        parts, scheme = urlsplit(uri), scheme_of(uri)
    except ValueError as error:
        raise TrackingError(
            f"{uri.rpartition('@')[2]!r} is not the address of a tracking server: {error}"
        ) from error
    if scheme == FILE:
        try:
            _probe_file(uri, database_file(uri))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise TrackingError(
                f"{uri}: {database_file(uri)} cannot be written: {reason}"
            ) from error
        return
    if scheme in ("", "file"):
        raise TrackingError(
            f"{shown(uri)}: MLflow no longer writes to plain folders; use sqlite:///mlflow.db or a server."
        )
    if scheme not in PORTS:
        return
    with translated(uri):
        try:
            address = (parts.hostname or "localhost", parts.port or PORTS[scheme])
            socket.create_connection(address, timeout=SECONDS_TO_ANSWER).close()
        except ValueError as error:  # a port without digits, a name that no host can have
            raise OSError(str(error)) from error
        if scheme not in WEB:
            _probe_database(uri)


def _probe_file(uri: str, path: Path) -> None:
    """Refuse a path that SQLite cannot write to, or a file that is not a database."""
    if not path.parent.is_dir():
        raise TrackingError(f"{uri}: the folder {path.parent} does not exist.")
    exists = path.exists()
    if (exists and not path.is_file()) or not os.access(path if exists else path.parent, os.W_OK):
        raise TrackingError(f"{uri}: {path} cannot be written.")
    # SQLite writes its journal beside the database; a right to write proves nothing, as in /proc.
    tempfile.TemporaryFile(dir=path.parent).close()
    if exists and path.stat().st_size:
        with path.open("rb") as stream:
            if stream.read(16) != b"SQLite format 3\0":
                raise TrackingError(f"{uri}: {path} is not an SQLite database.")


def _probe_database(uri: str) -> None:
    """Log in once, since MLflow would repeat a refused login for half an hour."""
    try:
        from sqlalchemy import create_engine
    except ImportError:
        return  # MLflow installs it, and another check reports that MLflow is absent
    engine = create_engine(uri)
    try:
        engine.connect().close()
    finally:
        engine.dispose()


def shown(uri: str) -> str:
    """Return a URI without the user and password that it may hold.

    >>> shown("postgresql://me:secret@host:5432/db"), shown("postgresql://host/db?password=secret")
    ('postgresql://host:5432/db', 'postgresql://host/db')
    >>> shown("sqlite:///me@home/mlflow.db"), shown("me:secret@host")
    ('sqlite:///me@home/mlflow.db', 'host')
    """
    if scheme_of(uri) == FILE:
        return uri
    head, separator, rest = uri.rpartition("://")
    return head + separator + rest.partition("?")[0].rpartition("@")[2]


def _hidden(text: str, uri: str) -> str:
    """Return a text without the parts of a URI that `shown` leaves out."""
    if scheme_of(uri) == FILE:
        return text
    parts = urlsplit(uri)
    login = parts.netloc.rpartition("@")[0]
    for secret in (f"{login}@" if login else "", f"?{parts.query}" if parts.query else ""):
        text = text.replace(secret, "") if secret else text
    return text.replace(parts.password, "...") if parts.password else text


@contextmanager
def translated(
    uri: str,
    what: str = "the tracking server {} cannot be used",
    then: str = AGAIN,
) -> Iterator[None]:
    """Turn errors of MLflow, the network and the database into one sentence: the failure, its reason and the remedy."""
    try:
        yield
    except (TrackingError, ArtifactError):
        raise
    except Exception as error:
        known = type(error).__module__.split(".")[0] in LIBRARIES
        if not known and not isinstance(error, OSError | ImportError):
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        reason = _hidden(reason, uri)
        raise TrackingError(
            f"{what.format(shown(uri))}: {reason[:300].rstrip('. ')}. {then}"
        ) from error

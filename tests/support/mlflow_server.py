"""A real MLflow server on a real PostgreSQL, on loopback alone and stopped at the end; and what lies on any server."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradsiege.tracking.server import EXPERIMENT

START_SECONDS = 300


def runs(uri: str, study: str, experiment: str = EXPERIMENT) -> list[Any]:
    """Every run of a study on a server, its own among them."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    chosen = f"tags.`gradsiege.study` = '{study}'"
    page = client.search_runs([found.experiment_id], chosen, max_results=5000)
    return list(page)


def files_of(uri: str, run: Any, folder: Path) -> dict[str, bytes]:
    """The files attached to a run, fetched from the server."""
    from mlflow import MlflowClient

    folder.mkdir(exist_ok=True)
    client = MlflowClient(tracking_uri=uri)
    if not client.list_artifacts(run.info.run_id):
        return {}
    top = Path(client.download_artifacts(run.info.run_id, "", str(folder)))
    paths = (path for path in top.rglob("*") if path.is_file())
    return {path.relative_to(top).as_posix(): path.read_bytes() for path in paths}


def programs() -> Path | None:
    """The folder of PostgreSQL's own programs; Debian keeps them off PATH."""
    on_path = shutil.which("initdb")
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = Path(on_path).resolve() if on_path else (debian[-1] if debian else None)
    return found.parent if found else None


@dataclass(frozen=True)
class Service:
    """Where to reach the two, and where the files of runs end up."""

    uri: str
    database: str
    artifacts: Path


@contextmanager
def mlflow_on_postgresql() -> Iterator[Service]:
    """Start both, give their addresses, stop both."""
    # Not pytest's folder, which is closed to the unprivileged user that PostgreSQL insists on.
    folder = Path(tempfile.mkdtemp(prefix="gradsiege-services-"))
    folder.chmod(0o755)
    try:
        with _postgresql(folder) as database, mlflow(folder, database) as uri:
            yield Service(uri, database, folder / "artifacts")
    finally:
        shutil.rmtree(folder)


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def _postgresql(folder: Path) -> Iterator[str]:
    """Run a database server in ``folder/postgresql``; as root, it runs as nobody."""
    found = programs()
    assert found is not None
    own, secret = folder / "postgresql", secrets.token_hex(16)
    own.mkdir()
    password = own / "password"
    password.write_text(secret)
    drop: dict[str, Any] = {}
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        drop = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        for path in (own, password):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
    data, port = own / "data", free_port()
    init = [found / "initdb", "--pgdata", data, "--username", "gradsiege", "--pwfile", password]
    init += ["--auth", "scram-sha-256", "--encoding", "UTF8", "--no-locale"]
    subprocess.run(init, check=True, capture_output=True, cwd=own, **drop)
    serve = [found / "postgres", "-D", data, "-k", own, "-h", "127.0.0.1", "-p", str(port)]
    with _running(serve, own / "log", cwd=own, **drop) as process:
        _wait(process, own / "log", lambda: _listens(port))
        yield f"postgresql://gradsiege:{secret}@127.0.0.1:{port}/postgres"


@contextmanager
def mlflow(folder: Path, database: str, port: int = 0) -> Iterator[str]:
    """Run a tracking server that keeps runs in the database and files in ``folder/artifacts``; port 0 is a free one."""
    port = port or free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1"]
    command += ["--port", str(port), "--artifacts-destination", folder / "artifacts"]
    # The password stays out of the list of processes.
    environment = os.environ | {
        "MLFLOW_BACKEND_STORE_URI": database,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        # What it would start besides serves no run, and takes as long to start as all else.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PYTHONWARNINGS": "ignore",
    }
    uri, log = f"http://127.0.0.1:{port}", folder / "mlflow.log"
    with _running(command, log, cwd=folder, env=environment) as process:
        _wait(process, log, lambda: _answers(f"{uri}/health"))
        yield uri


@contextmanager
def _running(
    command: list[Any], log: Path, cwd: Path, **how: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in a process group of its own, and end the whole group."""
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, stdout=stream, stderr=stream, cwd=cwd, start_new_session=True, **how
        )
    try:
        yield process
    finally:
        # PostgreSQL takes SIGINT for "end now, in good order"; both leave within a second or two.
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait(process: subprocess.Popen[bytes], log: Path, ready: Any) -> None:
    end = time.monotonic() + START_SECONDS
    while not ready():
        assert process.poll() is None, f"it ended at once:\n{log.read_text()[-3000:]}"
        assert time.monotonic() < end, f"it does not answer:\n{log.read_text()[-3000:]}"
        time.sleep(0.2)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False

"""Bundles travel over S3 and ssh as they do over a folder. Both servers are real, and listen on the loopback interface alone."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.pipeline

STUDY = ("--study", "config/tiny.yaml")
SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")


@pytest.fixture
def workspace(shareable, tmp_path):
    """A copy that the test may configure."""
    return shareable.copy(tmp_path / "gradsiege")


def there_and_back(workspace) -> None:
    """Share one bundle, lose it, and restore it."""
    before = workspace.checksums("fetch")
    assert "images of the study tiny: 8 files, verified, are at store" in workspace.run(
        "gradsiege", "share", "images", *STUDY
    )
    shutil.rmtree(workspace.folder / "results/tiny/fetch")
    shutil.rmtree(workspace.folder / ".dvc/cache")
    workspace.run("gradsiege", "restore", "images", *STUDY)
    assert workspace.checksums("fetch") == before
    assert workspace.planned() == {}


@contextmanager
def s3() -> Iterator[str]:
    """A server of S3 with one bucket; yields its address."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    client = boto3.client("s3", endpoint_url=address, region_name="us-east-1", **keys)
    client.create_bucket(Bucket="bundles")
    try:
        yield address
    finally:
        server.stop()


def test_over_s3(workspace):
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    workspace.environment |= {**keys, "AWS_MAX_ATTEMPTS": "1", "AWS_DEFAULT_REGION": "us-east-1"}
    remote = ("dvc", "remote")
    workspace.run(*remote, "add", "--local", "--default", "store", "s3://bundles/gradsiege")
    with s3() as address:
        workspace.run(*remote, "modify", "--local", "store", "endpointurl", address)
        there_and_back(workspace)
    # The server is gone: the remote is named, and what lies here stays.
    shutil.rmtree(workspace.folder / ".dvc/cache")
    said = workspace.run("gradsiege", "restore", "images", *STUDY, check=False)
    assert (
        "the remote store (s3://bundles/gradsiege) failed. Look whether it can be reached" in said
    )
    assert workspace.planned() == {}


@contextmanager
def ssh(folder: Path) -> Iterator[tuple[int, Path]]:
    """An OpenSSH server with keys of its own; yields its port and the key that it admits."""
    assert SSHD
    folder.mkdir()
    for name in ("host", "user"):
        key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(key, check=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {folder}/user.pub\nPasswordAuthentication no\nSubsystem sftp internal-sftp\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    command = [SSHD, "-D", "-e", "-f", str(folder / "config")]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, stderr=log, stdin=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert server.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
        yield port, folder / "user"
    finally:
        server.terminate()
        server.wait()


@pytest.mark.skipif(SSHD is None, reason="needs an OpenSSH server: apt-get install openssh-server")
def test_over_ssh(workspace, tmp_path):
    (tmp_path / "store").mkdir()
    with ssh(tmp_path / "ssh") as (port, key):
        url = f"ssh://127.0.0.1:{port}{tmp_path}/store"
        workspace.run("dvc", "remote", "add", "--local", "--default", "store", url)
        modify = ("dvc", "remote", "modify", "--local", "store")
        workspace.run(*modify, "keyfile", str(key))
        there_and_back(workspace)

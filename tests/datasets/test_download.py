"""`gradsiege download` against a server on loopback: resumed, verified, and never half there."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from published import publish

from gradsiege import pretrained
from gradsiege.cli import main
from gradsiege.datasets import kind, obtained, prepare
from gradsiege.datasets.sources import download, supply
from gradsiege.errors import ArtifactError, MissingError, StudyError
from gradsiege.study import downloads, parse

CONTENT = bytes(range(256)) * 40


@dataclass
class Web:
    """A server: its files, how it behaves, and what was asked of it."""

    files: dict[str, bytes] = field(default_factory=dict)
    break_off_after: list[int] = field(default_factory=list)
    ranges: bool = True
    status: int = 200
    asked: list[str] = field(default_factory=list)
    address: str = ""


@pytest.fixture
def no_network() -> None:
    """In this file connections are allowed: they go to loopback."""


@pytest.fixture
def web(no_network: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    served = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            served.asked.append(self.headers.get("Range", "all"))
            content = served.files.get(self.path.partition("?")[0].lstrip("/"))
            if served.status != 200 or content is None:
                return self.send_error(served.status if content is not None else 404)
            first = int(wanted.group(1)) if wanted and served.ranges else 0
            if first >= len(content):
                return self.send_error(416)
            self.send_response(206 if first else 200)
            if first:
                self.send_header(
                    "Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}"
                )
            self.send_header("Content-Length", str(len(content) - first))
            self.end_headers()
            end = first + served.break_off_after.pop(0) if served.break_off_after else len(content)
            self.wfile.write(content[first:end])
            return None

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    served.address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


def offered(
    web: Web, name: str = "set.bin", content: bytes = CONTENT, size: bool = True
) -> supply.File:
    """A file that the server has, as its publisher describes it."""
    web.files[name] = content
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return supply.File(name, digest, len(content) if size else None, f"{web.address}/{name}")


def quiet(line: str) -> None:
    pass


@pytest.mark.parametrize("size", [True, False])
def test_a_broken_transfer_goes_on_where_it_stopped(web: Web, tmp_path: Path, size: bool) -> None:
    file = offered(web, size=size)
    web.break_off_after = [3000, 500]
    told: list[str] = []
    path = download.get(file, tmp_path, told.append)
    assert path.read_bytes() == CONTENT
    assert web.asked == ["all", "bytes=3000-", "bytes=3500-"]
    assert [left.name for left in tmp_path.iterdir()] == ["set.bin"]
    assert any("going on from byte 3500" in line for line in told)
    # A second time nothing is asked.
    download.get(file, tmp_path, quiet)
    assert len(web.asked) == 3


def test_what_a_killed_run_left_is_taken_up(web: Web, tmp_path: Path) -> None:
    file = offered(web)
    web.break_off_after = [1000] + [0] * (download.TRIES - 1)
    with pytest.raises(ArtifactError, match="1000 bytes have arrived and are kept"):
        download.get(file, tmp_path, quiet)
    assert not (tmp_path / "set.bin").exists()
    assert download.get(file, tmp_path, quiet).read_bytes() == CONTENT
    assert web.asked[-1] == "bytes=1000-"


def test_a_complete_part_needs_no_transfer(web: Web, tmp_path: Path) -> None:
    (tmp_path / "set.bin.part").write_bytes(CONTENT)
    assert download.get(offered(web), tmp_path, quiet).read_bytes() == CONTENT
    assert web.asked == []
    (tmp_path / "set.bin").rename(tmp_path / "set.bin.part")
    assert download.get(offered(web, size=False), tmp_path, quiet).read_bytes() == CONTENT
    assert web.asked == [f"bytes={len(CONTENT)}-"]


def test_a_server_without_ranges_sends_it_all_again(web: Web, tmp_path: Path) -> None:
    web.ranges, web.break_off_after = False, [3000]
    assert download.get(offered(web), tmp_path, quiet).read_bytes() == CONTENT


def test_another_file_is_refused_by_name_and_not_kept(web: Web, tmp_path: Path) -> None:
    file = offered(web)
    web.files["set.bin"] = bytes(len(CONTENT))
    with pytest.raises(
        ArtifactError, match=r"/set\.bin sent another file .* expected " + file.digest[7:]
    ):
        download.get(file, tmp_path, quiet)
    assert list(tmp_path.iterdir()) == []
    web.files["set.bin"] = CONTENT + b"more"
    with pytest.raises(ArtifactError, match=f"sends more than {len(CONTENT)} bytes"):
        download.get(file, tmp_path, quiet)
    assert not (tmp_path / "set.bin").exists()


def test_a_file_that_was_changed_here_is_not_taken_for_the_published_one(
    web: Web, tmp_path: Path
) -> None:
    (tmp_path / "set.bin").write_bytes(b"edited")
    with pytest.raises(ArtifactError, match="Delete it and get it again"):
        download.get(offered(web), tmp_path, quiet)


def test_refusals_are_not_repeated_and_failures_are(web: Web, tmp_path: Path) -> None:
    file = offered(web)
    web.status = 403
    with pytest.raises(ArtifactError, match="403"):
        download.get(file, tmp_path, quiet)
    assert len(web.asked) == 1
    web.status = 503
    with pytest.raises(ArtifactError, match="503"):
        download.get(file, tmp_path, quiet)
    assert len(web.asked) == 1 + download.TRIES


def test_the_verb_gets_a_data_set_that_can_then_be_prepared(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    publish("mnist", tmp_path / "server", monkeypatch)
    folder = tmp_path / "server/mnist"
    published = supply.files_of("mnist", {})
    served = [offered(web, file.path, (folder / file.path).read_bytes()) for file in published]
    monkeypatch.setattr(kind("mnist"), "files", lambda self: tuple(served))
    web.break_off_after = [700]
    with pytest.raises(SystemExit) as leaving:
        main(["download", "mnist", "--to", str(tmp_path / "here")])
    assert not leaving.value.code
    assert len(capsys.readouterr().out.splitlines()) == 4
    monkeypatch.setenv(supply.ROOT_VARIABLE, str(tmp_path / "here"))
    assert prepare("mnist", 28, {"victims": 10}, 0).splits["victims"].labels.tolist() == [
        *range(10)
    ]


def test_what_can_be_chosen(tiny_raw: dict[str, object]) -> None:
    assert downloads.chosen(["cifar10"], None) == [("cifar10", {})]
    counts = tiny_raw["datasets"][0]["counts"]
    blood = {
        "name": "medmnist_blood",
        "parameters": {"resolution": 64},
        "size": 64,
        "counts": counts,
    }
    tiny_raw["datasets"].append(blood)
    ((name, parameters),) = downloads.chosen([], parse(tiny_raw))
    assert supply.files_of(name, parameters)[0].path == "bloodmnist_64.npz"
    with pytest.raises(StudyError, match="'imagenet' is not a public data set"):
        downloads.chosen(["imagenet"], None)
    with pytest.raises(StudyError, match="nothing to download"):
        downloads.chosen([], None)
    with pytest.raises(MissingError, match=r"cannot be downloaded by this program\. Register at"):
        download.download("imagenet", {}, Path())


@pytest.mark.parametrize("to", ["data", ""])
def test_the_weights_of_lpips_are_resumed_and_verified(
    to: str, tmp_path: Path, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = hashlib.sha256(CONTENT).hexdigest()

    class Served(pretrained.Published):
        @property
        def url(self) -> str:
            return f"{web.address}/{self.file}"

    monkeypatch.setattr(pretrained, "TRUNKS", trunks := {"alex": Served("alexnet.pth", digest)})
    monkeypatch.setattr(download, "TRUNKS", trunks)
    folder = tmp_path / "data/weights" if to else tmp_path / "mine"
    monkeypatch.setenv(pretrained.VARIABLE, str(folder if not to else tmp_path / "other"))
    web.files["alexnet.pth"] = CONTENT
    web.break_off_after = [3000]
    options = ["--to", str(tmp_path / to)] if to else []
    with pytest.raises(SystemExit) as left:
        main(["download", "lpips", *options])
    assert left.value.code == 0
    assert (folder / "alexnet.pth").read_bytes() == CONTENT
    assert web.asked == ["all", "bytes=3000-"]
    (folder / "alexnet.pth").write_bytes(CONTENT[1:])
    with pytest.raises(SystemExit) as left:
        main(["download", "lpips", *options])
    assert left.value.code == ArtifactError.exit_code


def test_every_public_file_has_an_address_and_a_checksum() -> None:
    for name in obtained("downloaded"):
        for file in supply.files_of(name, {}):
            assert re.fullmatch(r"(md5:[0-9a-f]{32}|sha256:[0-9a-f]{64})", file.digest)
            assert file.url.startswith(("https://", "http://"))

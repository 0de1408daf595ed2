"""Small files in the true format of every data set that is downloaded or supplied, and the checksums to expect of them."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gradsiege.datasets import build, kind
from gradsiege.datasets.preparation.listing import Listing
from gradsiege.datasets.sources import supply

PER_CLASS = 12
SMALL = {"train": 12, "test": 7, "aux": 6, "public": 5, "tune": 3, "victims": 4}


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).integers(0, 256, size=shape, dtype=np.uint8)


def picture(path: Path, seed: int, size: tuple[int, int] = (40, 30), grey: bool = False) -> None:
    """Write an image file of noise; JPEG and PNG by its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = size if grey else (*size, 3)
    Image.fromarray(noise(*shape, seed=seed)).save(path)


def balanced(classes: int, each: int = PER_CLASS) -> np.ndarray:
    return np.arange(classes * each) % classes


def tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def cifar10(folder: Path) -> None:
    names = [f"data_batch_{number}.bin" for number in range(1, 6)] + ["test_batch.bin"]
    members = {}
    for number, name in enumerate(names):
        labels = balanced(10, 4).astype(np.uint8)[:, None]
        pixels = noise(len(labels), 3072, seed=number)
        members[f"cifar-10-batches-bin/{name}"] = np.hstack([labels, pixels]).tobytes()
    words = "airplane automobile bird cat deer dog frog horse ship truck"
    members["cifar-10-batches-bin/batches.meta.txt"] = words.replace(" ", "\n").encode() + b"\n\n"
    tar(folder / "cifar-10-binary.tar.gz", members)


def cifar100(folder: Path) -> None:
    members = {"cifar-100-binary/fine_label_names.txt": b"\n".join(b"c%d" % n for n in range(100))}
    for seed, name in enumerate(("train", "test")):
        fine = balanced(100, 3).astype(np.uint8)[:, None]
        pixels = noise(len(fine), 3072, seed=seed)
        records = np.hstack([fine // 5, fine, pixels])
        members[f"cifar-100-binary/{name}.bin"] = records.tobytes()
    tar(folder / "cifar-100-binary.tar.gz", members)


def mnist(folder: Path) -> None:
    for seed, part in enumerate(("train", "t10k")):
        labels = balanced(10).astype(np.uint8)
        images = noise(len(labels), 28, 28, seed=seed)
        header = struct.pack(">HBBIII", 0, 8, 3, *images.shape)
        write = {"images-idx3": header + images.tobytes()}
        write["labels-idx1"] = struct.pack(">HBBI", 0, 8, 1, len(labels)) + labels.tobytes()
        for name, content in write.items():
            (folder / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(content, 1))


def svhn(folder: Path) -> None:
    from scipy.io import savemat

    for seed, part in enumerate(("train", "test")):
        labels = (balanced(10) + 1).astype(np.uint8)[:, None]
        arrays = {"X": noise(32, 32, 3, len(labels), seed=seed), "y": labels}
        savemat(folder / f"{part}_32x32.mat", arrays, do_compression=True)


def tiny_imagenet(folder: Path) -> None:
    top = "tiny-imagenet-200"
    synsets = ["n00000003", "n00000001", "n00000002"]

    def jpeg(seed: int) -> bytes:
        stream = io.BytesIO()
        Image.fromarray(noise(64, 64, 3, seed=seed)).save(stream, "JPEG")
        return stream.getvalue()

    with zipfile.ZipFile(folder / f"{top}.zip", "w") as archive:
        archive.writestr(f"{top}/wnids.txt", "\n".join(synsets))
        told = []
        for place, synset in enumerate(synsets):
            for number in range(PER_CLASS):
                seed = 100 * place + number
                archive.writestr(f"{top}/train/{synset}/images/{synset}_{number}.JPEG", jpeg(seed))
                told.append(f"val_{seed}.JPEG\t{synset}\t0\t0\t62\t62")
                archive.writestr(f"{top}/val/images/val_{seed}.JPEG", jpeg(1000 + seed))
        archive.writestr(f"{top}/val/val_annotations.txt", "\n".join(told) + "\n")


def medmnist(flag: str, classes: int, channels: int) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        arrays: dict[str, np.ndarray] = {}
        for seed, part in enumerate(("train", "val", "test")):
            labels = balanced(classes)[:, None]
            if flag == "chestmnist":  # findings, of which one image has two
                labels = np.eye(15, dtype=np.uint8)[labels[:, 0]][:, 1:]
                labels[1, :2] = 1
            shape = (len(labels), 28, 28) if channels == 1 else (len(labels), 28, 28, 3)
            arrays |= {f"{part}_images": noise(*shape, seed=seed), f"{part}_labels": labels}
        np.savez_compressed(folder / f"{flag}.npz", **arrays)

    return write


def imagenet(folder: Path) -> None:
    for place in range(4):
        for number in range(PER_CLASS):
            seed = 100 * place + number
            picture(folder / f"train/n0000000{place}/n0000000{place}_{number}.JPEG", seed)
            picture(folder / f"val/n0000000{place}/ILSVRC2012_val_{seed:08}.JPEG", 1000 + seed)


def ffhq_age(folder: Path) -> None:
    for number in range(10 * PER_CLASS):
        thousand = f"{number // 50 * 50:05}"
        picture(folder / f"thumbnails128x128/{thousand}/{number:05}.png", number, (128, 128))
        faces = [{"faceAttributes": {"age": 10.0 * (number % 10) + 3}}]
        ages = folder / f"json/{number:05}.json"
        ages.parent.mkdir(exist_ok=True)
        ages.write_text(json.dumps([] if number == 7 else faces))


def pacs(folder: Path) -> None:
    for domain in ("photo", "cartoon"):
        for place, name in enumerate(
            ("dog", "elephant", "giraffe", "guitar", "horse", "house", "person")
        ):
            for number in range(PER_CLASS):
                seed = 100 * place + number + len(domain) * 1000
                picture(folder / f"{domain}/{name}/pic_{number:03}.jpg", seed)


def celeba(folder: Path) -> None:
    attributes, persons, parts = [], [], []
    for number in range(1, 103):
        name = f"{number:06}.jpg"
        picture(folder / "img_align_celeba" / name, number, (218, 178))
        attributes.append(f"{name} -1 {1 if number % 2 else -1}")
        persons.append(f"{name} {(number + 1) // 3}")
        parts.append(f"{name} {2 if number > 78 else number > 66:d}")
    (folder / "list_attr_celeba.txt").write_text("\n".join(["102", "Bald Smiling", *attributes]))
    (folder / "identity_CelebA.txt").write_text("\n".join(persons) + "\n")
    (folder / "list_eval_partition.txt").write_text("\n".join(parts) + "\n")


def covid_radiography(folder: Path) -> None:
    for place, name in enumerate(("Normal", "COVID")):
        for number in range(3 * PER_CLASS):
            seed = 100 * place + number
            picture(folder / f"{name}/images/{name}-{number}.png", seed, (99, 99), grey=True)
            picture(folder / f"{name}/masks/{name}-{number}.png", seed, (25, 25), grey=True)


def table(path: Path, *rows: tuple[Any, ...]) -> None:
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)


def airogs(folder: Path) -> None:
    rows: list[tuple[str, str]] = [("challenge_id", "class")]
    for number in range(4 * PER_CLASS):
        name = f"TRAIN{number:06}"
        picture(folder / f"images/{number // 20}/{name}.jpg", number)
        rows.append((name, ("NRG", "RG")[number % 2]))
    table(folder / "train_labels.csv", *rows)


def eyepacs(folder: Path) -> None:
    rows: list[tuple[str, Any]] = [("image", "level")]
    for number in range(50):
        for side in ("left", "right"):
            picture(folder / f"train/{number}_{side}.jpeg", 2 * number + (side == "left"))
            rows.append((f"{number}_{side}", number % 5))
    table(folder / "trainLabels.csv", *rows)


def chestxray14(folder: Path) -> None:
    findings = ["No Finding", "Mass", "Edema", "Mass|Edema"]
    rows: list[tuple[Any, ...]] = [("Image Index", "Finding Labels", "Follow-up #", "Patient ID")]
    tested = []
    for number in range(120):
        name, patient = f"{number // 4:08}_{number % 4:03}.png", number // 4
        picture(folder / f"images/images_{number // 60:03}/{name}", number, (64, 64), grey=True)
        rows.append((name, findings[(number + patient) % 4], number % 4, patient))
        tested += [name] if patient >= 20 else []
    table(folder / "Data_Entry_2017_v2020.csv", *rows)
    (folder / "test_list.txt").write_text("\n".join(tested))


def image_folder(root: Path) -> None:
    for place, name in enumerate(("ant", "bee")):
        for number in range(3 * PER_CLASS):
            picture(root / f"mine/{name}/{number}.png", 100 * place + number)


def image_manifest(root: Path) -> None:
    rows: list[tuple[Any, ...]] = [("path", "label", "group")]
    for number in range(72):
        picture(root / f"study/pictures/{number}.png", number)
        rows.append((f"pictures/{number}.png", ("sick", "well")[number % 2], number // 3))
    table(root / "study/list.csv", *rows)


WRITERS: dict[str, Callable[[Path], None]] = {
    "cifar10": cifar10,
    "cifar100": cifar100,
    "mnist": mnist,
    "fashion_mnist": mnist,
    "svhn": svhn,
    "tiny_imagenet": tiny_imagenet,
    "medmnist_chest": medmnist("chestmnist", 15, 1),
    "medmnist_pneumonia": medmnist("pneumoniamnist", 2, 1),
    "medmnist_retina": medmnist("retinamnist", 5, 3),
    "medmnist_blood": medmnist("bloodmnist", 8, 3),
    "imagenet": imagenet,
    "ffhq_age": ffhq_age,
    "pacs": pacs,
    "celeba": celeba,
    "covid_radiography": covid_radiography,
    "airogs": airogs,
    "eyepacs": eyepacs,
    "chestxray14": chestxray14,
    "image_folder": image_folder,
    "image_manifest": image_manifest,
}
PARAMETERS: dict[str, dict[str, Any]] = {
    "imagenet": {"classes": 4},
    "image_folder": {"path": "mine"},
    "image_manifest": {"file": "study/list.csv"},
}


def publish(name: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Write the small files of a data set under `root`, expect their checksums, and return its parameters."""
    monkeypatch.setenv(supply.ROOT_VARIABLE, str(root))
    # These tests do not depend on the packages of the operating system.
    monkeypatch.setattr(kind(name), "packaged", None)
    folder = supply.folder_of(name)
    folder.mkdir(parents=True, exist_ok=True)
    WRITERS[name](folder)
    expect_what_is_there(name, monkeypatch)
    return PARAMETERS.get(name, {})


def expect_what_is_there(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the published checksums and sizes of a data set by those of the files that lie there now."""
    folder, files = supply.folder_of(name), build(name, PARAMETERS.get(name, {})).files()
    found = tuple(sealed(file, folder) if file.digest else file for file in files)
    monkeypatch.setattr(kind(name), "files", lambda self: found)


def sealed(file: supply.File, folder: Path) -> supply.File:
    """The same file with the checksum and size that it has here."""
    content = (folder / file.path).read_bytes()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return replace(file, digest=digest, size=len(content))


def listed(name: str, parameters: dict[str, Any]) -> Listing:
    folder, _ = supply.place_of(name, parameters)
    return build(name, parameters).listing(folder)

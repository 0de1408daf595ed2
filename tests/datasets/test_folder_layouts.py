"""Folders of images: usual layouts are recognised, others refused by a sentence, and nothing is left out in silence."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from published import SMALL, listed, picture, publish

from gradsiege.datasets import prepare
from gradsiege.datasets.preparation.listing import Listing
from gradsiege.datasets.sources import supply
from gradsiege.errors import StudyError


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(supply.ROOT_VARIABLE, str(tmp_path))
    return tmp_path


def lay(root: Path, *folders: str, each: int = 2) -> None:
    for place, folder in enumerate(folders):
        for number in range(each):
            picture(root / "mine" / folder / f"{number}.png", 100 * place + number, (16, 16))


def found(root: Path) -> Listing:
    return listed("image_folder", {"path": "mine"})


def refused(words: str) -> None:
    with pytest.raises(ValueError, match=words):
        listed("image_folder", {"path": "mine"})


@pytest.mark.parametrize(
    ("parts", "tested"),
    [
        (("train", "test"), "test"),
        (("train", "val"), "val"),
        (("Train", "Val"), "Val"),
        (("train", "valid"), "valid"),
        (("training", "validation"), "validation"),
        (("train", "val", "test"), "test"),
        (("training", "validation", "testing"), "testing"),
        (("train",), ""),
    ],
)
def test_parts_are_parts_and_not_classes(root: Path, parts: tuple[str, ...], tested: str) -> None:
    lay(root, *(f"{part}/{name}" for part in parts for name in ("ant", "bee")))
    listing = found(root)
    assert listing.classes == ("ant", "bee")
    held = {
        path
        for path, of_test in zip(
            listing.paths,
            np.broadcast_to(
                False if listing.tested is None else listing.tested, len(listing.paths)
            ),
            strict=True,
        )
        if of_test
    }
    assert held == {
        f"mine/{tested}/{name}/{n}.png" for name in ("ant", "bee") for n in (0, 1) if tested
    }
    assert len(listing.paths) == 4 * len(parts)
    (told,) = [note for note in listing.notes if note.startswith("Parts:")]
    assert (f"{tested} the test part" if tested else "there is no test part") in told
    assert ("val" not in parts) or tested == "val" or "train and val are the training part" in told


def test_flat_classes_may_be_called_like_a_part(root: Path) -> None:
    lay(root, "bus", "train")
    assert found(root).classes == ("bus", "train")
    assert found(root).tested is None


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        (
            ("train/ant", "bee"),
            "mine has train beside bee: either all .* classes, or all are parts",
        ),
        (("val/ant", "test/ant"), "mine has test and val, but no training part"),
        (("train/ant", "Train/bee"), "two names of one part|differ only in case"),
        (("train/ant", "val/ant", "validation/ant"), "two names of one part"),
        (("train", "val"), "train and val hold pictures, but no class folders"),
        (
            ("ant/train", "ant/val", "bee/train"),
            r"mine/ant has the folder train: parts belong above",
        ),
        (("all/train/ant", "all/test/ant"), r"mine holds the folder all alone.*path: mine/all\)"),
        (("train/ant", "val/bee"), r"class 'bee': mine/train/bee holds no picture"),
        (("ant", "Ant "), "'Ant ' and 'ant' differ only in case or spaces"),
    ],
)
def test_other_layouts_are_refused(root: Path, folders: tuple[str, ...], words: str) -> None:
    lay(root, *folders)
    refused(words)


def test_a_part_without_class_folders_and_a_folder_without_folders_are_refused(root: Path) -> None:
    lay(root, "train/ant", "train/bee")
    (root / "mine/val").mkdir()
    refused("mine/val is a part without class folders")
    (root / "other").mkdir()
    picture(root / "other/0.png", 0)
    with pytest.raises(ValueError, match="other holds no folders"):
        listed("image_folder", {"path": "other"})


def test_nothing_is_left_out_in_silence(root: Path) -> None:
    lay(root, "train/ant", "train/bee", "val/ant", "val/bee")
    for path in (
        *(".DS_Store", "train/.ipynb_checkpoints/0.png", "__MACOSX/train/ant/0.png"),
        *("train/ant/Thumbs.db", "train/ant/._0.png", "annotations/a.json", "labels.csv"),
        *("train/ant/scan.dcm", "val/bee/x.heic"),
    ):
        (root / "mine" / path).parent.mkdir(parents=True, exist_ok=True)
        (root / "mine" / path).write_bytes(b"x")
    picture(root / "mine/train/ant/deep/5.png", 5)
    listing = found(root)
    assert listing.classes == ("ant", "bee")
    assert len(listing.paths) == 9
    assert set(listing.notes) == {
        "Parts: train is the training part, val the test part.",
        "hidden and system files and folders are left out: 5, such as mine/.DS_Store",
        "files beside folders are left out: 1, such as mine/labels.csv",
        "folders beside the parts that hold no picture are left out: 1, such as mine/annotations",
        "files of other kinds are left out: 2, such as mine/train/ant/scan.dcm",
        "pictures in folders below their class's are read: 1, such as mine/train/ant/deep/5.png",
    }


def test_what_is_left_out_beside_class_folders_is_counted_once(root: Path) -> None:
    lay(root, "ant", "bee")
    for path in (".hidden/0.png", "__MACOSX/0.png", "labels.csv"):
        (root / "mine" / path).parent.mkdir(parents=True, exist_ok=True)
        (root / "mine" / path).write_bytes(b"x")
    (root / "cat").mkdir()
    picture(root / "cat/0.png", 7)
    (root / "mine/cat").symlink_to(root / "cat")
    assert set(found(root).notes) == {
        "hidden and system files and folders are left out: 2, such as mine/.hidden",
        "files beside folders are left out: 1, such as mine/labels.csv",
        "links are followed: 1, such as mine/cat",
    }


def test_what_is_left_out_stands_in_the_card_and_on_the_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parameters = publish("image_folder", tmp_path, monkeypatch)
    (tmp_path / "mine/ant/notes.txt").write_text("x")
    prepared = prepare("image_folder", 32, SMALL, 0, parameters)
    remark = "files of other kinds are left out: 1, such as mine/ant/notes.txt"
    assert remark in prepared.card["limits"]
    assert remark in capsys.readouterr().err


def test_a_class_without_a_readable_picture_is_refused_with_what_it_holds(root: Path) -> None:
    lay(root, "ant", "bee")
    (root / "mine/cat").mkdir()
    refused("class 'cat': mine/cat holds no picture")
    (root / "mine/cat/a.heic").write_bytes(b"x")
    refused(r"files of other kinds are left out: 1, such as mine/cat/a\.heic")


def test_links_are_followed_and_counted_or_refused(root: Path) -> None:
    lay(root, "ant", "bee")
    picture(root / "far/away/7.png", 7)
    (root / "mine/ant/linked.png").symlink_to(root / "mine/ant/0.png")
    (root / "mine/cat").symlink_to(root / "far/away")
    outside = root.parent / f"{root.name}-outside"
    picture(outside / "8.png", 8)
    (root / "mine/bee/8.png").symlink_to(outside / "8.png")
    listing = found(root)
    assert listing.classes == ("ant", "bee", "cat")
    assert "mine/cat/7.png" in listing.paths
    assert (
        "links that lead out of the folder are followed: 1, such as mine/bee/8.png" in listing.notes
    )
    assert "links are followed: 2, such as mine/cat" in listing.notes
    (root / "mine/bee/back").symlink_to(root / "mine")
    refused("mine/bee/back is a link that leads back to a folder above it")
    (root / "mine/bee/back").unlink()
    (root / "mine/bee/gone.png").symlink_to(root / "nowhere.png")
    refused(r"mine/bee/gone\.png is a link that leads nowhere")


def test_one_class_and_classes_of_one_picture(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lay(root, "pictures/ant", "pictures/bee", each=8)
    with pytest.raises(
        ValueError, match=r"all pictures are of one class, 'pictures'; .* one level deeper"
    ):
        prepare("image_folder", 16, {"train": 2, "victims": 2}, 0, {"path": "mine"})
    picture(root / "mine/pictures/cat/0.png", 77)
    prepare("image_folder", 16, {"train": 4, "victims": 3}, 0, {"path": "mine/pictures"})
    said = capsys.readouterr().err
    assert "classes without a picture in train: 1, such as cat (1 in all); ask for fewer" in said


def test_a_class_that_other_roles_use_up_is_named(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten bees are enough for all roles, but victims and tests come first."""
    lay(root, "ant", each=60)
    lay(root, "bee", each=10)
    counts = {"train": 12, "test": 6, "aux": 6, "public": 4, "tune": 2, "victims": 4}
    prepared = prepare("image_folder", 16, counts, 0, {"path": "mine"})
    assert set(prepared.splits["train"].labels.tolist()) == {0}
    said = "classes without a picture in train: 1, such as bee (10 in all)"
    assert said in capsys.readouterr().err
    assert said in prepared.card["limits"]


@pytest.mark.parametrize(
    "name",
    ["imagenet", "pacs", "covid_radiography", "airogs", "eyepacs", "chestxray14", "ffhq_age"],
)
def test_every_data_set_in_folders_names_what_it_leaves_out(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = publish(name, tmp_path, monkeypatch)
    before = listed(name, parameters)
    folder = tmp_path / name / Path(before.paths[0]).parent
    for entry in (".DS_Store", "._x.png", "readme.txt"):
        (folder / entry).write_bytes(b"x")
    (folder / ".ipynb_checkpoints").mkdir()
    picture(folder / ".ipynb_checkpoints/x.png", 1)
    after = listed(name, parameters)
    assert after.paths == before.paths
    assert any(note.startswith("files of other kinds are left out: 1") for note in after.notes)
    assert any(
        note.startswith("hidden and system files and folders are left out: 3")
        for note in after.notes
    )


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("imagenet", "train/n00000002"),
        ("pacs", "photo/house"),
        ("covid_radiography", "COVID/images"),
    ],
)
def test_an_empty_class_of_a_published_set_is_refused(
    name: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = publish(name, tmp_path, monkeypatch)
    for path in (tmp_path / name / folder).iterdir():
        path.rename(path.with_suffix(".heic"))
    with pytest.raises(ValueError, match=f"{folder} holds no picture"):
        listed(name, parameters)


@pytest.mark.parametrize(("name", "key"), [("image_folder", "path"), ("image_manifest", "file")])
@pytest.mark.parametrize("value", ["/elsewhere/mine", "../mine"])
def test_a_path_that_leads_out_of_the_data_root_names_its_key_and_the_root(
    root: Path, name: str, key: str, value: str
) -> None:
    with pytest.raises(StudyError) as caught:
        listed(name, {key: value})
    message = str(caught.value)
    assert message.startswith(
        f"{key}: {value!r} does not lie below the data root, {root} (${supply.ROOT_VARIABLE})"
    )


@pytest.mark.parametrize(
    ("parts", "tested"),
    [
        (("training_set", "test_set"), "test_set"),
        (("seg_train", "seg_test"), "seg_test"),
        (("train_images", "val_images"), "val_images"),
        (("train2017", "val2017"), "val2017"),
        (("Train data", "Test data"), "Test data"),
        (("trainImages", "valImages", "testImages"), "testImages"),
    ],
)
def test_parts_are_known_by_a_word_of_their_name(
    root: Path, parts: tuple[str, ...], tested: str
) -> None:
    lay(root, *(f"{part}/{name}" for part in parts for name in ("ant", "bee")))
    lay(root, f"{parts[0]}/wasp")  # a class that the test part lacks
    listing = found(root)
    assert listing.classes == ("ant", "bee", "wasp")
    assert listing.tested is not None
    assert {path.split("/")[1] for path, held in zip(listing.paths, listing.tested, strict=True) if held} == {tested}  # fmt: skip
    assert any(note.endswith(f"{tested} the test part.") for note in listing.notes)


@pytest.mark.parametrize(
    "folders",
    [
        ("fold1", "fold2"),
        ("fold1", "fold2", "fold3"),
        ("site A", "site B"),
        ("train1", "train2"),
        ("test_set", "val_set"),
        ("trainingset", "testset"),
        ("train_set", "extra"),
        ("train_test", "test_set"),
    ],
)
def test_folders_with_the_same_folders_are_not_taken_for_classes(
    root: Path, folders: tuple[str, ...]
) -> None:
    lay(root, *(f"{folder}/{name}" for folder in folders for name in ("ant", "bee")))
    refused(
        r"hold the same folders \(ant, bee\).*Rename them to train, val and test.*image_manifest"
    )


def test_a_flat_folder_beside_parts_hides_them_not(root: Path) -> None:
    """Such as pictures to predict, beside seg_train and seg_test."""
    lay(root, *(f"{part}/{name}" for part in ("seg_train", "seg_test") for name in ("ant", "bee")))
    lay(root, "seg_pred")
    refused("seg_test and seg_train hold the same folders")


@pytest.mark.parametrize(
    "folders",
    [
        ("cats/a", "cats/b", "dogs/c", "dogs/d"),
        ("cats/a", "cats/b", "dogs/b", "dogs/c"),
        ("cats/images", "dogs/images"),
        ("cats/a", "cats/b", "dogs"),
        ("test tubes/a", "train stations/b"),
    ],
)
def test_pictures_below_their_class_stay_readable(root: Path, folders: tuple[str, ...]) -> None:
    lay(root, *folders)
    listing = found(root)
    assert set(listing.classes) == {folder.split("/")[0] for folder in folders}
    assert len(listing.paths) == 2 * len(folders)


@pytest.mark.parametrize("bad", [b"caf\xe9", b"ant/caf\xe9.png", b"ant/caf\xe9/0.png"])
def test_a_name_that_is_not_text_is_refused_by_name(root: Path, bad: bytes) -> None:
    lay(root, "ant", "bee")
    path = os.path.join(os.fsencode(root / "mine"), bad)  # noqa: PTH118
    os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
    if bad.endswith(b".png"):
        Path(os.fsdecode(path)).write_bytes((root / "mine/ant/0.png").read_bytes())
    else:
        os.mkdir(path)  # noqa: PTH102
    refused(r"caf\\udce9.* has a name that is not valid text \(UTF-8\); rename it")

"""Tables that say what is on the pictures are read strictly: no line, label or file is taken for another."""

from __future__ import annotations

from pathlib import Path

import pytest
from published import listed, picture, publish, table

from gradsiege.datasets.base import Dataset
from gradsiege.datasets.image_folder import ImageFolder
from gradsiege.datasets.image_manifest import ImageManifest
from gradsiege.datasets.preparation.listing import Listing
from gradsiege.datasets.sources import supply
from gradsiege.errors import StudyError

HEAD = ("path", "label", "group", "part")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(supply.ROOT_VARIABLE, str(tmp_path))
    for name in "abcd":
        picture(tmp_path / f"{name}.png", ord(name), (16, 16))
    return tmp_path


def read(root: Path, *rows: tuple[str, ...]) -> Listing:
    table(root / "list.csv", *rows)
    return listed("image_manifest", {"file": "list.csv"})


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (
            [HEAD, ("a.png", "cat", "", ""), ("b.png", "Cat", "", "")],
            "labels 'cat' and 'Cat' differ only",
        ),
        (
            [HEAD, ("a.png", "cat", "", ""), ("b.png", "dog ", "", "")],
            "line 3: label 'dog ' begins or ends",
        ),
        (
            [HEAD, ("a.png", "cat", "p1", ""), ("b.png", "dog", "p1 ", "")],
            "groups 'p1' and 'p1 ' differ",
        ),
        ([HEAD, ("a.png", "", "", "")], "line 2: the label is empty"),
        ([HEAD, ("", "cat", "", "")], "line 2: '' is not a path"),
        (
            [HEAD, ("a.png", "cat", "", ""), ("./a.png", "dog", "", "")],
            r"image twice: \./a\.png in line 2 and line 3",
        ),
        (
            [HEAD, ("a.png", "cat", "", ""), ("e.png", "dog", "", "")],
            r"line 3: e\.png is missing \(looked for as e\.png below the data root.*\); 1 of 2 files is missing",
        ),
        (
            [HEAD, ("a.png", "cat", "", "test"), ("b.png", "dog", "", "")],
            "no picture of the label 'cat' is in the training",
        ),
        (
            [HEAD, ("a.png", "cat", "", "test"), ("b.png", "dog", "", "testing")],
            "two names of one part",
        ),
        ([("path", "label", "label"), ("a.png", "cat", "dog")], "has the column 'label' twice"),
        (
            [("path;label",), ("a.png;cat",)],
            "has the columns path;label; the columns path and label are needed",
        ),
        ([HEAD], r"^list\.csv has no line below its headings$"),
        ([], r"^list\.csv is empty; the columns path and label are needed"),
    ],
)
def test_what_may_be_a_slip_is_refused(root: Path, rows: list[tuple[str, ...]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read(root, *rows)


def test_a_byte_order_mark_is_no_part_of_a_name_and_another_encoding_is_named(root: Path) -> None:
    (root / "list.csv").write_bytes(b"\xef\xbb\xbfpath,label\na.png,cat\nb.png,dog\n")
    assert listed("image_manifest", {"file": "list.csv"}).classes == ("cat", "dog")
    (root / "list.csv").write_bytes("path,label\na.png,hélice\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"list\.csv is not text in UTF-8"):
        listed("image_manifest", {"file": "list.csv"})


def test_parts_are_called_as_in_folders_and_empty_cells_are_counted(root: Path) -> None:
    rows = [("a.png", "cat", "p", "Train"), ("b.png", "dog", "", ""), ("c.png", "dog", "q", "val")]
    listing = read(root, HEAD, *rows)
    assert listing.tested is not None
    assert listing.tested.tolist() == [False, False, True]
    assert listing.notes == (
        "Parts: Train is the training part, val the test part.",
        "lines without a part are of the training part: 1, such as b.png",
        "lines without a group are a group of their own: 1, such as b.png",
    )
    listing = read(root, HEAD, *rows, ("d.png", "cat", "r", "test"))
    assert listing.tested is not None
    assert listing.tested.tolist() == [False, False, False, True]


@pytest.mark.parametrize(
    ("name", "file", "column"),
    [
        ("airogs", "train_labels.csv", "challenge_id"),
        ("eyepacs", "trainLabels.csv", "level"),
        ("chestxray14", "Data_Entry_2017_v2020.csv", "Patient ID"),
    ],
)
def test_a_table_without_its_column_is_a_sentence(
    name: str, file: str, column: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(name, tmp_path, monkeypatch)
    path = tmp_path / name / file
    path.write_text(path.read_text().replace(column, "other", 1))
    with pytest.raises(ValueError, match=f"{file} has the columns .*{column}.* needed"):
        listed(name, {})


@pytest.mark.parametrize(
    ("name", "folder"), [("airogs", "images"), ("eyepacs", "train"), ("chestxray14", "images")]
)
def test_files_of_one_name_and_files_that_no_line_names(
    name: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(name, tmp_path, monkeypatch)
    before = listed(name, {})
    extra = tmp_path / name / folder / "unknown.png"
    picture(extra, 1)
    after = listed(name, {})
    assert after.paths == before.paths
    assert any(
        f"does not name are left out: 1, such as {folder}/unknown.png" in note
        for note in after.notes
    )
    extra.rename(tmp_path / name / folder / f"copy-{Path(before.paths[0]).name}")
    twin = tmp_path / name / folder / "twin" / Path(before.paths[0]).name
    picture(twin, 1)
    with pytest.raises(ValueError, match="have one name, so the table cannot tell them apart"):
        listed(name, {})


@pytest.mark.parametrize("kind", [ImageManifest, ImageFolder])
def test_copies_of_an_unknown_data_set_are_refused(kind: type[Dataset]) -> None:
    place = {"file": "a.csv"} if kind is ImageManifest else {"path": "a"}
    assert kind(**place, copies_of="cifar10").copies_of == "cifar10"
    with pytest.raises(StudyError, match=r"copies_of is 'cifer10', not a data set; .*cifar10"):
        kind(**place, copies_of="cifer10")

"""A folder that `gradsiege init` lays out holds the whole workflow, or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradsiege.errors import MissingError, UsageError
from gradsiege.pipeline import workspace

ROOT = Path(__file__).parents[2]


def files(folder: Path) -> set[str]:
    """The files below a folder, but for what Python compiles there."""
    return {
        path.relative_to(folder).as_posix()
        for part in workspace.PARTS
        for path in [folder / part, *(folder / part).rglob("*")]
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.mark.parametrize("there", [False, True])
def test_a_new_or_an_empty_folder_gets_all_files_as_they_are(tmp_path: Path, there: bool) -> None:
    place = tmp_path / "deep" / "a folder"
    if there:
        place.mkdir(parents=True)
    workspace.lay_out(place)
    assert files(place) == files(ROOT)
    assert (place / "Snakefile").read_bytes() == (ROOT / "Snakefile").read_bytes()
    assert [*place.parent.iterdir()] == [place], "nothing else is left"


def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "file").touch()
    for place, words in (
        (tmp_path, "is there already; name a new or an empty folder"),
        (tmp_path / "file", "a file is in its way; name another one"),
        (tmp_path / "file" / "below", "a file is in its way; name another one"),
    ):
        with pytest.raises(UsageError, match=words):
            workspace.lay_out(place)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["config", "file"]


def test_the_current_folder_is_laid_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    workspace.lay_out(Path())
    assert files(tmp_path) == files(ROOT)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(workspace.PARTS)


def test_a_copy_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*paths: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(workspace.shutil, "copytree", full)
    with pytest.raises(OSError, match="No space left"):
        workspace.lay_out(tmp_path / "new")
    assert [*tmp_path.iterdir()] == []


def test_an_installation_without_the_workflow_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "CLONE", tmp_path)
    monkeypatch.setattr(workspace, "PACKAGED", tmp_path)
    with pytest.raises(MissingError, match="has no workflow in it"):
        workspace.lay_out(tmp_path / "new")

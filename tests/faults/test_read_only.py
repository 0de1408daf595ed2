"""Results that may not be written: one sentence, and nothing is changed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from faults import COMMANDS, Place, SmallDisk, without_rights


def set_rights(root: Path, files: int, folders: int) -> None:
    for path in (root, *root.rglob("*")):
        path.chmod(folders if path.is_dir() else files)


@pytest.mark.parametrize("stage", COMMANDS)
def test_without_the_right_to_write(stage: str, copied: Callable[[str], Place]) -> None:
    place = copied(stage)
    before = place.whole()
    set_rights(place.root, 0o444, 0o555)
    end = place.run(*COMMANDS[stage], changes=(without_rights,))
    set_rights(place.root, 0o644, 0o755)
    assert end.code == 4, end.said
    sentence = end.sentence()
    assert str(place.root) in sentence
    assert "Permission denied" in sentence
    assert place.whole() == before
    assert place.torn() == []


@pytest.mark.parametrize("stage", ["attack", "publish"])
def test_on_a_disk_that_is_mounted_read_only(
    stage: str, undisturbed: Place, disk: SmallDisk
) -> None:
    place = Place(disk.folder / "root", undisturbed.file)
    shutil.copytree(undisturbed.root, place.root)
    before = place.whole()
    disk.protect()
    end = place.run(*COMMANDS[stage])
    assert end.code == 4, end.said
    assert "Read-only file system" in end.sentence()
    assert place.whole() == before

"""A full disk stops a stage with one sentence and no torn file; with room again, it ends with the same bytes."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from faults import COMMANDS, End, Place, SmallDisk, files_of_at_most, save_often

from gradsiege import artifacts

PAGE = 4096


def lay(source: Place, root: Path, stage: str) -> Place:
    """A finished study in another root, without the files of one stage."""
    shutil.copytree(source.root, root)
    place = Place(root, source.file)
    for path in place.outputs(stage):
        path.unlink()
    return place


def check_the_stop(end: End, place: Place, before: dict[str, str], words: str) -> None:
    """One sentence that names a file and the reason; what has its name is whole, and no manifest vouches for less than all."""
    assert end.code == 4, end.said
    said = [line for line in end.said.splitlines() if line.startswith("gradsiege: error: ")]
    assert len(said) == 1, end.said
    assert "Traceback" not in end.said
    assert f"could not write {place.root}" in said[0]
    assert words in said[0]
    assert place.prints().items() <= before.items()
    assert place.torn() == []
    assert not list(place.root.rglob(f"*{artifacts.PART}"))


@pytest.mark.parametrize("stage", COMMANDS)
def test_no_space(stage: str, undisturbed: Place, disk: SmallDisk, chance: random.Random) -> None:
    """No space at all for files or progress; then space for a random part of what the stage writes."""
    before = undisturbed.prints()
    place = lay(undisturbed, disk.folder / "root", stage)
    sizes = [path.stat().st_size for path in undisturbed.outputs(stage)]
    need = sum(-(-size // PAGE) for size in sizes)
    for room, changes in ((0, (save_often,)), (chance.randrange(need), ())):
        disk.leave(room * PAGE)
        end = place.run(*COMMANDS[stage], changes=changes)
        check_the_stop(end, place, before, "No space left on device")
    disk.enlarge()
    end = place.run(*COMMANDS[stage])
    assert end.code == 0, end.said
    assert place.prints() == before
    assert place.torn() == place.remains() == []


@pytest.mark.parametrize("stage", COMMANDS)
def test_files_that_the_kernel_refuses(stage: str, undisturbed: Place, tmp_path: Path) -> None:
    """The same for those who cannot mount a disk: no file may have more than three thousand bytes."""
    place = lay(undisturbed, tmp_path / "root", stage)
    end = place.run(*COMMANDS[stage], changes=(files_of_at_most(3000),))
    check_the_stop(end, place, undisturbed.prints(), "File too large")


def test_a_shard_on_a_full_disk(undisturbed: Place, disk: SmallDisk) -> None:
    """Snakemake's way of starting cells: logs and notes are refused as well, and no cell is blamed for it."""
    place = lay(undisturbed, disk.folder / "root", "attack")
    command = [*COMMANDS["attack"], "--staged"]
    disk.leave(0)
    for _ in range(4):
        end = place.run(*command)
        assert end.code == 4, end.said
        assert "No space left on device" in end.said
        assert "Traceback" not in end.said
    disk.enlarge()
    end = place.run(*command)
    assert end.code == 0, end.said
    assert len(list(place.root.glob("scratch/staged/faults/computed/*/manifest.json"))) == 1
    assert place.torn() == []

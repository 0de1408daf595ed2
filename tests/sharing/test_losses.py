"""A restore keeps the finished cells that `dvc.lock` does not have: DVC would remove whatever `share` once saved."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path, PurePosixPath

import pytest

from gradsiege import artifacts
from gradsiege.errors import ArtifactError
from gradsiege.sharing.contents import Content, md5_of
from gradsiege.sharing.losses import refuse_losses
from gradsiege.study import Study

OUTPUT = PurePosixPath("results/tiny/score")


@pytest.fixture
def finished(study_copy: tuple[Study, Path]) -> tuple[Study, Path, Path]:
    """Return study, root, and the folder of one finished score cell."""
    study, root = study_copy
    return study, root, next((root / OUTPUT).rglob(artifacts.MANIFEST)).parent


def listing(root: Path, cache: Path, without: Path | None = None) -> list[Content]:
    """Return the output of scores as DVC would list it, all cells but one."""
    entries = [
        {"md5": md5_of(path), "relpath": path.relative_to(root / OUTPUT).as_posix()}
        for path in sorted((root / OUTPUT).rglob("*"))
        if path.is_file() and path.parent != without
    ]
    text = json.dumps(entries).encode()
    content = Content(OUTPUT, hashlib.md5(text).hexdigest() + ".dir")
    (cache / content.object).parent.mkdir(parents=True)
    (cache / content.object).write_bytes(text)
    return [content]


def test_a_state_that_has_the_same_cells_loses_none(
    finished: tuple[Study, Path, Path], tmp_path: Path
) -> None:
    study, root, _ = finished
    refuse_losses(listing(root, tmp_path / "cache"), tmp_path / "cache", study, root)


def test_a_finished_cell_that_it_does_not_have_is_named(
    finished: tuple[Study, Path, Path], tmp_path: Path
) -> None:
    study, root, cell = finished
    recorded = listing(root, tmp_path / "cache", without=cell)
    key = cell.relative_to(root / OUTPUT).as_posix()
    with pytest.raises(ArtifactError, match=f"^1 finished cells .* such as score {key}: dvc.lock"):
        refuse_losses(recorded, tmp_path / "cache", study, root)
    # Of the outputs that are put in place alone.
    refuse_losses([], tmp_path / "cache", study, root)


def test_a_study_file_as_old_as_the_lock_does_not_hide_cells(
    finished: tuple[Study, Path, Path], tmp_path: Path
) -> None:
    """The older study lacks an attack, a defense or a seed: to it, the cell is foreign."""
    study, root, cell = finished
    foreign = cell.with_name("seed7")
    shutil.copytree(cell, foreign)
    recorded = listing(root, tmp_path / "cache", without=foreign)
    with pytest.raises(ArtifactError, match=r"^1 finished cells .*/seed7: dvc.lock"):
        refuse_losses(recorded, tmp_path / "cache", study, root)
    (foreign / "scores.parquet").write_bytes(b"damaged")
    refuse_losses(recorded, tmp_path / "cache", study, root)


@pytest.mark.parametrize("begun", [-1, 1])
def test_a_cell_of_other_settings_gives_way_to_a_later_one_alone(
    finished: tuple[Study, Path, Path], tmp_path: Path, begun: int
) -> None:
    study, root, cell = finished
    recorded = listing(root, tmp_path / "cache")
    manifest = artifacts.read_manifest(cell)
    place = tmp_path / "cache" / Content(OUTPUT, md5_of(cell / artifacts.MANIFEST)).object
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(cell / artifacts.MANIFEST, place)
    other = manifest | {"digest": "0" * 16, "started": manifest["started"] + begun}
    artifacts.write_manifest(cell, other, list(manifest["files"]))
    if begun < 0:
        refuse_losses(recorded, tmp_path / "cache", study, root)
        return
    with pytest.raises(ArtifactError, match="1 finished cells would be lost"):
        refuse_losses(recorded, tmp_path / "cache", study, root)


def test_a_damaged_cell_may_be_replaced(finished: tuple[Study, Path, Path], tmp_path: Path) -> None:
    study, root, cell = finished
    recorded = listing(root, tmp_path / "cache")
    (cell / "scores.parquet").write_bytes(b"damaged")
    refuse_losses(recorded, tmp_path / "cache", study, root)


def test_a_sound_cell_with_other_bytes_is_not_replaced(
    finished: tuple[Study, Path, Path], tmp_path: Path
) -> None:
    """As when it was computed again after it had been shared."""
    study, root, cell = finished
    (recorded,) = listing(root, tmp_path / "cache")
    place = tmp_path / "cache" / recorded.object
    place.write_text(place.read_text().replace(md5_of(cell / artifacts.MANIFEST), "0" * 32))
    with pytest.raises(ArtifactError, match="1 finished cells would be lost"):
        refuse_losses([recorded], tmp_path / "cache", study, root)

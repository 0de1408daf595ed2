"""`gradsiege verify`: finds what is missing, stale, damaged, failed or foreign, and only that."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gradsiege import artifacts
from gradsiege.datasets.sources import supply
from gradsiege.inspection import verify
from gradsiege.pipeline import absent_data
from gradsiege.pipeline.cells import Cell, cells, parse_key
from gradsiege.study import Study, parse

Finished = tuple[Study, Path]
SCORE = "digits/lenet/none/untrained/fedsgd/seed0"


@pytest.fixture
def folder(study_copy: Finished) -> Path:
    """Folder of a finished score."""
    study, root = study_copy
    return parse_key("score", SCORE, study).folder(study, root)


def test_a_finished_study_is_sound(finished_study: Finished) -> None:
    report, sound = verify(*finished_study)
    assert sound
    assert report.splitlines() == [
        "study tiny: 20 cells: 20 finished, 0 failed, 0 stale, 0 damaged, 0 missing; 0 foreign",
        "Every cell is there, made under the study's settings, and intact.",
    ]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "flipped bit": (lambda folder: flip(folder / "scores.parquet"), "scores.parquet differs"),
    "truncated": (
        lambda folder: (folder / "pictures.safetensors").write_bytes(b"x"),
        "pictures.safetensors differs",
    ),
    "missing file": (
        lambda folder: (folder / "scores.parquet").unlink(),
        "scores.parquet does not exist",
    ),
    "torn manifest": (
        lambda folder: (folder / artifacts.MANIFEST).write_text("{"),
        "manifest.json is damaged",
    ),
}


@pytest.mark.parametrize("sort", DAMAGE)
def test_damage_is_found_and_named(sort: str, study_copy: Finished, folder: Path) -> None:
    damage, message = DAMAGE[sort]
    damage(folder)
    report, sound = verify(*study_copy)
    assert not sound
    assert "19 finished, 0 failed, 0 stale, 1 damaged, 0 missing" in report
    (line,) = [line for line in report.splitlines() if line.startswith("  damaged")]
    assert f"score {SCORE}" in line
    assert message in line


def edit(folder: Path, **changes: Any) -> None:
    """Write a manifest again, as whoever forges it would: without the checksum of the old one."""
    changed = artifacts.read_manifest(folder) | changes
    (folder / artifacts.MANIFEST).write_text(json.dumps(changed))


def test_a_manifest_that_leaves_a_file_out(study_copy: Finished, folder: Path) -> None:
    manifest = artifacts.read_manifest(folder)
    del manifest["files"]["scores.parquet"]
    edit(folder, files=manifest["files"])
    report, sound = verify(*study_copy)
    assert not sound
    assert "does not list scores.parquet" in report


def test_a_manifest_that_names_a_path_outside(study_copy: Finished, folder: Path) -> None:
    manifest = artifacts.read_manifest(folder)
    manifest["files"]["../../secret"] = {"bytes": 0, "sha256": ""}
    edit(folder, files=manifest["files"])
    report, sound = verify(*study_copy)
    assert not sound
    assert "names a path outside its folder: '../../secret'" in report


def test_a_failed_cell_is_reported_and_sound(study_copy: Finished, folder: Path) -> None:
    edit(folder, status="failed", reason="the update is not finite")
    report, sound = verify(*study_copy)
    assert sound
    assert f"  failed  score {SCORE}: the update is not finite" in report


def test_a_failed_cell_that_is_damaged_is_damaged(study_copy: Finished, folder: Path) -> None:
    edit(folder, status="failed", reason="x")
    flip(folder / "scores.parquet")
    assert not verify(*study_copy)[1]


def test_other_settings_make_cells_stale(study_copy: Finished, tiny_raw: dict[str, Any]) -> None:
    _, root = study_copy
    tiny_raw["attacks"][0]["iterations"] = 6
    report, sound = verify(parse(tiny_raw), root)
    assert not sound
    # Four attacks, and the four scores that read them.
    assert "12 finished, 0 failed, 8 stale" in report
    assert "made under other settings" in report


def test_new_and_removed_cells_are_missing_and_foreign(
    study_copy: Finished, tiny_raw: dict[str, Any]
) -> None:
    _, root = study_copy
    tiny_raw["defenses"] = [
        "none",
        {"name": "gaussian", "parameters": {"sigma": 1}, "id": "strong"},
    ]
    report, sound = verify(parse(tiny_raw), root)
    assert not sound
    # A federation, two observations, four attacks and two scores.
    assert "11 finished, 0 failed, 0 stale, 0 damaged, 9 missing; 4 foreign" in report
    for stage in ("federate", "observe", "attack", "score"):
        path = root / "results" / "tiny" / stage / "digits" / "lenet" / "gaussian"
        assert f"  foreign {path} belongs to no cell of the study" in report


def test_foreign_files_are_told_and_do_no_harm(study_copy: Finished, folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    (folder / "sub").mkdir()
    (folder.parents[3] / ".gitignore").write_text("written by a tool")
    report, sound = verify(*study_copy)
    assert sound
    assert "2 foreign" in report
    assert str(folder / "notes.txt") in report
    assert str(folder / "sub") in report


def test_figures_and_reports_are_not_foreign(study_copy: Finished) -> None:
    study, root = study_copy
    (root / "results" / "tiny" / "figures").mkdir(exist_ok=True)
    (root / "results" / "tiny" / "report.html").write_text("x")
    assert "0 foreign" in verify(study, root)[0]


def test_a_copy_in_anothers_place_is_stale(study_copy: Finished) -> None:
    import shutil

    study, root = study_copy
    first, second = (cell.folder(study, root) for cell in cells(study)["attack"][:2])
    shutil.rmtree(second)
    shutil.copytree(first, second)
    report, sound = verify(study, root)
    assert not sound
    # The score has read other bytes.
    assert "2 stale" in report


def test_long_lists_are_cut(tiny_raw: dict[str, Any], tmp_path: Path) -> None:
    tiny_raw["seeds"] = list(range(5))
    report, sound = verify(parse(tiny_raw), tmp_path)
    assert not sound
    assert "  missing ... and " in report
    assert len(report.splitlines()) == 1 + 20 + 1 + 1


def test_nothing_is_changed(study_copy: Finished, folder: Path) -> None:
    _, root = study_copy
    flip(folder / "scores.parquet")
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    verify(*study_copy)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_one_cell_can_be_verified(study_copy: Finished, folder: Path) -> None:
    from gradsiege.inspection.verification import verify_cell

    study, root = study_copy
    cell: Cell = parse_key("score", SCORE, study)
    assert verify_cell(cell, study, root).state == "finished"
    flip(folder / "scores.parquet")
    assert verify_cell(cell, study, root).state == "damaged"


def test_after_a_partial_restore_missing_cells_are_no_fault(
    study_copy: Finished, folder: Path
) -> None:
    shutil.rmtree(folder)
    assert not verify(*study_copy)[1]
    report, sound = verify(*study_copy, partial=True)
    assert sound
    assert "1 missing" in report


def test_cells_without_data_are_no_fault_and_are_told(
    study_copy: Finished, tiny_raw: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second data set that was not supplied, and a prior on it; what is there stays sound."""
    _, root = study_copy
    monkeypatch.setenv(supply.ROOT_VARIABLE, str(root / "data"))
    added = {**tiny_raw["datasets"][0], "name": "image_folder", "parameters": {"path": "mine"}}
    tiny_raw["datasets"].append(added)
    report, sound = verify(parse(tiny_raw), root)
    assert sound
    head, told, last = report.splitlines()
    assert head.endswith(
        "20 finished, 0 failed, 0 stale, 0 damaged, 0 missing, 20 absent; 0 foreign"
    )
    assert told.strip().startswith("absent")
    assert told.endswith(
        "20 cells: data absent: mine/ (a folder); `gradsiege doctor` says how to get it"
    )
    assert (
        last
        == "Every cell is there but 20 without data, made under the study's settings, and intact."
    )
    (root / "data/mine/ant").mkdir(parents=True)
    report, sound = verify(parse(tiny_raw), root)
    assert not sound
    assert "20 missing" in report


def test_only_attacks_whose_prior_lacks_data_are_absent_elsewhere(
    tiny_raw: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(supply.ROOT_VARIABLE, str(tmp_path / "data"))
    added = {**tiny_raw["datasets"][0], "name": "image_folder", "parameters": {"path": "mine"}}
    tiny_raw["datasets"].append(added)
    tiny_raw["priors"][0]["dataset"] = "image_folder"
    study = parse(tiny_raw)
    absent = absent_data.absent(study, tmp_path)
    digits = [
        cell for of_stage in cells(study).values() for cell in of_stage if cell.dataset == "digits"
    ]
    waiting = {cell for cell in digits if absent_data.waits_for(cell, study, absent)}
    assert waiting == {cell for cell in digits if cell.attack == "gi_pip"}


@pytest.mark.parametrize("name", [artifacts.MANIFEST, "utility.parquet"])
def test_a_folder_instead_of_a_file_is_damage_and_nothing_else(
    study_copy: Finished, name: str
) -> None:
    study, root = study_copy
    folder = next((root / "results/tiny/federate").rglob(artifacts.MANIFEST)).parent
    (folder / name).unlink()
    (folder / name / "deep").mkdir(parents=True)
    report, sound = verify(study, root)
    assert not sound
    assert "19 finished, 0 failed, 0 stale, 1 damaged, 0 missing; 0 foreign" in report
    assert str(folder / name) in report

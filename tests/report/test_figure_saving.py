"""Saved figures: four formats, the same bytes every time, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from gradsiege.report import save
from gradsiege.report.data import StudyData
from gradsiege.report.figures import training_stage
from gradsiege.report.page.inline import DARK, with_dark_colours
from gradsiege.report.tables import table_compute
from gradsiege.stages import publish
from gradsiege.study import Study


def test_bytes_are_the_same_every_time(made_up_study: StudyData, tmp_path: Path) -> None:
    first = save.save(training_stage.draw(made_up_study), tmp_path / "a", "training_stage")
    second = save.save(training_stage.draw(made_up_study), tmp_path / "b", "training_stage")
    assert [path.suffix for path in first] == [".pdf", ".svg", ".png", ".csv"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted(p.name for p in first)


def test_remains_of_a_killed_process_are_swept_up(
    made_up_study: StudyData, tiny: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the table that is written; a neighbour may be at work on another one."""
    folder = publish.folder_of("table_compute", tiny, tmp_path)
    folder.mkdir(parents=True)
    for name in (".table_compute.csv.x.part", ".table_costs.csv.y.part"):
        (folder / name).touch()
    monkeypatch.setattr(publish, "load_study", lambda study, root: made_up_study)
    publish.publish(["table_compute"], tiny, tmp_path, tmp_path / "tiny.yaml")
    assert {path.name for path in folder.iterdir()} == {
        "table_compute.csv",
        ".table_costs.csv.y.part",
    }


def test_csv_is_exactly_the_plotted_data(made_up_study: StudyData, tmp_path: Path) -> None:
    drawn = training_stage.draw(made_up_study)
    *_, path = save.save(drawn, tmp_path, "training_stage")
    read = pd.read_csv(path, keep_default_na=False, na_values={"psnr_low": [""], "psnr_high": [""]})
    pd.testing.assert_frame_equal(read, drawn.data, check_dtype=False)


def test_pictures_are_small_and_dateless(made_up_study: StudyData, tmp_path: Path) -> None:
    for path in save.save(training_stage.draw(made_up_study), tmp_path, "training_stage"):
        content = path.read_bytes()
        assert len(content) < 300_000
        assert b"CreationDate" not in content
        assert b"<dc:date>" not in content


def test_a_table_saves_its_rows_alone(made_up_study: StudyData, tmp_path: Path) -> None:
    paths = save.save(table_compute.draw(made_up_study), tmp_path, "table_compute")
    assert [path.name for path in paths] == ["table_compute.csv"]


def test_a_failure_leaves_no_half_figure(
    made_up_study: StudyData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: Path, content: bytes) -> int:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", broken)
    with pytest.raises(Exception, match="no space"):
        save.save(training_stage.draw(made_up_study), tmp_path, "training_stage")
    assert list(tmp_path.iterdir()) == []


def test_dark_colours_cover_what_the_style_uses(made_up_study: StudyData) -> None:
    svg = save.encode(training_stage.draw(made_up_study).figure, "svg")
    assert b"prefers-color-scheme" not in svg  # the saved file stays plain
    dark = with_dark_colours(svg).decode()
    assert all(colour in dark for pair in DARK.items() for colour in pair)
    assert "#000000" not in dark  # pure black is outside the style and would vanish on a dark page

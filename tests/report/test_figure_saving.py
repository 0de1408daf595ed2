"""Saved figures: four formats, the same bytes every time, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from gradsiege.catalogue import entries
from gradsiege.report import save
from gradsiege.report.columns import dictionary
from gradsiege.report.data import StudyData
from gradsiege.report.figures import training_stage
from gradsiege.report.page.inline import DARK, with_dark_colours
from gradsiege.report.tables import table_utility
from gradsiege.stages import publish
from gradsiege.study import Study


def test_bytes_are_the_same_every_time(made_up_study: StudyData, tmp_path: Path) -> None:
    first = save.save(training_stage.draw(made_up_study), tmp_path / "a", "training_stage")
    second = save.save(training_stage.draw(made_up_study), tmp_path / "b", "training_stage")
    assert [path.suffix for path in first] == [".pdf", ".svg", ".png", ".csv"]
    for before, after in zip(first, second, strict=True):
        assert before.read_bytes() == after.read_bytes(), before.name
    assert sorted((tmp_path / "a" / "figures").iterdir()) == sorted(first)


def test_remains_of_a_killed_process_are_swept_up(
    made_up_study: StudyData, tiny: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the table that is written; a neighbour may be at work on another one."""
    folder = tmp_path / "results/tiny/tables"
    folder.mkdir(parents=True)
    for name in ("compute.csv.x", "compute_data.csv.x", "costs.csv.y"):
        (folder / f".table_{name}.part").touch()
    monkeypatch.setattr(publish, "load_study", lambda study, root: made_up_study)
    publish.publish(["table_compute"], tiny, tmp_path, tmp_path / "tiny.yaml")
    assert {path.name for path in folder.iterdir()} == {
        "table_compute.csv",
        "table_compute_data.csv",
        ".table_costs.csv.y.part",
    }


def test_what_is_drawn_in_one_process_is_what_is_drawn_alone(
    made_up_study: StudyData, tiny: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Byte by byte, the report as well, and in another folder."""
    monkeypatch.setattr(publish, "load_study", lambda study, root: made_up_study)
    names, to = ["training_stage", "privacy_utility", "table_costs", "report"], tmp_path / "to"
    study = tiny.model_copy(update={"figures": names[:-1]})
    for name in names:
        publish.publish([name], study, tmp_path, tmp_path / "tiny.yaml")
    publish.publish(names, study, tmp_path, tmp_path / "tiny.yaml", to)
    alone = {p.name: p.read_bytes() for p in (tmp_path / "results/tiny").rglob("*.*")}
    assert len(alone) == 11
    assert {p.name: p.read_bytes() for p in to.rglob("*.*")} == alone


def test_csv_is_exactly_the_plotted_data(made_up_study: StudyData, tmp_path: Path) -> None:
    drawn = training_stage.draw(made_up_study)
    *_, path = save.save(drawn, tmp_path, "training_stage")
    read = pd.read_csv(path, keep_default_na=False, na_values={"low": [""], "high": [""]})
    psnr = read[read["quantity"] == "psnr"].reset_index(drop=True)
    assert psnr["value"].tolist() == drawn.data["psnr"].tolist(), "at full precision"
    assert psnr["low"].equals(drawn.data["psnr_low"])
    assert psnr["attack"].tolist() == drawn.data["attack"].tolist()
    assert psnr["n"].astype(int).tolist() == drawn.data["victims"].tolist()


def test_the_dictionary_is_written_without_a_study(tiny: Study, tmp_path: Path) -> None:
    (path,) = publish.publish(["columns"], tiny, tmp_path, tmp_path / "tiny.yaml")
    assert path == tmp_path / "results/tiny/tables/columns.csv"
    read = pd.read_csv(path, keep_default_na=False)
    assert read.itertuples(index=False, name=None).__next__() == dictionary()[0]
    assert len(read) == len(dictionary())


def test_pictures_are_small_and_dateless(made_up_study: StudyData, tmp_path: Path) -> None:
    for path in save.save(training_stage.draw(made_up_study), tmp_path, "training_stage"):
        content = path.read_bytes()
        assert len(content) < 300_000
        assert b"CreationDate" not in content
        assert b"<dc:date>" not in content


def test_a_table_is_saved_as_shown_and_as_measurements(
    made_up_study: StudyData, tmp_path: Path
) -> None:
    drawn = table_utility.draw(made_up_study)
    shown, data = save.save(drawn, tmp_path, "table_utility")
    assert [path.name for path in (shown, data)] == ["table_utility.csv", "table_utility_data.csv"]
    assert drawn.shown is not None
    pd.testing.assert_frame_equal(pd.read_csv(shown, dtype=str), drawn.shown)
    # The mark by which spreadsheet programs know the encoding of minus signs and dashes.
    assert shown.read_bytes().startswith(b"\xef\xbb\xbf")
    assert not data.read_bytes().startswith(b"\xef\xbb\xbf")


def test_a_failure_leaves_no_half_figure(
    made_up_study: StudyData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: Path, content: bytes) -> int:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", broken)
    with pytest.raises(Exception, match="no space"):
        save.save(training_stage.draw(made_up_study), tmp_path, "training_stage")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_dark_colours_cover_what_the_style_uses(made_up_study: StudyData) -> None:
    svg = save.encode(training_stage.draw(made_up_study).figure, "svg")
    assert b"prefers-color-scheme" not in svg  # the saved file stays plain
    dark = with_dark_colours(svg).decode()
    assert all(colour in dark for pair in DARK.items() for colour in pair)
    assert "#000000" not in dark  # pure black is outside the style and would vanish on a dark page


@pytest.mark.parametrize("name", [n for n in entries("figures") if n.startswith("table_")])
def test_a_table_without_rows_has_headings(
    empty_study: StudyData, tmp_path: Path, name: str
) -> None:
    for path in save.save(publish.draw(name, empty_study), tmp_path, name):
        read = pd.read_csv(path)
        # What a study can detect is said before it runs.
        assert read.empty == (name != "table_power")
        assert len(read.columns) > 1

"""Figures, tables and the report hang on the study's own run: once each, and never what must not be passed on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from mlflow_server import files_of, runs

from gradsiege import catalogue
from gradsiege.datasets.sources import supply
from gradsiege.errors import TrackingError
from gradsiege.study import Study, parse
from gradsiege.tracking import server, track
from gradsiege.tracking.addresses import database_file
from gradsiege.tracking.attachments import published, withheld

pytestmark = pytest.mark.pipeline
Finished = tuple[Study, Path]
Attached = Callable[[str], Finished]
# Bytes stand in for pictures: they are sent, not looked at.
DRAWN = {
    "figures/gallery.png": b"a gallery",
    "report.html": b"a report",
    "tables/table_attacks.csv": b"a table",
}
OTHER = ("figures/gallery.pdf", "figures/holiday.png", "tables/notes.csv", "crate.zip")


def draw(root: Path, study: Study) -> None:
    """Write what is to be attached, and what is not."""
    for name, content in (*DRAWN.items(), *((name, b"other") for name in OTHER)):
        path = root / "results" / study.study / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.fixture
def drawn(study_copy: Finished) -> Attached:
    """A function that gives the finished study under another name, drawn."""
    study, root = study_copy

    def renamed(name: str) -> Finished:
        (root / "results" / study.study).rename(root / "results" / name)
        studied = study.model_copy(update={"study": name})
        draw(root, studied)
        return studied, root

    return renamed


def parent(uri: str, study: str, experiment: str = server.EXPERIMENT) -> Any:
    """The study's own run."""
    (parent_run,) = (
        run for run in runs(uri, study, experiment) if run.data.tags["gradsiege.role"] == "study"
    )
    return parent_run


def test_a_file_is_sent_once_and_again_when_it_changed(
    drawn: Attached, database: str, tmp_path: Path
) -> None:
    study, root = drawn("drawn")
    (tmp_path / "elsewhere").mkdir()
    with chdir(tmp_path / "elsewhere"):
        assert track(study, root, database).endswith("; files: 3 attached, 0 unchanged")
        assert track(study, root, database).endswith("; files: 0 attached, 3 unchanged")
        assert not list(Path.cwd().iterdir()), "track leaves nothing in the working folder"
    run = parent(database, "drawn")
    assert files_of(database, run, tmp_path / "first") == DRAWN
    kept = Path(f"{database_file(database)}.artifacts") / run.info.run_id / "artifacts"
    before = {name: (kept / name).stat().st_mtime_ns for name in DRAWN}
    (root / "results/drawn/report.html").write_bytes(b"another report")
    assert track(study, root, database).endswith("; files: 1 attached, 2 unchanged")
    again = files_of(database, parent(database, "drawn"), tmp_path / "second")
    assert again == DRAWN | {"report.html": b"another report"}
    changed = {
        name for name, moment in before.items() if (kept / name).stat().st_mtime_ns != moment
    }
    assert changed == {"report.html"}


def test_a_store_that_takes_no_files_is_one_sentence_and_keeps_the_runs(
    drawn: Attached, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    study, root = drawn("unkept")
    # An experiment that is there with another place for files keeps it; this place is not a folder.
    monkeypatch.setattr(server, "EXPERIMENT", "elsewhere")
    place = tmp_path / "place"
    place.write_text("no folder")
    MlflowClient(tracking_uri=database).create_experiment("elsewhere", place.as_uri())
    with pytest.raises(TrackingError, match="7 runs were added and stay") as caught:
        track(study, root, database)
    assert f"the artifact store of {database} does not take files" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert {run.info.status for run in runs(database, "unkept", "elsewhere")} == {"FINISHED"}
    place.unlink()
    summary = track(study, root, database)
    assert "0 runs added, 7 already there, 0 damaged (" in summary
    assert "contents); files: 3 attached, 0 unchanged" in summary
    run = parent(database, "unkept", "elsewhere")
    assert (place / run.info.run_id / "artifacts/report.html").read_bytes() == b"a report"


def test_of_a_restricted_study_nothing_but_tables_leaves(
    drawn: Attached, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, root = drawn("secret")
    monkeypatch.setattr(supply, "sharing_of", lambda name, parameters: supply.RESTRICTED)
    summary = track(study, root, database)
    assert summary.endswith(
        "; files: 1 attached, 0 unchanged, 2 withheld because digits must not be passed on"
    )
    files = files_of(database, parent(database, "secret"), tmp_path / "found")
    assert files == {"tables/table_attacks.csv": b"a table"}


@pytest.mark.parametrize("name", ["celeba", "airogs", "imagenet"])
def test_restriction_is_a_matter_of_the_data_set(
    tiny_raw: dict[str, Any], tmp_path: Path, name: str
) -> None:
    tiny_raw["datasets"].append(tiny_raw["datasets"][0] | {"name": name})
    study = parse(tiny_raw)
    draw(tmp_path, study)
    assert [*published(study, tmp_path)] == ["tables/table_attacks.csv"]
    assert withheld(study, tmp_path) == f"2 withheld because {name} must not be passed on"


def test_the_note_of_all_files_fits_into_a_tag() -> None:
    from mlflow.utils.validation import MAX_TAG_VAL_LENGTH

    lines = [f"{'0' * 64}  figures/{name}.png" for name in catalogue.entries("figures")]
    assert len("\n".join(lines)) + 100 < MAX_TAG_VAL_LENGTH

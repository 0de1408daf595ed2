"""Results of one's own go to folders of one's own, and a drawing is asked for by its own name."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import ATTACK, KEY, Finished, Verb

from gradsiege.pipeline.cells import parse_key


def held(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "to",
    [
        "results",
        "results/mine",
        "results/tiny",
        "scratch",
        "scratch/staged/tiny",
        "scratch/mine",
        "link/mine",
    ],
)
@pytest.mark.parametrize("command", ["attack", "publish", "crate"])
def test_no_result_goes_below_results_or_scratch(
    command: str,
    to: str,
    study_copy: Finished,
    verb: Verb,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study, root = study_copy
    if (command, to) == ("publish", "results/tiny"):
        return
    (root / "scratch").mkdir(exist_ok=True)
    (root / "link").symlink_to(root / "scratch")
    before = held(root)
    observation = parse_key("observe", KEY, study).folder(study, root) / "observation.safetensors"
    given = {
        "attack": (ATTACK, "--observation", observation),
        "publish": ("table_attacks",),
        "crate": (),
    }[command]
    target = root / (f"{to}/a.zip" if command == "crate" else to)
    where = ("--study", root / "tiny.yaml", "--root", root, "--to", target)
    assert verb(command, *given, *where) == 2
    message = " ".join(capsys.readouterr().err.replace("\u2502", " ").split())
    assert "outside" in message
    assert held(root) == before


@pytest.mark.parametrize("stage", ["attack", "score", "fetch"])
def test_a_drawing_goes_into_no_finished_cell(stage: str, study_copy: Finished, verb: Verb) -> None:
    _, root = study_copy
    cell = next(path.parent for path in (root / "results/tiny" / stage).rglob("manifest.json"))
    before = held(root)
    where = ("--study", root / "tiny.yaml", "--root", root)
    assert verb("publish", "table_attacks", *where, "--to", cell) == 2
    assert held(root) == before


def test_a_drawing_goes_elsewhere_and_where_snakemake_wants_it(
    study_copy: Finished, verb: Verb, tmp_path: Path
) -> None:
    _, root = study_copy
    where = ("--study", root / "tiny.yaml", "--root", root)
    for to in (tmp_path / "drawn", root / "scratch/staged/tiny/drawings/0a", root / "results/tiny"):
        assert verb("publish", "tables/table_attacks.csv", *where, "--to", to) == 0
        assert (to / "tables/table_attacks.csv").is_file()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "results/quick/figures/gallery.pdf",
            "is of the study quick, and the study file is that of tiny",
        ),
        ("results/quick/report.html", "is of the study quick"),
        ("results/quick/tables/columns.csv", "is of the study quick"),
        (
            "results/tiny/tables/gallery.pdf",
            "is not in the results of the study tiny, where the file is results/tiny/figures/gallery.pdf",
        ),
        ("elsewhere/gallery.pdf", "is not in the results of the study tiny"),
        ("gallery.xyz", "is not a file of gallery, whose files are figures/gallery.pdf, "),
        ("results/tiny/figures/utility_curve.xyz", "is not a file of utility_curve"),
        ("report.pdf", "is not a file of report, whose files are report.html"),
    ],
)
def test_a_path_is_refused_unless_it_is_that_of_a_drawing(
    name: str, words: str, finished_study: Finished, verb: Verb, capsys: pytest.CaptureFixture[str]
) -> None:
    _, root = finished_study
    before = held(root)
    assert verb("publish", name, "--study", root / "tiny.yaml", "--root", root) == 2
    assert f"{name} {words}" in capsys.readouterr().err
    assert held(root) == before


def test_an_unknown_name_is_answered_by_the_nearest(
    finished_study: Finished, verb: Verb, capsys: pytest.CaptureFixture[str]
) -> None:
    _, root = finished_study
    for name in ("galery", "figures/galery.pdf"):
        assert verb("publish", name, "--study", root / "tiny.yaml", "--root", root) == 3
        assert "did you mean 'gallery'?" in capsys.readouterr().err

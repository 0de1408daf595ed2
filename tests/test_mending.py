"""`gradsiege mend`: what it finds, what it sets aside, and what it leaves alone. Snakemake is a stand-in here; `tests/workflow` runs it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gradsiege import artifacts, mending
from gradsiege.errors import ArtifactError
from gradsiege.pipeline import places
from gradsiege.pipeline.cells import Cell, parse_key
from gradsiege.sharing.programs import Said
from gradsiege.study import Study

Finished = tuple[Study, Path]
ATTACK = "digits/lenet/none/untrained/fedsgd/seed0/labels_inferred/inverting_gradients"
CELLS = {"attack": ATTACK, "score": "digits/lenet/none/late/fedsgd/seed0", "fetch": "digits"}


@pytest.fixture
def study_and_root(study_copy: Finished) -> Finished:
    study, root = study_copy
    (root / "Snakefile").write_text("")
    return study, root


class Snakemake:
    """Remembers how it was called, and may do something."""

    def __init__(self, patch: pytest.MonkeyPatch, answer: str = mending.NOTHING) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.answer = answer
        self.compute: Callable[[], object] = lambda: None
        patch.setattr(mending, "run", self.run)
        patch.setattr(mending, "show", self.show)

    def run(self, root: Path, program: str, *arguments: str) -> Said:
        self.calls.append(arguments)
        return Said(True, self.answer)

    def show(self, root: Path, program: str, *arguments: str) -> bool:
        self.calls.append(arguments)
        self.compute()
        return True


@pytest.fixture
def snakemake(monkeypatch: pytest.MonkeyPatch) -> Snakemake:
    return Snakemake(monkeypatch)


def cell_of(stage: str, study: Study) -> Cell:
    return parse_key(stage, CELLS[stage], study)


def contents(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def damage(study: Study, root: Path) -> None:
    """A wrong byte, a folder without a manifest, a folder that is gone, and an interrupted swap."""
    with (cell_of("attack", study).folder(study, root) / "trace.parquet").open("ab") as stream:
        stream.write(b"x")
    (cell_of("score", study).folder(study, root) / artifacts.MANIFEST).unlink()
    fetch = cell_of("fetch", study)
    places.move(fetch.folder(study, root), places.replaced_of(fetch, study, root))


def test_everything_is_found_and_named_and_a_dry_run_changes_nothing(
    study_and_root: Finished, snakemake: Snakemake
) -> None:
    study, root = study_and_root
    damage(study, root)
    before, said = contents(root), []
    assert not mending.mend(study, root, root / "tiny.yaml", dry_run=True, say=said.append)
    assert contents(root) == before
    assert snakemake.calls == []
    text = "\n".join(said)
    assert "17 cells are finished and sound; they stay" in text
    assert "to complete: fetch/digits, whose swap was interrupted" in text
    assert f"to set aside: attack {ATTACK}: " in text
    assert f"to set aside: score {CELLS['score']}: it has no manifest" in text
    assert "0 made under other settings or from other inputs, 2 missing, 1 damaged" in text
    assert "`gradsiege mend`" not in text


def test_swaps_are_completed_and_damaged_folders_set_aside_whole(
    study_and_root: Finished, snakemake: Snakemake
) -> None:
    study, root = study_and_root
    sound = contents(root / "results")
    damage(study, root)
    damaged = {stage: cell_of(stage, study).folder(study, root) for stage in ("attack", "score")}
    lost = {stage: {p.name: p.read_bytes() for p in f.iterdir()} for stage, f in damaged.items()}
    said: list[str] = []
    assert not mending.mend(study, root, root / "tiny.yaml", 3, say=said.append)
    assert snakemake.calls[-1] == ("--cores", "3", "--config", "study=tiny.yaml")
    for stage, folder in damaged.items():
        assert not folder.exists()
        aside = root / "scratch/aside/tiny" / stage / f"{CELLS[stage]}.1"
        assert {path.name: path.read_bytes() for path in aside.iterdir()} == lost[stage]
    left = contents(root / "results")
    assert left.items() <= sound.items()
    assert {path.parent for path in sound.keys() - left.keys()} == {*damaged.values()}
    # It ends with what `verify` says.
    assert "18 finished, 0 failed, 0 stale, 0 damaged, 2 missing" in said[-1]


def test_what_was_set_aside_before_stays(study_and_root: Finished, snakemake: Snakemake) -> None:
    study, root = study_and_root
    folder = cell_of("attack", study).folder(study, root)
    shutil.copytree(folder, root / "kept")

    def mend() -> bool:
        (folder / "trace.parquet").write_text("x")
        return mending.mend(study, root, root / "tiny.yaml", say=lambda line: None)

    snakemake.compute = lambda: shutil.copytree(root / "kept", folder)
    assert mend()
    assert mend()
    aside = root / "scratch/aside/tiny/attack" / ATTACK
    assert {path.name for path in aside.parent.iterdir()} == {f"{aside.name}.1", f"{aside.name}.2"}


def test_sound_cells_are_adopted_only_if_snakemake_would_compute_one(
    study_and_root: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, root = study_and_root
    for answer, touched in ((mending.NOTHING, False), ("Job stats:", True)):
        snakemake = Snakemake(monkeypatch, answer)
        assert mending.mend(study, root, root / "tiny.yaml", say=lambda line: None)
        assert ("--touch" in {part for call in snakemake.calls for part in call}) == touched


def test_beside_another_snakemake_nothing_is_done(
    study_and_root: Finished, snakemake: Snakemake
) -> None:
    study, root = study_and_root
    damage(study, root)
    (root / ".snakemake/locks").mkdir(parents=True)
    (root / ".snakemake/locks/0.input.lock").write_text("")
    before = contents(root)
    with pytest.raises(ArtifactError, match="another Snakemake works here, or was killed"):
        mending.mend(study, root, root / "tiny.yaml")
    assert contents(root) == before


def test_a_home_that_snakemake_cannot_use_is_named(
    study_and_root: Finished,
    monkeypatch: pytest.MonkeyPatch,
    verb: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, root = study_and_root
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/dev/null")
    before = contents(root)
    assert verb("mend", "--study", root / "tiny.yaml", "--root", root) == ArtifactError.exit_code
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(
        "gradsiege: error: snakemake cannot use its folder /dev/null/.cache/snakemake: "
    )
    assert contents(root) == before


def test_outside_of_the_repository_nothing_is_done(study_copy: Finished) -> None:
    study, root = study_copy
    with pytest.raises(ArtifactError, match="run this in the repository's folder"):
        mending.mend(study, root, root / "tiny.yaml")


def test_every_remedy_in_a_message_is_mend() -> None:
    """Messages that tell to delete, rerun or run again are for what no command can know."""
    source = Path(mending.__file__).parent
    text = {path: path.read_text(encoding="utf-8") for path in source.rglob("*.py")}
    old = ("run the study", "Run the study", "rerun its stage", "Rerun its stage", "Run its stage",
           "run its stage", "Run the stage", "run the stage", "Delete its folder")  # fmt: skip
    assert not [(path.name, words) for path in text for words in old if words in text[path]]


def test_a_manifest_that_is_a_folder_is_set_aside(
    study_and_root: Finished, snakemake: Snakemake
) -> None:
    """Once: it is damage, and not a folder without a manifest as well."""
    study, root = study_and_root
    folder = cell_of("attack", study).folder(study, root)
    (folder / artifacts.MANIFEST).unlink()
    (folder / artifacts.MANIFEST / "deep").mkdir(parents=True)
    said: list[str] = []
    assert not mending.mend(study, root, root / "tiny.yaml", say=said.append)
    (line,) = [line for line in said if line.startswith("to set aside: ")]
    assert line.endswith("manifest.json is not a file")
    assert not folder.exists()
    assert (root / f"scratch/aside/tiny/attack/{ATTACK}.1/manifest.json/deep").is_dir()


def test_what_lies_in_the_place_of_a_drawing_is_set_aside(
    study_and_root: Finished,
    snakemake: Snakemake,
    verb: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A folder, an empty file and a link that leads nowhere, all of which Snakemake takes for drawings."""
    study, root = study_and_root
    report, gallery, shown = (
        root / "results/tiny" / name
        for name in ("report.html", "figures/gallery.png", "figures/privacy_utility.csv")
    )
    (report / "mine").mkdir(parents=True)
    gallery.parent.mkdir()
    gallery.write_text("")
    shown.symlink_to("away")
    reasons = {report: "is not a file", gallery: "is empty", shown: "is not a file"}
    said: list[str] = []
    assert not mending.mend(study, root, root / "tiny.yaml", dry_run=True, say=said.append)
    options = ("--study", root / "tiny.yaml", "--root", root)
    assert verb("verify", *options) == ArtifactError.exit_code
    report_of_verify = capsys.readouterr().out
    for path, why in reasons.items():
        assert f"to set aside: {path}, which {why}" in said
        assert f"damaged {path} {why}" in report_of_verify
    with pytest.raises(ArtifactError, match="it is there, and is not a file; move it away"):
        artifacts.write_text(report, "drawn")
    assert mending.mend(study, root, root / "tiny.yaml", say=said.append)
    aside = root / "scratch/aside/tiny"
    assert (aside / "report.html.1/mine").is_dir()
    assert (aside / "figures/gallery.png.1").read_text() == ""
    assert (aside / "figures/privacy_utility.csv.1").is_symlink()
    assert not [path for path in reasons if path.exists() or path.is_symlink()]

"""The swap: a process that dies at any moment of it leaves the old cell or the new one whole, and the next run completes it."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from gradsiege import artifacts
from gradsiege.errors import ArtifactError
from gradsiege.pipeline import places
from gradsiege.pipeline.cells import Cell, digest, parse_key
from gradsiege.pipeline.jobs import Job
from gradsiege.pipeline.stage import STAGES
from gradsiege.study import Study

KEY = "digits/lenet/none/seed0"


@pytest.fixture
def cell(tiny: Study) -> Cell:
    return parse_key("federate", KEY, tiny)


def compute(cell: Cell, study: Study, root: Path, text: str) -> None:
    with Job(cell, study, root).running() as job:
        write(job.draft, cell, text)


def write(folder: Path, cell: Cell, text: str) -> None:
    for name in STAGES[cell.stage].outputs:
        artifacts.write_text(folder / name, text)


def seal(folder: Path, cell: Cell, study: Study, text: str) -> None:
    write(folder, cell, text)
    artifacts.write_manifest(folder, {"digest": digest(cell, study)}, [*STAGES[cell.stage].outputs])


def held(folder: Path) -> str:
    """What a whole cell holds."""
    assert places.is_whole(folder)
    return (folder / "utility.parquet").read_text()


def dying_at(moment: int) -> Callable[[Path, Path], Path]:
    """A renaming of folders whose process is killed before the one of that number, counted from 1."""
    rename, met = Path.rename, []

    def renaming(self: Path, target: Path) -> Path:
        if self.is_dir():
            met.append(target)
            if len(met) == moment:
                os.kill(os.getpid(), signal.SIGKILL)
        return rename(self, target)

    return renaming


def killed(work: Callable[[], object]) -> bool:
    """Do the work in a process of its own; whether it was killed."""
    child = os.fork()
    if not child:
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def test_a_process_that_is_killed_while_it_deletes_the_old_cell(
    cell: Cell, tiny: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A half-deleted folder has no manifest that vouches for it."""
    compute(cell, tiny, tmp_path, "old")

    def dying(folder: Path, **_: object) -> None:
        for path in folder.glob("*.*"):
            if path.name != artifacts.MANIFEST:
                path.unlink()
                os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(places.shutil, "rmtree", dying)
    assert killed(lambda: compute(cell, tiny, tmp_path, "new"))
    monkeypatch.undo()
    assert held(cell.folder(tiny, tmp_path)) == "new"
    replaced = places.replaced_of(cell, tiny, tmp_path)
    assert list(replaced.iterdir())
    assert not (replaced / artifacts.MANIFEST).exists()
    assert places.settle(tiny, tmp_path) == [cell.folder(tiny, tmp_path)]
    assert not replaced.exists()


@pytest.mark.parametrize("next_run", ["verb", "settle"])
@pytest.mark.parametrize("moment", [1, 2])
def test_a_process_that_is_killed_in_the_swap(
    moment: int, next_run: str, cell: Cell, tiny: Study, tmp_path: Path
) -> None:
    compute(cell, tiny, tmp_path, "old")
    place, draft = cell.folder(tiny, tmp_path), places.draft_of(cell, tiny, tmp_path)

    def work() -> None:
        pytest.MonkeyPatch().setattr(Path, "rename", dying_at(moment))
        compute(cell, tiny, tmp_path, "new")

    assert killed(work)
    old = places.replaced_of(cell, tiny, tmp_path) if moment == 2 else place
    assert (held(old), held(draft)) == ("old", "new")
    assert places.interrupted(tiny, tmp_path) == ([Path("federate", KEY)] if moment == 2 else [])
    if next_run == "settle":
        places.settle(tiny, tmp_path)
        assert held(place) == ("new" if moment == 2 else "old")
        return
    with Job(cell, tiny, tmp_path).running() as job:
        # Completed before the new work begins.
        assert held(place) == ("new" if moment == 2 else "old")
        write(job.draft, cell, "newest")
    assert held(place) == "newest"
    assert not list(tmp_path.glob("scratch/*"))


def test_a_sealed_draft_whose_process_died_before_the_swap_is_not_lost(
    cell: Cell, tiny: Study, tmp_path: Path
) -> None:
    seal(places.draft_of(cell, tiny, tmp_path), cell, tiny, "new")
    with pytest.raises(RuntimeError), Job(cell, tiny, tmp_path).running():
        raise RuntimeError
    assert held(cell.folder(tiny, tmp_path)) == "new"


def test_a_damaged_draft_gives_the_old_cell_back(cell: Cell, tiny: Study, tmp_path: Path) -> None:
    draft, replaced = (
        where(cell, tiny, tmp_path) for where in (places.draft_of, places.replaced_of)
    )
    seal(draft, cell, tiny, "new")
    (draft / "utility.parquet").write_text("torn")
    seal(replaced, cell, tiny, "old")
    assert places.settle(tiny, tmp_path) == [cell.folder(tiny, tmp_path)]
    assert held(cell.folder(tiny, tmp_path)) == "old"
    assert not replaced.exists()


def test_a_cell_that_the_study_has_no_more_goes_back(
    cell: Cell, tiny: Study, tmp_path: Path
) -> None:
    gone = places.staged_folder(tiny, tmp_path) / "replaced/federate/digits/other/none/seed0"
    seal(gone, cell, tiny, "old")
    places.settle(tiny, tmp_path)
    assert held(tmp_path / "results/tiny/federate/digits/other/none/seed0") == "old"


def test_files_that_are_nobodys_stay(cell: Cell, tiny: Study, tmp_path: Path) -> None:
    compute(cell, tiny, tmp_path, "old")
    (cell.folder(tiny, tmp_path) / "notes.txt").write_text("mine")
    compute(cell, tiny, tmp_path, "new")
    assert (cell.folder(tiny, tmp_path) / "notes.txt").read_text() == "mine"
    assert held(cell.folder(tiny, tmp_path)) == "new"


def test_results_on_another_file_system(
    cell: Cell, tiny: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def across(self: Path, target: Path) -> Path:
        if ("scratch" in self.parts) != ("scratch" in target.parts):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", across)
    for text in ("old", "new"):
        compute(cell, tiny, tmp_path, text)
        assert held(cell.folder(tiny, tmp_path)) == text
    assert {path.name for path in cell.folder(tiny, tmp_path).parent.iterdir()} == {"seed0"}
    assert not list(tmp_path.glob("scratch/*"))


@pytest.mark.parametrize("other", ["took the draft", "took the place"])
def test_another_process_on_the_same_cell(
    other: str, cell: Cell, tiny: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It moves a folder between two moves of ours: the cell is whole, and ours, or we say who it may have been."""
    compute(cell, tiny, tmp_path, "old")
    draft, place = places.draft_of(cell, tiny, tmp_path), cell.folder(tiny, tmp_path)
    seal(draft, cell, tiny, "new")
    move, moved = places.move, []

    def moving(source: Path, target: Path) -> None:
        move(source, target)
        moved.append(target)
        if len(moved) == 1 and other == "took the draft":
            draft.rename(tmp_path / "elsewhere")
        elif len(moved) == 1:
            seal(place, cell, tiny, "theirs")

    monkeypatch.setattr(places, "move", moving)
    places.swap(draft, place, places.replaced_of(cell, tiny, tmp_path))
    assert held(place) == ("old" if other == "took the draft" else "theirs")


def test_a_place_that_another_process_emptied_is_named(
    cell: Cell, tiny: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft = places.draft_of(cell, tiny, tmp_path)
    seal(draft, cell, tiny, "new")

    def moving(source: Path, target: Path) -> None:
        raise FileNotFoundError(source)

    monkeypatch.setattr(places, "move", moving)
    with pytest.raises(ArtifactError, match="Does another process work on the same"):
        places.swap(draft, cell.folder(tiny, tmp_path), places.replaced_of(cell, tiny, tmp_path))


def test_other_bytes_of_an_input_are_noticed(study_copy: tuple[Study, Path]) -> None:
    study, root = study_copy
    cell = parse_key("federate", KEY, study)
    folder, fetched = cell.folder(study, root), cell.at("fetch").folder(study, root)
    assert places.is_current(folder, cell, study, root)
    manifest = artifacts.read_manifest(fetched)
    path = fetched / "train.safetensors"
    path.write_bytes(path.read_bytes() + b" ")
    artifacts.write_manifest(fetched, manifest, [*manifest["files"]])
    name = "fetch/digits/train.safetensors"
    assert places.outdated(artifacts.read_manifest(folder), study, root) == name
    assert not places.is_current(folder, cell, study, root)
    # What is not there, as after restoring one bundle, tells nothing.
    (fetched / artifacts.MANIFEST).unlink()
    assert places.is_current(folder, cell, study, root)


@pytest.mark.parametrize(
    "sort",
    ["manifest", "output", "file", "link", "dangling link", "interrupted", "draft", "drafted"],
)
def test_what_is_no_folder_or_no_file_does_not_end_the_cell(
    sort: str, cell: Cell, tiny: Study, tmp_path: Path
) -> None:
    """Somebody put a folder where a file belongs, or a file or a link where a folder does."""
    place, draft = cell.folder(tiny, tmp_path), places.draft_of(cell, tiny, tmp_path)
    replaced = places.replaced_of(cell, tiny, tmp_path)
    elsewhere = tmp_path / "elsewhere"
    write(elsewhere, cell, "theirs")
    (elsewhere / artifacts.MANIFEST).write_text("theirs")
    if sort in ("manifest", "output"):
        compute(cell, tiny, tmp_path, "old")
        name = artifacts.MANIFEST if sort == "manifest" else "utility.parquet"
        (place / name).unlink()
        (place / name / "deep").mkdir(parents=True)
    elif sort == "interrupted":
        (replaced / artifacts.MANIFEST / "deep").mkdir(parents=True)
        seal(draft, cell, tiny, "new")
        assert places.settle(tiny, tmp_path) == [place]
        assert held(place) == "new"
    elif sort == "drafted":
        for name in (artifacts.MANIFEST, "utility.parquet"):
            (draft / name / "deep").mkdir(parents=True)
    else:
        path = draft if sort == "draft" else place
        path.parent.mkdir(parents=True)
        if sort in ("file", "draft"):
            path.write_text("a file")
        else:
            path.symlink_to(elsewhere if sort == "link" else tmp_path / "gone")
    for text in ("new", "newer"):
        compute(cell, tiny, tmp_path, text)
        assert held(place) == text
        assert not place.is_symlink()
    assert places.interrupted(tiny, tmp_path) == []
    assert not list(tmp_path.glob("scratch/*"))
    assert (elsewhere / "utility.parquet").read_text() == "theirs", "a link's target is nobody's"
    assert (elsewhere / artifacts.MANIFEST).read_text() == "theirs"


def test_a_run_that_ends_well_leaves_whole_cells_that_nobody_took(
    cell: Cell, tiny: Study, tmp_path: Path
) -> None:
    draft = places.draft_of(cell, tiny, tmp_path)
    computed = draft.parent
    seal(draft, cell, tiny, "waits")
    artifacts.write_text(draft.with_suffix(".log"), "federate: done")
    seal(computed / "of-another-study", cell, tiny, "old")
    write(computed / "half", cell, "no manifest")
    artifacts.write_text(computed / "half.failed", "ValueError")
    artifacts.write_text(computed.parent / "drawings/table.csv", "drawn")
    places.sweep(tiny, tmp_path)
    assert held(draft) == "waits"
    assert sorted(path.name for path in computed.iterdir()) == [draft.name, f"{draft.name}.log"]
    assert [path.name for path in computed.parent.iterdir()] == ["computed"]
    shutil.rmtree(draft)
    places.sweep(tiny, tmp_path)
    assert not computed.parent.exists()
    places.sweep(tiny, tmp_path)  # nothing is there

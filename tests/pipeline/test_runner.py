"""Several cells in one process: each as if it were alone, whatever happens to its neighbours."""

from __future__ import annotations

import errno
import gc
import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gradsiege import artifacts
from gradsiege.errors import StoppedEarlyError
from gradsiege.pipeline import runner
from gradsiege.pipeline.cells import Cell, parse_key
from gradsiege.pipeline.jobs import Job
from gradsiege.pipeline.places import draft_of
from gradsiege.pipeline.stage import STAGES
from gradsiege.study import Study

KEYS = ["digits/lenet/none/seed0", "digits/lenet/gaussian/seed0"]


@pytest.fixture
def pair(tiny: Study) -> list[Cell]:
    return [parse_key("federate", key, tiny) for key in KEYS]


def fill(job: Job) -> None:
    """A job's work, without the work."""
    for name in STAGES[job.cell.stage].outputs:
        artifacts.write_text(job.path(name), job.cell.key)


class Recorder:
    """Work that remembers which cells it met, and does something else at one of them."""

    def __init__(self, where: str = "", what: Callable[[Job], None] = fill) -> None:
        self.where, self.what = where, what
        self.met: list[str] = []

    def __call__(self, job: Job) -> None:
        self.met.append(job.cell.defense)
        (self.what if job.cell.defense == self.where else fill)(job)


def broken(job: Job) -> None:
    fill(job)
    raise RuntimeError("planted")


def complete(cell: Cell, study: Study, root: Path) -> bool:
    folder = draft_of(cell, study, root)
    return (folder / artifacts.MANIFEST).is_file() and not artifacts.verify_folder(folder)


def test_a_failing_cell_fails_alone_and_is_tried_again(
    pair: list[Cell], tiny: Study, tmp_path: Path
) -> None:
    work = Recorder("none", broken)
    runner.staged(pair, tiny, tmp_path, None, work)
    assert [complete(cell, tiny, tmp_path) for cell in pair] == [False, True]
    assert "planted" in runner.log_of(pair[0], tiny, tmp_path).read_text()
    said = runner.log_of(pair[1], tiny, tmp_path).read_text()
    assert said == f"federate {KEYS[1]}: done\n", "a log holds what its own cell said"
    again = Recorder()
    runner.staged(pair, tiny, tmp_path, None, again)
    assert again.met == ["none"], "what is finished is not computed again"
    assert complete(pair[0], tiny, tmp_path)
    assert not list(tmp_path.glob("scratch/staged/**/*.failed"))


def test_finished_cells_are_kept_unless_stale_or_damaged(
    pair: list[Cell], tiny: Study, tmp_path: Path
) -> None:
    runner.in_place(pair, lambda cell: Job(cell, tiny, tmp_path), fill)
    (pair[1].folder(tiny, tmp_path) / "late.safetensors").write_text("damaged")
    before = artifacts.read_manifest(pair[0].folder(tiny, tmp_path))
    work = Recorder()
    runner.staged(pair, tiny, tmp_path, None, work)
    assert work.met == ["gaussian"]
    assert artifacts.read_manifest(pair[0].folder(tiny, tmp_path)) == before


def test_a_signal_ends_the_shard_after_the_cell_that_cannot_stop(
    pair: list[Cell], tiny: Study, tmp_path: Path
) -> None:
    def terminated(job: Job) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        fill(job)

    work = Recorder("none", terminated)
    with pytest.raises(StoppedEarlyError, match="1 of 2 cells are left"):
        runner.staged(pair, tiny, tmp_path, None, work)
    assert [complete(cell, tiny, tmp_path) for cell in pair] == [True, False]
    runner.staged(pair, tiny, tmp_path, None, work)
    assert work.met == ["none", "gaussian"]


def test_a_stopped_cell_leaves_no_note_of_failure(
    pair: list[Cell], tiny: Study, tmp_path: Path
) -> None:
    with pytest.raises(StoppedEarlyError):
        runner.staged(pair, tiny, tmp_path, 0.0, Recorder("none", Job.interrupt))
    assert not runner.note_of(pair[0], tiny, tmp_path).exists()


def test_a_cell_that_kills_its_process_comes_last_and_in_the_end_not_at_all(
    pair: list[Cell], tiny: Study, tmp_path: Path
) -> None:
    """The kernel kills whoever takes too much memory; the neighbours must get their turn."""
    code = (
        "import os, sys; from pathlib import Path; here = Path(sys.argv[1]); sys.path[:0] = [str(here), str(here.parent)]; import test_runner as t;"
        "from gradsiege.pipeline import runner; from gradsiege.study import parse; import conftest;"
        "study = parse(conftest.TINY); pair = [t.parse_key('federate', key, study) for key in t.KEYS];"
        "work = t.Recorder('none', lambda job: os.kill(os.getpid(), 9));"
        "runner.staged(pair, study, Path(sys.argv[2]), None, work)"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path)]
    codes = [subprocess.run(command, capture_output=True).returncode for _ in range(2)]
    assert codes == [-signal.SIGKILL] * 2
    assert complete(pair[1], tiny, tmp_path), "its neighbour went first at the second start"
    note = runner.note_of(pair[0], tiny, tmp_path)
    note.write_text("its process died, the 3. time\n")
    work = Recorder()
    runner.staged(pair, tiny, tmp_path, None, work)
    assert work.met == []
    said = runner.log_of(pair[0], tiny, tmp_path).read_text()
    assert "died 3 times" in said
    assert f"delete {note}" in said
    # Progress since then is a reason to go on.
    Job(pair[0], tiny, tmp_path).save_progress({}, {})
    runner.staged(pair, tiny, tmp_path, None, work)
    assert work.met == ["none"]


def test_remains_of_a_process_that_died_after_its_last_file_are_cleared_away(
    pair: list[Cell], tiny: Study, tmp_path: Path
) -> None:
    runner.staged(pair, tiny, tmp_path, None, fill)
    note, job = runner.note_of(pair[0], tiny, tmp_path), Job(pair[0], tiny, tmp_path)
    note.write_text("its process died, the 1. time\n")
    job.save_progress({}, {})
    work = Recorder()
    runner.staged(pair, tiny, tmp_path, None, work)
    assert work.met == []
    assert not note.exists()
    assert not job.scratch.exists()


def test_a_full_disk_is_one_sentence_and_no_death(
    pair: list[Cell], tiny: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(job: Job) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(job.folder))

    for _ in range(runner.DEATHS + 1):
        runner.staged(pair[:1], tiny, tmp_path, None, full)
    said = capsys.readouterr().err.splitlines()
    place = draft_of(pair[0], tiny, tmp_path)
    assert said[-1].startswith(f"gradsiege: error: {place}: No space left on device")
    assert len(said) == runner.DEATHS + 1
    assert runner.note_of(pair[0], tiny, tmp_path).read_text() == "OSError\n"


def test_memory_of_a_cell_is_freed_before_the_next(
    pair: list[Cell], tiny: Study, tmp_path: Path
) -> None:
    held: list[weakref.ref[Any]] = []

    class Large:
        """Something in a cycle, which counting references does not free."""

        def __init__(self) -> None:
            self.itself = self

    def allocate(job: Job) -> None:
        assert all(reference() is None for reference in held)
        held.append(weakref.ref(Large()))
        fill(job)

    gc.disable()
    try:
        runner.staged(pair, tiny, tmp_path, None, allocate)
    finally:
        gc.enable()
    assert len(held) == 2
    assert all(complete(cell, tiny, tmp_path) for cell in pair)


def test_the_peak_of_memory_is_counted_anew() -> None:
    from gradsiege.federated.cost import peak_memory

    block = bytearray(300 * 2**20)
    high = peak_memory()
    del block
    runner.free_memory()
    assert peak_memory() < high - 200


def test_in_place_the_others_go_on_and_the_first_error_is_raised(
    pair: list[Cell], tiny: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RuntimeError, match="planted"):
        runner.in_place(pair, lambda cell: Job(cell, tiny, tmp_path), Recorder("none", broken))
    assert artifacts.verify_folder(pair[1].folder(tiny, tmp_path)) == []
    assert not pair[0].folder(tiny, tmp_path).exists()
    assert f"federate {KEYS[0]}: Traceback" in capsys.readouterr().err


def test_a_shard_has_the_bytes_of_cells_computed_alone(
    study_copy: tuple[Study, Path], verb: Callable[..., int]
) -> None:
    study, root = study_copy
    keys = [
        f"digits/lenet/none/{stage}/fedsgd/seed0/labels_inferred" for stage in study.training_stages
    ]
    pair = [parse_key("attack", f"{key}/gi_pip", study) for key in keys]
    alone = [artifacts.read_manifest(cell.folder(study, root))["files"] for cell in pair]
    for cell in pair:
        (cell.folder(study, root) / artifacts.MANIFEST).unlink()
    common = ("--study", root / "tiny.yaml", "--root", root, "--staged")
    assert verb("attack", *(cell.key for cell in pair), *common) == 0
    staged = [artifacts.read_manifest(draft_of(cell, study, root))["files"] for cell in pair]
    assert staged == alone


def test_another_observation_is_for_one_cell(verb: Callable[..., int], capsys: Any) -> None:
    key = "photos/convnet/none/untrained/fedsgd/seed0/labels_inferred/inverting_gradients"
    quick = Path(__file__).parents[2] / "config/quick.yaml"
    given = ("--study", quick, "--observation", "elsewhere.safetensors", "--to", "elsewhere")
    assert verb("attack", key, key, *given) == 2
    assert "one cell alone" in capsys.readouterr().err

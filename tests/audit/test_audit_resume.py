"""A killed audit goes on after its last finished attack, and a folder of another audit is refused."""

from __future__ import annotations

import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from small_audits import BUDGET, ONE, Nothing, arguments, audited, pictures

import gradsiege as gs
from gradsiege import artifacts
from gradsiege.auditing.parts import Outcome, Parts
from gradsiege.auditing.private import private_folder
from gradsiege.errors import ArtifactError, StoppedEarlyError, UsageError

SHORT = replace(BUDGET, rank=0, pictures=2, iterations=1)


def stopping(after: int) -> type[Parts]:
    """Parts that leave, as a signal makes the process leave, before a further one is kept."""

    class Stopping(Parts):
        kept = 0

        def keep(self, key: str, outcome: Outcome) -> None:
            if type(self).kept == after:
                raise StoppedEarlyError("stopped")
            type(self).kept += 1
            super().keep(key, outcome)

    return Stopping


def test_a_stopped_audit_goes_on_and_ends_with_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr("gradsiege.auditing.call.Parts", stopping(2))
        with pytest.raises(StoppedEarlyError):
            audited(resume=folder)
    finished = {
        path.parent.name: path.stat().st_mtime_ns for path in folder.glob("parts/*/manifest.json")
    }
    assert len(finished) == 2
    told: list[str] = []
    found = audited(resume=folder, tell=told.append)
    count = len(found.plan.running)
    assert f"2 of {count} attacks are finished already; the audit goes on" in told[0]
    again = {
        path.parent.name: path.stat().st_mtime_ns for path in folder.glob("parts/*/manifest.json")
    }
    assert finished.items() <= again.items()
    assert len(again) == len(found.plan.running)
    fresh = audited()
    pd.testing.assert_frame_equal(
        found.scores.table.drop(columns="seconds"), fresh.scores.table.drop(columns="seconds")
    )
    assert not list(folder.glob("parts/*.progress"))


def test_a_damaged_part_is_computed_again(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    budget = replace(BUDGET, rank=0)
    found = audited(resume=folder, budget=budget)
    part = next(folder.glob("parts/*/reconstructions.safetensors"))
    whole = part.read_bytes()
    part.write_bytes(whole[:-7])
    again = audited(resume=folder, budget=budget)
    assert part.read_bytes() == whole
    assert again.decibel == found.decibel


def test_another_audit_is_refused(tmp_path: Path) -> None:
    budget = replace(BUDGET, rank=0, pictures=2, iterations=1)
    audited(resume=tmp_path / "out", budget=budget)
    other = pictures(12, seed=3)[0]
    for changed, differing in (
        ({"seed": 1}, "its seed differs"),
        ({"images": other, "seed": 1}, "its pictures and seed differ"),
        ({"defenses": [Nothing()]}, "its defenses differ"),
        ({"training": replace(ONE, learning_rate=0.2)}, "its training differs"),
    ):
        with pytest.raises(ArtifactError, match=f"holds another audit: {differing}"):
            audited(resume=tmp_path / "out", budget=budget, **changed)
    artifacts.write_json(tmp_path / "out" / "plan.json", {"identity": "of an older version"})
    artifacts.write_manifest(tmp_path / "out", {}, ["plan.json"])
    with pytest.raises(ArtifactError, match="holds another audit: another version made it"):
        audited(resume=tmp_path / "out", budget=budget)


def test_the_size_of_a_plan_is_kept_over_an_interruption(tmp_path: Path) -> None:
    budget = replace(BUDGET, rank=0, pictures=2, iterations=1)
    first = audited(resume=tmp_path / "out", budget=budget)
    told: list[str] = []
    second = audited(resume=tmp_path / "out", budget=budget, tell=told.append)
    assert told[0].endswith(f"{len(first.plan.running)} attacks are finished already")
    assert first.plan.size == second.plan.size


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    before = stat.S_IMODE(tmp_path.stat().st_mode)
    with pytest.raises(UsageError, match="thesis"):
        gs.audit(**arguments(resume=tmp_path))
    assert stat.S_IMODE(tmp_path.stat().st_mode) == before


def test_everything_is_its_owners_alone(saved: Path) -> None:
    for path in (saved, *saved.rglob("*")):
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def test_git_sees_nothing_of_an_audit(saved: Path, tmp_path: Path) -> None:
    assert (saved / ".gitignore").read_text() == "*\n"
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    found = audited(resume=tmp_path / "audit", budget=SHORT)
    found.save(tmp_path / "audit")
    found.save(tmp_path / "audit")  # the audit's own folder is taken again
    status = ["git", "-C", str(tmp_path), "status", "--porcelain", "--untracked-files=all"]
    assert subprocess.run(status, check=True, capture_output=True, text=True).stdout == ""


def test_a_gitignore_of_the_user_stays(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("mine\n")
    private_folder(tmp_path)
    assert (tmp_path / ".gitignore").read_text() == "mine\n"


def test_parts_are_their_owners_alone_while_the_audit_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    monkeypatch.setattr("gradsiege.auditing.call.Parts", stopping(1))
    with pytest.raises(StoppedEarlyError):
        audited(resume=folder, budget=SHORT)
    inside = [folder, *filter(Path.is_dir, folder.glob("parts")), *folder.glob("parts/*")]
    assert any(path.suffix == ".progress" for path in inside)
    for path in inside:
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
    assert stat.S_IMODE((folder / ".gitignore").stat().st_mode) == 0o600


def test_pictures_are_withheld_with_all_that_shows_them(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    budget = replace(BUDGET, rank=0, pictures=2, iterations=1)
    found = audited(resume=folder, budget=budget)
    assert list(folder.glob("parts/*/*.safetensors"))
    page = found.save(folder, pictures=False)
    assert not list(folder.rglob("*.safetensors"))
    assert "<img" not in page.read_text()
    assert "withheld" in page.read_text()

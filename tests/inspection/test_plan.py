"""`gradsiege plan`: counts that are right, hours that are measured, and nothing slow."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from gradsiege import artifacts
from gradsiege.errors import ArtifactError
from gradsiege.inspection import plan, verify
from gradsiege.inspection.planning import work
from gradsiege.pipeline import runner
from gradsiege.pipeline.cells import cells
from gradsiege.pipeline.jobs import Job
from gradsiege.study import Study, parse

Finished = tuple[Study, Path]
Raw = dict[str, Any]


def table(text: str) -> dict[str, dict[str, str]]:
    """Read the table of a plan back: stage -> column -> text."""
    lines = [line for line in text.splitlines() if line]
    start = next(place for place, line in enumerate(lines) if line.startswith("stage "))
    heads = lines[start].replace("hours left", "hours_left").split()
    rows = [line.split() for line in lines[start + 1 :] if len(line.split()) == len(heads)]
    return {row[0]: dict(zip(heads, row, strict=True)) for row in rows}


def test_nothing_run_yet(tiny: Study, tmp_path: Path) -> None:
    text = plan(tiny, tmp_path)
    assert text.startswith("study tiny: 20 cells, 0 done (0 of them failed)")
    assert "Work left: unknown, since no job was measured yet; docs/ARTIFACT.md" in text
    assert "Disk: unknown, since no cell is there yet." in text
    stages = table(text)
    assert stages["attack"] == {
        "stage": "attack",
        "cells": "8",
        "jobs": "1",
        "finished": "0",
        "failed": "0",
        "broken": "0",
        "stale": "0",
        "damaged": "0",
        "missing": "8",
        "absent": "0",
        "seconds/cell": "-",
        "hours_left": "unknown",
    }
    assert "shadow" not in stages, "no defense of the study needs it"
    assert not list(tmp_path.iterdir())


def test_all_done(finished_study: Finished) -> None:
    study, root = finished_study
    text = plan(study, root)
    assert text.startswith("study tiny: 20 cells, 20 done (0 of them failed)")
    assert all(row["cells"] == row["finished"] for row in table(text).values())
    assert "Work left: about 0.00 hours" in text
    assert "CPU" in next(line for line in text.splitlines() if line.startswith("Work left"))


def test_states_are_told_apart(study_copy: Finished) -> None:
    study, root = study_copy
    folders = [cell.folder(study, root) for cell in cells(study)["attack"]]
    for folder, change in zip(folders, ("failed", "stale", "damaged", "missing"), strict=False):
        path = folder / artifacts.MANIFEST
        manifest = artifacts.read_manifest(path.parent)
        if change == "missing":
            path.unlink()
        elif change == "damaged":
            path.write_text("{")
        else:
            manifest |= {"status": "failed"} if change == "failed" else {"digest": "other"}
            path.write_text(json.dumps(manifest))
    row = table(plan(study, root))["attack"]
    states = ("finished", "failed", "stale", "damaged", "missing")
    assert [row[state] for state in states] == ["4", "1", "1", "1", "1"]


def test_a_cell_whose_job_failed_is_shown_with_its_log(
    tiny: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(job: Job) -> None:
        raise ArtifactError("planted")

    first, second = cells(tiny)["attack"][:2]
    runner.staged([first], tiny, tmp_path, None, fail)
    runner.note_of(second, tiny, tmp_path).write_text("its process died, the 1. time\n")
    text = plan(tiny, tmp_path)
    row = table(text)["attack"]
    assert (row["failed"], row["broken"], row["missing"]) == ("0", "1", "7")
    log = runner.log_of(first, tiny, tmp_path)
    assert "planted" in log.read_text()
    assert f"attack {first.key}: its last job failed (ArtifactError); read {log}" in text
    report, sound = verify(tiny, tmp_path, stages=["attack"])
    assert not sound
    assert ", 7 missing, 1 broken;" in report
    assert f"read {log}" in report
    died = runner.log_of(second, tiny, tmp_path)
    assert f"{second.key}: it runs now, or its process died; read {died}" in report


def set_seconds(root: Path, stage: str, seconds: float) -> None:
    for path in root.glob(f"results/*/{stage}/**/{artifacts.MANIFEST}"):
        manifest = artifacts.read_manifest(path.parent)
        path.write_text(json.dumps(manifest | {"seconds": seconds}))


def test_hours_are_those_of_finished_jobs(study_copy: Finished) -> None:
    study, root = study_copy
    set_seconds(root, "attack", 3600.0)
    for cell in cells(study)["attack"][:2]:
        shutil.rmtree(cell.folder(study, root))
    attack_row = table(plan(study, root))["attack"]
    assert attack_row["seconds/cell"] == "3600.0"
    assert attack_row["hours_left"] == "2.00"


def test_hours_grow_with_the_budget(study_copy: Finished, tiny_raw: Raw) -> None:
    """A study with ten times the evaluations takes its rates from the one that was run."""
    _, root = study_copy
    set_seconds(root, "attack", 3600.0)
    tiny_raw["study"] = "larger"
    for attack in tiny_raw["attacks"]:
        attack["iterations"] = 59
    tiny_raw["victims"] = 4
    larger = parse(tiny_raw)
    attack_row = table(plan(larger, root))["attack"]
    # 8 cells of one hour, ten times the evaluations, twice the victims.
    assert attack_row["hours_left"] == "160.00"
    tiny_raw["attacks"][0]["restarts"] = 2
    assert table(plan(parse(tiny_raw), root))["attack"]["hours_left"] == "240.00"


def test_what_was_never_measured_is_unknown(study_copy: Finished) -> None:
    study, root = study_copy
    shutil.rmtree(root / "results" / "tiny" / "federate")
    text = plan(study, root)
    assert table(text)["federate"]["hours_left"] == "unknown"
    assert "without federate (never measured)" in text


def test_old_manifests_are_passed_over(study_copy: Finished, tiny_raw: Raw) -> None:
    _, root = study_copy
    for path in root.glob(f"results/*/*/**/{artifacts.MANIFEST}"):
        path.write_text('{"files": {}, "settings": {}, "seconds": 1}')
    tiny_raw["study"] = "other"
    assert "no job was measured yet" in plan(parse(tiny_raw), root)


def test_attacks_that_a_threat_model_refuses_are_announced(tiny_raw: Raw, tmp_path: Path) -> None:
    tiny_raw["threat_models"].append({"id": "narrow", "auxiliary": False})
    text = plan(parse(tiny_raw), tmp_path)
    assert "Will be refused: gi_pip under narrow, which does not grant prior:autoencoder" in text
    assert "inverting_gradients under" not in text


def test_the_announced_remedy_is_one(tiny_raw: Raw, tmp_path: Path) -> None:
    tiny_raw["threat_models"].append({"id": "narrow", "auxiliary": False})
    remedy = "give the attack 'only: {threat_model: [labels_inferred]}'"
    assert remedy in plan(parse(tiny_raw), tmp_path)
    tiny_raw["attacks"][1]["only"] = {"threat_model": ["labels_inferred"]}
    assert "Will be refused" not in plan(parse(tiny_raw), tmp_path)


def test_a_counter_that_needs_more_than_the_disclosure_is_announced(
    tiny_raw: Raw, tmp_path: Path
) -> None:
    tiny_raw["defenses"].append("dp_sgd")
    tiny_raw["threat_models"].append({"id": "narrow", "disclosure": True, "protocol": False})
    tiny_raw["attacks"][0]["counter"] = "dp_sgd.likelihood"
    text = plan(parse(tiny_raw), tmp_path)
    refused = "inverting_gradients-dp_sgd.likelihood under narrow, which does not grant protocol."
    assert f"Will be refused: {refused}" in text


def test_units_of_work(tiny: Study) -> None:
    from gradsiege.pipeline.cells import settings

    attack = settings(cells(tiny)["attack"][0], tiny)
    kind, units = work("attack", attack, updates=2)
    assert units == (5 + 1) * 2
    assert json.loads(kind)["attack"] == "inverting_gradients"
    _, units = work("federate", settings(cells(tiny)["federate"][0], tiny), updates=1)
    assert units == 3 * 48 * 0.5


def test_ten_thousand_cells_are_planned_in_seconds(tiny_raw: Raw, tmp_path: Path) -> None:
    tiny_raw["seeds"] = list(range(20))
    tiny_raw["defenses"] = [
        {"name": "gaussian", "sweep": {"sigma": [i / 1e3 for i in range(1, 41)]}}
    ]
    tiny_raw["attacks"] = [
        {"id": f"a{i}", "name": "inverting_gradients", "iterations": i + 1} for i in range(5)
    ]
    start = time.process_time()
    text = plan(parse(tiny_raw), tmp_path)
    assert int(table(text)["attack"]["cells"]) == 8000
    assert time.process_time() - start < 10


@pytest.mark.parametrize("seconds", [0.0, 1e-9])
def test_a_job_that_took_no_time(seconds: float, study_copy: Finished) -> None:
    study, root = study_copy
    set_seconds(root, "score", seconds)
    shutil.rmtree(cells(study)["score"][0].folder(study, root))
    assert table(plan(study, root))["score"]["hours_left"] == "0.00"


def test_jobs_are_the_shards_that_snakemake_cuts(tiny: Study, tmp_path: Path) -> None:
    assert "20 cells, 0 done (0 of them failed); 6 jobs of up to 60 estimated minutes" in plan(
        tiny, tmp_path
    )
    alone = table(plan(tiny, tmp_path, 0))
    assert all(row["jobs"] == row["cells"] for row in alone.values())


def test_disk_is_that_of_the_files(study_copy: Finished, tiny_raw: Raw) -> None:
    study, root = study_copy
    names = [
        path
        for cell in [c for of in cells(study).values() for c in of]
        for path in cell.files(study, root)
    ]
    held = sum(path.stat().st_size for path in names if path.name != artifacts.MANIFEST)
    assert f"Disk: about {held / 1e9:.2f} GB when finished" in plan(study, root)
    for path in root.glob(f"results/*/attack/**/{artifacts.MANIFEST}"):
        manifest = artifacts.read_manifest(path.parent)
        manifest["files"]["trace.parquet"]["bytes"] = 10**9
        path.write_text(json.dumps(manifest))
    # Eight attacks of one gigabyte; another study, three times as large, goes by their mean.
    assert "Disk: about 8.0" in plan(study, root)
    tiny_raw |= {"study": "larger", "seeds": [0, 1, 2]}
    assert "Disk: about 24.0" in plan(parse(tiny_raw), root)

"""Options that do not fit are refused before anything is touched: numbers, folders, devices, engines."""

from __future__ import annotations

import math
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import typer
from command_line import ATTACK, COMMANDS, Finished, Verb

from gradsiege import cli
from gradsiege.cli import auditing
from gradsiege.errors import (
    ArtifactError,
)
from gradsiege.pipeline.stage import STAGES


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["fetch"],
        ["fetch", "photos", "--nonsense"],
        ["fetch", "photos", "--time-budget", "soon"],
    ],
)
def test_wrong_use_is_2(arguments: list[str], verb: Verb) -> None:
    assert verb(*arguments) == 2


@pytest.mark.parametrize(
    ("verb_name", "option"),
    [
        ("fetch", "--time-budget"),
        ("attack", "--time-budget"),
        ("plan", "--shard-minutes"),
        ("mend", "--cores"),
    ],
)
@pytest.mark.parametrize("value", ["-5", "nan", "inf", "-inf", "1e400", "soon"])
def test_a_number_without_sense_is_refused_with_its_option(
    verb_name: str, option: str, value: str, verb: Verb, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = ["photos"] if verb_name in STAGES else []
    assert verb(verb_name, *cell, f"{option}={value}") == 2
    assert option in capsys.readouterr().err


def test_every_number_among_the_options_is_bounded() -> None:
    bounded = set()
    for registered in cli.app.registered_commands:
        assert registered.callback
        for name, kind in get_type_hints(registered.callback, include_extras=True).items():
            types = {*get_args(get_args(kind)[0]), get_args(kind)[0]} if get_args(kind) else set()
            if not types & {int, float}:
                continue
            option = get_args(kind)[1]
            bounded.add(name)
            # The bounds of typer let nan pass, and do not show what was given.
            for value in (math.nan, math.inf, -1.0):
                with pytest.raises(typer.BadParameter):
                    option.callback(value)
    audited = {"size", "classes", "client_pictures", "learning_rate", "seed"}
    assert bounded == {"time_budget", "shard_minutes", "cores", *audited}
    with pytest.raises(typer.BadParameter):
        auditing.counts([1, 0])


@pytest.mark.parametrize("name", COMMANDS)
def test_a_root_that_is_not_there_is_no_study_that_lost_everything(
    name: str, verb: Verb, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if all(parameter.name != "root" for parameter in COMMANDS[name].params):
        return
    assert (
        verb(name, *(["x"] if name in (*STAGES, "publish") else []), "--root", tmp_path / "gone")
        == 2
    )
    message = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert "is not a folder; name the one that holds results/" in message
    assert not (tmp_path / "gone").exists()


def test_download_into_a_place_that_takes_no_folders_is_one_sentence(
    verb: Verb, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    for place in (Path("/proc/gradsiege"), tmp_path / "file"):
        assert verb("download", "cifar10", "--to", place) == ArtifactError.exit_code
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith("gradsiege: error: ")
        assert str(place) in last


WRONG = {
    "unknown device": ("--device", "gpu", "device 'gpu' is not there; choose one of auto, cpu"),
    "no GPU": ("--device", "cuda", "device 'cuda' is not there; choose one of auto, cpu"),
    "no such GPU": (
        "--device",
        "cuda:99",
        "device 'cuda:99' is not there; choose one of auto, cpu",
    ),
    "unknown engine": ("--engine", "fast", "unknown engine 'fast'; choose one of measured, loop"),
    "engine of a GPU": ("--engine", "cuda_graph", "engine 'cuda_graph' runs on a GPU alone"),
    "other engine of a GPU": ("--engine", "cuda_graph_vmap", "runs on a GPU alone"),
}


@pytest.mark.parametrize("by", ["option", "environment", "shard"])
@pytest.mark.parametrize("sort", WRONG)
def test_a_device_or_engine_that_is_not_there_is_one_sentence_and_touches_nothing(
    sort: str,
    by: str,
    verb: Verb,
    finished_study: Finished,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import torch

    _, root = finished_study
    option, value, sentence = WRONG[sort]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    given = [option, value]
    if by == "environment":
        monkeypatch.setenv(option.replace("--", "GRADSIEGE_").upper(), value)
        given = []
    staged = ["--staged"] if by == "shard" else []
    common = ("--study", root / "tiny.yaml", "--root", root)
    assert verb("attack", ATTACK, *common, *given, *staged) == 2
    (message,) = capsys.readouterr().err.splitlines()
    assert message.startswith("gradsiege: error: ")
    assert sentence in message
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_no_other_verb_takes_a_device_or_an_engine() -> None:
    """One that begins to must check it as `attack` does; `audit` is tested in tests/audit/test_audit_refusals.py."""
    takes = {
        name
        for name, command in COMMANDS.items()
        for parameter in command.params
        if parameter.name in ("device", "engine")
    }
    assert takes == {"attack", "audit"}

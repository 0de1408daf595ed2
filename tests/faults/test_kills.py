"""Kill -9 at random moments of every stage: nothing half-written is believed, and the study ends with the same bytes."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from faults import COMMANDS, Change, Place, save_often, slow_disk, very_slow_disk

from gradsiege.pipeline.cells import digest, parse_key
from gradsiege.pipeline.places import draft_of
from gradsiege.pipeline.runner import DEATHS
from gradsiege.study import load

# Kills of each stage; there are eight, and the shards.
KILLS = 14
RESUMED = ("prior", "shadow", "federate", "attack")


# Every other child saves its progress at each step to a slow disk, so that kills meet files that are being written.
def modes(stage: str) -> tuple[tuple[Change, ...], ...]:
    return ((), (save_often, slow_disk if stage in RESUMED else very_slow_disk))


def kill_again_and_again(
    place: Place,
    command: list[str],
    chance: random.Random,
    check: Callable[[], None],
    kills: int = KILLS,
) -> None:
    """Start a command and kill it, until so many died, and one of them with progress to go on from where there is any."""
    changes = modes(command[0])
    undisturbed = []
    for one in changes:
        end = place.run(*command, changes=one)
        assert end.code == 0, end.said
        undisturbed.append(end)
        check()
    died = started = left = 0
    while died < kills or (command[0] in RESUMED and not left):
        mode = started % len(changes)
        moment = chance.uniform(0, undisturbed[mode].seconds)
        end = place.start(*command, changes=changes[mode]).kill_after(moment)
        started += 1
        assert started < 5 * kills, "it ends before it can be killed, or saves no progress"
        assert end.killed or end.code == 0, end.said
        died += end.killed
        left += any((place.root / "scratch").glob("*/checkpoint.safetensors"))
        check()
    print(f", {died} of {started} killed, {left} with progress", end="")


@pytest.mark.parametrize("stage", COMMANDS)
def test_a_stage_that_is_killed_ends_with_the_same_bytes(
    stage: str, copied: Callable[[str], Place], chance: random.Random
) -> None:
    place = copied(stage)
    before = place.prints()

    def check() -> None:
        assert place.torn() == []
        found = place.prints()
        if stage == "publish":
            # Figures have no manifests: what has its name is whole.
            visible = {name: digest for name, digest in found.items() if not is_hidden(name)}
            assert visible == before

    kill_again_and_again(place, COMMANDS[stage], chance, check)
    end = place.run(*COMMANDS[stage])
    assert end.code == 0, end.said
    assert place.prints() == before
    assert place.torn() == []
    assert place.remains() == []


def is_hidden(name: str) -> bool:
    return Path(name).name.startswith(".")


def test_a_shard_that_is_killed_ends_with_the_same_bytes(
    copied: Callable[[str], Place], chance: random.Random
) -> None:
    """Two attacks in one process, as Snakemake starts them: what was finished before the kill is kept."""
    place = copied("shard")
    study = load(place.file)
    keys = [
        COMMANDS["attack"][1].replace("gaussian", defense) for defense in ("gaussian", "shadow")
    ]
    pair = [parse_key("attack", key, study) for key in keys]
    before = place.prints()
    finished = {cell: cell.folder(study, place.root) for cell in pair}
    results = {cell: place.prints_of(folder) for cell, folder in finished.items()}
    for folder in finished.values():
        shutil.rmtree(folder)
    staged = place.root / "scratch/staged"

    def check() -> None:
        assert place.torn() == []
        for note in staged.rglob("*.failed"):
            if f"the {DEATHS}. time" in note.read_text():
                # It was not the cell's fault; what the log says to do.
                note.unlink()
        done = [draft_of(cell, study, place.root) / "manifest.json" for cell in pair]
        if all(path.exists() for path in done):
            # All was finished, in several lives: begin again.
            shutil.rmtree(staged)

    kill_again_and_again(place, ["attack", *keys, "--staged"], chance, check, kills=8)
    end = place.run("attack", *keys, "--staged")
    assert end.code == 0, end.said
    for cell in pair:
        folder = draft_of(cell, study, place.root)
        assert place.prints_of(folder) == results[cell]
        shutil.copytree(folder, finished[cell])
    assert place.prints() == before
    assert not list(staged.rglob("*.failed"))
    assert not [
        path for cell in pair for path in (place.root / "scratch").glob(digest(cell, study))
    ]

"""Every file of every stage, damaged: readers and `verify` name it, and when its folder is made again all is as it was."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from faults import COMMANDS, Place

from gradsiege import artifacts

STAGES = [stage for stage in COMMANDS if stage != "publish"]
# Who reads a file of a stage first, where it is not the next one in `COMMANDS`; nobody reads what is kept for choosing settings.
READERS = {
    "fetch/aux.safetensors": "prior",
    "fetch/public.safetensors": "shadow",
    "fetch/train.safetensors": "federate",
    "fetch/test.safetensors": "score",
    "fetch/victims.safetensors": "observe",
    "fetch/card.json": "publish",
    "fetch/manifest.json": "prior",
    "prior/prior.safetensors": "attack",
    "prior/manifest.json": "attack",
    "shadow/shadow.safetensors": "federate",
    "shadow/manifest.json": "federate",
    "federate/late.safetensors": "observe",
    "federate/utility.parquet": "publish",
    "federate/manifest.json": "observe",
    "observe/observation.safetensors": "attack",
    "observe/truth.safetensors": "score",
    "observe/explanation.safetensors": "publish",
    "observe/manifest.json": "attack",
    "attack/reconstructions.safetensors": "score",
    "attack/manifest.json": "score",
    "score/scores.parquet": "publish",
    "score/pictures.safetensors": "publish",
    "score/manifest.json": "publish",
}
UNREAD = {
    "fetch/tune.safetensors",
    "prior/card.json",
    "shadow/card.json",
    "federate/early.safetensors",
    "federate/untrained.safetensors",
    "attack/trace.parquet",
}


def flipped(content: bytes, chance: random.Random) -> bytes:
    """One bit is another; of JSON one that makes a difference to who reads it."""
    while True:
        place = chance.randrange(len(content))
        damaged = bytearray(content)
        damaged[place] ^= 1 << chance.randrange(8)
        if not content.startswith(b"{\n") or meaning(bytes(damaged)) != meaning(content):
            return bytes(damaged)


def meaning(content: bytes) -> object:
    try:
        return json.loads(content)
    except ValueError:
        return None


DAMAGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "one bit": flipped,
    "one byte short": lambda content, chance: content[:-1],
    "cut": lambda content, chance: content[: chance.randrange(1, len(content) - 1)],
    "empty": lambda content, chance: b"",
}


def named(place: Place) -> dict[str, Path]:
    """The files of one cell of each stage, such as ``fetch/aux.safetensors``."""
    return {f"{stage}/{path.name}": path for stage in STAGES for path in place.outputs(stage)}


def command_of(name: str) -> list[str]:
    """The command that reads a file; the shadow generator is read by the defense that needs it alone."""
    command = COMMANDS[READERS[name]]
    return (
        [part.replace("gaussian", "shadow") for part in command] if "shadow/" in name else command
    )


def test_every_file_has_a_reader_or_none_on_purpose(undisturbed: Place) -> None:
    assert {*READERS, *UNREAD} == set(named(undisturbed))


def test_readers_refuse_what_is_damaged(
    copied: Callable[[str], Place], chance: random.Random
) -> None:
    place = copied("damaged")
    manifests = {path: path.read_bytes() for path in place.root.rglob(artifacts.MANIFEST)}
    for name in READERS:
        path = named(place)[name]
        content = path.read_bytes()
        sort = chance.choice([*DAMAGES])
        if path.name != artifacts.MANIFEST or sort != "one byte short":
            # The last byte of a manifest is the end of its line, and nobody misses that.
            path.write_bytes(DAMAGES[sort](content, chance))
            end = place.run(*command_of(name))
            assert end.code == 4, f"{name}, {sort}: {end.said}"
            assert str(path) in end.sentence()
            path.write_bytes(content)
        # The reader's own finished cell is as it was.
        assert {path: path.read_bytes() for path in manifests} == manifests


@pytest.mark.parametrize("sort", DAMAGES)
def test_verify_names_what_is_damaged(
    sort: str, copied: Callable[[str], Place], chance: random.Random
) -> None:
    place = copied("damaged")
    files = named(place)
    manifests = {name: path for name, path in files.items() if path.name == artifacts.MANIFEST}
    for chosen in (
        files.keys() - manifests.keys(),
        manifests.keys() if sort != "one byte short" else (),
    ):
        contents = {name: files[name].read_bytes() for name in sorted(chosen)}
        for name, content in contents.items():
            files[name].write_bytes(DAMAGES[sort](content, chance))
        end = place.run("verify")
        if contents:
            assert end.code == 4
        assert [name for name in contents if str(files[name]) not in end.said] == []
        for name, content in contents.items():
            files[name].write_bytes(content)
    assert place.run("verify").code == 0


def test_what_is_made_again_has_the_same_bytes(
    copied: Callable[[str], Place], chance: random.Random
) -> None:
    """One file of each stage is damaged; its folder is deleted, as the sentence says, and its stage run again."""
    place = copied("again")
    before = place.prints()
    for stage in STAGES:
        path = chance.choice(place.outputs(stage))
        path.write_bytes(flipped(path.read_bytes(), chance))
        shutil.rmtree(path.parent)
        end = place.run(*COMMANDS[stage])
        assert end.code == 0, end.said
    assert place.prints() == before
    assert place.run("verify").code == 0


@pytest.mark.parametrize("sort", ["one bit", "cut", "empty"])
@pytest.mark.parametrize("stage", ["prior", "shadow", "federate", "attack"])
def test_damaged_progress_costs_time_and_nothing_else(
    sort: str, stage: str, copied: Callable[[str], Place], chance: random.Random
) -> None:
    """A checkpoint has no manifest; one wrong bit in it must not go on in the result."""
    place = copied("progress")
    before = place.prints()
    assert place.run(*COMMANDS[stage], "--time-budget", "0").code == 75
    (path,) = (place.root / "scratch").glob("*/checkpoint.safetensors")
    path.write_bytes(DAMAGES[sort](path.read_bytes(), chance))
    end = place.run(*COMMANDS[stage])
    assert end.code == 0, end.said
    assert place.prints() == before

"""Clocks that jump: manifests stay sensible, bytes the same, and old or future files are read like others."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from faults import COMMANDS, Place, clock_off_by

from gradsiege import artifacts

YEARS = 10 * 365.25 * 86400.0


@pytest.mark.parametrize("first", [YEARS, -YEARS], ids=["set back", "set forward"])
@pytest.mark.parametrize("stage", ["prior", "federate", "attack"])
def test_a_clock_that_is_set_between_save_and_resume(
    stage: str, first: float, copied: Callable[[str], Place]
) -> None:
    """The job begins under a clock that is ten years wrong, is stopped, and goes on after the clock was set."""
    place = copied("clock")
    before = place.prints()
    stopped = place.run(*COMMANDS[stage], "--time-budget", "0", changes=(clock_off_by(first),))
    assert stopped.code == 75, stopped.said
    end = place.run(*COMMANDS[stage])
    assert end.code == 0, end.said
    (folder,) = {path.parent for path in place.outputs(stage)}
    manifest = artifacts.read_manifest(folder)
    assert manifest["ended"] >= manifest["started"] + manifest["seconds"]
    assert 0 < manifest["seconds"] < 600
    assert place.prints() == before
    assert place.run("verify").code == 0


@pytest.mark.parametrize("moment", [0.0, 4_000_000_000.0], ids=["1970", "2096"])
def test_files_of_another_time_are_read_like_others(
    moment: float, copied: Callable[[str], Place]
) -> None:
    place = copied("times")
    report = "faults/report.html"  # it tells how long scoring took
    before = {name: found for name, found in place.prints().items() if name != report}
    for path in place.root.rglob("*"):
        os.utime(path, (moment, moment))
    end = place.run("verify")
    assert end.code == 0, end.said
    for stage in ("score", "publish"):
        end = place.run(*COMMANDS[stage])
        assert end.code == 0, end.said
    assert before.items() <= place.prints().items()

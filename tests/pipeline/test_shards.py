"""Shards: every cell once, with cells of its kind, in shards of the size that was asked for."""

from __future__ import annotations

from typing import Any

import pytest

from gradsiege.pipeline import workload
from gradsiege.pipeline.cells import cells, digest
from gradsiege.pipeline.shards import LEAST_SECONDS, PARTS, after, shards
from gradsiege.pipeline.stage import STAGES
from gradsiege.study import Study, parse

Raw = dict[str, Any]


@pytest.fixture
def wide(tiny_raw: Raw) -> Study:
    tiny_raw["seeds"] = [0, 1, 2]
    tiny_raw["models"].append("convnet")
    return parse(tiny_raw)


@pytest.mark.parametrize("minutes", [0, 0.05, 0.2, 1000])
def test_every_cell_is_in_one_shard_with_its_own_kind(wide: Study, minutes: float) -> None:
    for stage, of_stage in cells(wide).items():
        found = shards(of_stage, wide, minutes)
        assert sorted(cell for shard in found for cell in shard.cells) == sorted(of_stage)
        assert len({shard.name for shard in found}) == len(found)
        for shard in found:
            shared = {tuple(getattr(c, name) for name in STAGES[stage].shares) for c in shard.cells}
            assert len(shared) == 1


def test_shards_are_about_as_long_as_asked(wide: Study) -> None:
    attacks = cells(wide)["attack"]
    each = workload.seconds(attacks[0], wide)
    limit = 2.5 * each
    for shard in shards(attacks, wide, limit / 60):
        spent = sum(workload.seconds(cell, wide) for cell in shard.cells)
        assert spent <= limit + each
    assert {len(shard.cells) for shard in shards(attacks, wide, 0)} == {1}


def test_short_cells_of_several_federations_share_a_process(wide: Study) -> None:
    """Two training stages and two attacks on each of twelve federations, six of each network."""
    attacks = cells(wide)["attack"]
    assert [len(shard.cells) for shard in shards(attacks, wide, 1000)] == [24, 24]


def test_long_work_is_cut_for_several_processes(
    wide: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    attacks = cells(wide)["attack"]
    monkeypatch.setattr(workload, "seconds", lambda cell, study: LEAST_SECONDS)
    assert [len(shard.cells) for shard in shards(attacks, wide, 1000)] == [24 // PARTS] * 2 * PARTS


def test_a_shard_has_another_name_when_the_science_of_a_cell_changes(tiny_raw: Raw) -> None:
    def names() -> set[str]:
        study = parse(tiny_raw)
        return {shard.name for shard in shards(cells(study)["attack"], study, 1000)}

    before = names()
    tiny_raw["description"] = "in other words"
    assert names() == before
    tiny_raw["attacks"][0]["iterations"] = 6
    assert not names() & before


def test_what_waits_for_a_broken_cell_waits_alone(wide: Study) -> None:
    found = cells(wide)
    broken = found["attack"][0]
    alone = after([digest(broken, wide)], found, wide)
    assert alone == {broken, broken.at("score")}
    assert after([], found, wide) == set()
    cut = shards(found["score"], wide, 1000, alone)
    assert sorted(len(shard.cells) for shard in cut) == [1, 11, 12]
    assert sum(broken.at("score") in shard.cells for shard in cut) == 1

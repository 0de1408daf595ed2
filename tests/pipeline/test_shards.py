"""Shards: every cell once, with cells of its kind, in shards of the size that was asked for."""

from __future__ import annotations

from typing import Any

import pytest

from gradsiege.pipeline import workload
from gradsiege.pipeline.cells import Cell, cells, digest, upstream
from gradsiege.pipeline.chains import seconds_behind, urgency
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
    part = 24 // PARTS
    of_network = [part] * (PARTS - 1) + [part // 2] * 2
    assert [len(shard.cells) for shard in shards(attacks, wide, 1000)] == 2 * of_network


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


@pytest.fixture
def searching(tiny_raw: Raw) -> Study:
    """Two defenses, one of which reads a shadow generator and searches; two attacks on all of them."""
    tiny_raw["defenses"] = ["none", {"name": "shadow", "parameters": {"latent_steps": 40}}]
    tiny_raw["attacks"] = [
        {key: value for key, value in attack.items() if key != "only"}
        for attack in tiny_raw["attacks"]
    ]
    tiny_raw.pop("exclude", None)
    return parse(tiny_raw)


@pytest.mark.parametrize("stage", ["federate", "observe"])
def test_cells_that_need_no_generator_do_not_wait_for_it(searching: Study, stage: str) -> None:
    cut = shards(cells(searching)[stage], searching, 1000)
    needing = [{cell.defense for cell in shard.cells} for shard in cut]
    assert sorted(needing, key=sorted) == [{"none"}, {"shadow"}]


def test_processes_start_with_different_attacks(
    wide: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lest all but one wait for the compiler of the same program; every cell is still in one shard."""
    monkeypatch.setattr(workload, "seconds", lambda cell, study: LEAST_SECONDS)
    attacks = [cell for cell in cells(wide)["attack"] if cell.model == "convnet"]
    cut = shards(attacks, wide, 1000)
    first = [shard.cells[0].attack for shard in cut]
    assert first == ["gi_pip", "inverting_gradients"] * (PARTS // 2) + ["gi_pip"]
    assert sorted(cell for shard in cut for cell in shard.cells) == sorted(attacks)


def test_the_search_of_a_defense_counts_as_work(searching: Study) -> None:
    plain, search = cells(searching)["federate"]
    dataset = searching.one("datasets", plain.dataset)
    # Half of a pass for each of 40 steps, in units of a 32-pixel image.
    searched = 20 * dataset.counts["train"] * (dataset.size / 32) ** 2
    assert workload.passes(search, searching) - workload.passes(plain, searching) == searched


def test_the_longest_chain_is_the_most_urgent(searching: Study) -> None:
    """Images, generator, defended federation, observation, attack, score: whatever is on this path comes first."""
    every = cells(searching)

    def seconds(cell: Cell) -> float:
        return workload.seconds(cell, searching)

    behind = seconds_behind(every, seconds, lambda cell: upstream(cell, searching))
    plain, search = every["federate"]
    (generator,) = every["shadow"]
    assert urgency([search], behind, seconds) > urgency([plain], behind, seconds)
    assert urgency([generator], behind, seconds) > urgency([search], behind, seconds)
    assert {behind[cell] for cell in every["score"]} == {0.0}
    attack = every["attack"][0]
    assert behind[attack] == seconds(attack.at("score"))
    longest = max(
        seconds(attack) + seconds(attack.at("score"))
        for attack in every["attack"]
        if attack.at("observe") == every["observe"][0]
    )
    assert behind[every["observe"][0]] == longest

"""The table of stages: what a stage is said to read is what its cells wait for, and what earlier stages write."""

from __future__ import annotations

from typing import Any

import pytest

from gradsiege.pipeline.cells import cells, upstream
from gradsiege.pipeline.stage import PUBLISHED, STAGES, names_read
from gradsiege.study import Study, parse


@pytest.fixture
def with_shadow(tiny_raw: dict[str, Any]) -> Study:
    tiny_raw["defenses"].append("shadow")
    tiny_raw["tuning"] = {}
    return parse(tiny_raw)


def test_the_cells_that_a_stage_waits_for_are_of_the_stages_that_it_reads(
    with_shadow: Study,
) -> None:
    for name, of_stage in cells(with_shadow).items():
        waited = {other.stage for cell in of_stage for other in upstream(cell, with_shadow)}
        assert waited == set(STAGES[name].reads), name


@pytest.mark.parametrize("reader", [*STAGES, "publish"])
def test_what_is_read_is_written_by_an_earlier_stage(reader: str) -> None:
    order = list(STAGES)
    reads = PUBLISHED if reader == "publish" else STAGES[reader].reads
    for stage in reads:
        assert reader == "publish" or order.index(stage) < order.index(reader)
        for file in names_read(reader, stage):
            written = {file.format(training_stage=one) for one in ("untrained", "early", "late")}
            assert written <= set(STAGES[stage].outputs), (reader, file)


def test_no_attack_is_given_a_truth() -> None:
    assert STAGES["attack"].reads.keys() == {"fetch", "prior", "observe"}
    assert names_read("attack", "fetch") == ("aux.safetensors",)
    assert names_read("attack", "observe") == ("observation.safetensors",)


def test_what_a_shard_shares_are_ids_of_its_cells() -> None:
    for stage in STAGES.values():
        assert set(stage.shares) <= set(stage.fields)


def test_of_a_stage_that_publish_does_not_list_it_reads_all() -> None:
    assert names_read("publish", "score") == STAGES["score"].outputs

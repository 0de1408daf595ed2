"""Measured numbers in sentences of the pages are those of kept rows, or follow from the rule that the sentence names."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
import yaml
from code_blocks import ROOT, blocks

from benchmarks import costs_table, generic_table, labels_table, settings_table
from benchmarks.generic import ROWS as GENERIC_ROWS
from benchmarks.markers import by_hand
from gradsiege.analysis.empirical_epsilon import empirical_epsilon
from gradsiege.analysis.rates import exact_limits, wilson_interval

PLANNED = json.loads((ROOT / "tests/study_digests.json").read_text(encoding="utf-8"))


def text_of(page: str) -> str:
    """A page as one line per paragraph would be: its own text, without made tables."""
    return " ".join(by_hand((ROOT / page).read_text(encoding="utf-8")).split())


def test_made_tables_are_current() -> None:
    for file, page in (
        (costs_table.PAGE, costs_table.page),
        (settings_table.PAGE, settings_table.page),
    ):
        text = file.read_text(encoding="utf-8")
        assert page(text) == text, file


def test_every_table_of_the_appendix_has_its_rows_and_no_row_is_left_over() -> None:
    made = costs_table.made()
    for row in [*costs_table.durations(), *costs_table.sizes()]:
        assert row.what.removeprefix(costs_table.STAGE) in made
    studies = {row.what for row in costs_table.durations() if row.what.endswith(".yaml`")}
    assert {name.strip("`") for name in studies} <= set(PLANNED) == set(costs_table.needs())


def test_the_newest_of_two_sizes_counts() -> None:
    old = costs_table.Size("x", "disk", "1", "GB", "a", "2026-01-01")
    new = costs_table.Size("x", "disk", "2", "GB", "b", "2026-01-02")
    assert costs_table.size([old, new], "x", "disk") == "2 GB"
    assert costs_table.size([old], "x", "memory") == ""


def test_numbers_of_cells_are_those_of_the_plans() -> None:
    text = text_of("config/README.md")
    said = dict(re.findall(r"`(paper/\w+\.yaml)` \| [^|]*; ([\d,]+) cells", text))
    assert {name: int(count.replace(",", "")) for name, count in said.items()} == {
        name: round(PLANNED[name]["cells"], -3) for name in ("paper/tip.yaml", "paper/arena.yaml")
    }


@pytest.mark.parametrize("run", sorted((ROOT / "docs/results").glob("*/run.json")), ids=str)
def test_a_kept_page_counts_the_cells_of_its_record(run: Path) -> None:
    stages = json.loads(run.read_text(encoding="utf-8"))["stages"]
    count = sum(
        number for stage in stages.values() for name, number in stage.items() if name != "seconds"
    )
    said = re.findall(r"\b([\d,]{2,}) cells", run.with_name("README.md").read_text())
    assert set(said) <= {f"{count:,}"}


def test_the_appendix_counts_the_claims_of_the_ledger() -> None:
    ledger = yaml.safe_load((ROOT / "config/claims.yaml").read_text(encoding="utf-8"))
    (said,) = re.findall(r"(\d+) claims\b", text_of("docs/ARTIFACT.md"))
    assert int(said) == len(ledger["claims"])


def test_the_examples_are_seven_and_a_defense_has_thirty_lines() -> None:
    assert len([*(ROOT / "examples").glob("*.py")]) == 7
    for page in ("README.md", "docs/LIBRARY.md"):
        assert re.search(r"[Ss]even scripts of at most 25 lines", text_of(page))
    code = next(block.code for block in blocks() if "transform_update" in block.code)
    assert len(code.splitlines()) <= 30


def constant(file: str, pattern: str) -> int:
    """The number that a pattern finds in a test of faults, which cannot be imported from here."""
    (found,) = re.findall(pattern, (ROOT / "tests/faults" / file).read_text(), re.MULTILINE)
    return int(found)


def test_the_faults_page_counts_the_kills_of_its_tests() -> None:
    each = constant("test_kills.py", r"^KILLS = (\d+)")
    shards = constant("test_kills.py", r"kills=(\d+)\)")
    whole = constant("test_snakemake.py", r"^KILLS = (\d+)")
    assert (
        f"Each of the eight stages is killed {each} times at random moments, an attack in a shard {shards} times, "
        f"and a whole run of Snakemake {whole} times: {8 * each + shards + whole} kills at least"
    ) in text_of("docs/FAULTS.md")


def test_the_findings_on_the_generic_counter_are_those_of_its_rows() -> None:
    with GENERIC_ROWS.open(encoding="utf-8", newline="") as file:
        made = generic_table.table([*csv.DictReader(file)])
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in made.splitlines()]
    rows = {
        (defense, attack): (hand, generic, blind)
        for _, defense, attack, blind, hand, _, generic, _ in cells
    }
    findings = text_of("docs/GENERIC.md").partition("## Where it stays behind")[2]
    said = re.findall(r"(\d+\.\d) against (\d+\.\d)", findings)
    named = (
        *(("censor (as released)", "gaussian"), ("laplace", "pixels")),
        *(("laplace", "gaussian"), ("none", "gaussian")),
    )
    assert said == [(rows[key][1], rows[key][0] or rows[key][2]) for key in named]
    assert len(re.findall(r"\d\.\d", findings)) == 2 * len(said)


def labels() -> dict[tuple[str, str, str, str], dict[str, float]]:
    """The shares of labels that each rule finds, by batches, network, defense and arm."""
    lines = (ROOT / "benchmarks/labels.jsonl").read_text(encoding="utf-8").splitlines()
    rows = labels_table.newest([json.loads(line) for line in lines])
    keys = ("batches", "model", "defense", "arm")
    return {tuple(row[key] for key in keys): row["accuracy"] for row in rows}


def test_times_of_a_study_in_another_form_are_not_those_of_its_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        costs_table, "record", lambda name: {"attack": {"finished": 4, "seconds": 90}}
    )
    assert costs_table.jobs("gifd.yaml") == "2 min"
    assert not costs_table.is_of_another_form("gifd.yaml", 4)
    assert costs_table.is_of_another_form("gifd.yaml", 5)
    rows = costs_table.studies(costs_table.durations(), costs_table.sizes())
    assert all(row[3:] == [""] * 4 for row in rows)
    monkeypatch.setattr(costs_table, "record", lambda name: {})
    assert not costs_table.is_of_another_form("gifd.yaml", 5)


def test_the_sentences_on_labels_are_those_of_its_rows() -> None:
    found, text = labels(), text_of("docs/LABELS.md")
    four, two, plain = "four classes", "two of two", "faithful"
    few = [found[kind, "lenet", "none", plain]["automatic"] for kind in (four, two)]
    released = found["one image", "convnet", "censor", "as_released"]
    rows = found[four, "lenet", "tip_dp", plain]["row_sum"]
    dense = found[four, "densenet121", "dp_sgd", plain]["automatic"]
    for sentence in (
        f"In batches it finds {few[0]:.2f} (four classes) and {few[1]:.2f} (two of two) of the labels on `lenet`, and all on",
        f"row sums find {released['row_sum']:.2f} of the labels on `convnet`, and `automatic` {released['automatic']:.2f}.",
        f"row sums {rows:.2f} behind `tip_dp` on `lenet`, and `automatic` {dense:.2f} behind DP-SGD on `densenet121`.",
    ):
        assert sentence in text
    undefended = {key: value["automatic"] for key, value in found.items() if key[2] == "none"}
    assert all(
        value == 1
        for key, value in undefended.items()
        if key[:2] not in ((four, "lenet"), (two, "lenet"))
    )
    assert len({key[1] for key in undefended}) == 6
    private = [
        found["one image", model, name, plain]
        for _, model, name, _ in found
        if name in ("dp_sgd", "tip_dp")
    ]
    assert max(max(shares.values()) for shares in private) < 0.5


def test_sentences_on_what_so_few_can_show_follow_from_the_limits() -> None:
    share = wilson_interval(38, 40)
    assert (
        f"a share of 0.95 has a 95% interval from {share.low:.2f} to {share.high:.2f}"
        in text_of("docs/LABELS.md")
    )
    nobody = next(n for n in range(1, 99) if exact_limits([False] * n, range(n))[1] <= 0.1)
    assert f"that nobody is identified needs about {nobody} pictures" in text_of("docs/AUDIT.md")
    limits = [empirical_epsilon(n, n, n, level=0.975) for n in (8, 32)]
    said = f"cannot exceed that of n successes: {limits[0]:.1f} for 8, {limits[1]:.1f} for 32"
    assert said in text_of("docs/EVIDENCE.md")

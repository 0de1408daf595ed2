"""The tables kept in docs/results: every one of a recorded run, and every number in the prose beside them one of theirs."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from kept_pages import DECIMAL, KEPT, ROOT, STUDIES

from gradsiege.report.columns import IDENTIFIERS, MEASUREMENT, QUANTITIES
from gradsiege.report.save import columns_file

# A whole number with a unit, or alone in a cell; the level of an interval is none.
WHOLE = re.compile(
    r"(?<![\w.])\d+(?= (?:dB|points?)\b| %(?! (?:t )?interval)|; \d+ %)|(?<=\| )\d+(?= \|)"
)
SHARE = re.compile(r"\b(\w+) of (\w+)\b")
NAMES = ["none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
COUNTS = {name: count for count, name in enumerate(NAMES)}


def numbers(folder: Path) -> set[float]:
    """Return every number of the tables in a folder."""
    values = set()
    for table in folder.glob("*.csv"):
        with table.open(newline="") as lines:
            for row in csv.reader(lines):
                for field in row:
                    try:
                        values.add(float(field))
                    except ValueError:
                        continue
    return values


def stands(value: float, known: set[float], half: float) -> bool:
    """Whether some number rounds to a value, as it stands, without sign or in percent."""
    return any(abs(abs(number) * scale - value) <= half for number in known for scale in (1, 100))


def unfounded(prose: str, known: set[float], settings: str) -> list[str]:
    """Return the decimals, whole numbers with a unit and shares of a text that no table rounds to and no setting is.

    >>> unfounded("gains 4.7 dB, 61.5 % of 0.01; 9.9; 8 dB; one of eight", {4.651, 0.615}, "sigma: 0.01")
    ['9.9', '8', 'one of eight']
    """
    missing = []
    for text in [*DECIMAL.findall(prose), *WHOLE.findall(prose)]:
        half = 0.500001 * 10.0 ** -len(text.partition(".")[2])
        set_to = {text, f"{text}.0"} & set(DECIMAL.findall(settings))
        if not set_to and not stands(abs(float(text)), known, half):
            missing.append(text)
    return missing + [text for text, share in shares(prose) if not stands(share, known, 5e-4)]


def shares(prose: str) -> Iterator[tuple[str, float]]:
    """Yield (words, share) for every "three of eight" of a text.

    >>> list(shares("3 of 8 or one of four, none of it"))
    [('3 of 8', 0.375), ('one of four', 0.25)]
    """
    for found in SHARE.finditer(prose):
        part, whole = (COUNTS.get(word, word) for word in found.groups())
        if str(part).isdigit() and str(whole).isdigit():
            yield found[0], int(part) / int(whole)


@pytest.mark.parametrize("study", STUDIES)
def test_every_number_of_the_prose_stands_in_a_table(study: str) -> None:
    folder = KEPT / study
    settings = (ROOT / "config" / f"{study}.yaml").read_text()
    assert unfounded((folder / "README.md").read_text(), numbers(folder), settings) == []


# Runs in a changed working tree whose change is known. fashion: its own study file, which d9a289e1643c has and the
# repository holds again since the results were kept; `git diff f8854067282b -- config/fashion.yaml` shows it.
CHANGED = {"fashion": {"f8854067282b+changes"}}


@pytest.mark.parametrize("study", STUDIES)
def test_the_run_is_on_record_and_whole(study: str) -> None:
    prose = (KEPT / study / "README.md").read_text()
    record = json.loads((KEPT / study / "run.json").read_text())
    assert record["commits"]
    changed = {text for text in record["commits"] if text.endswith("changes")}
    assert changed <= CHANGED.get(study, set())
    assert record["devices"]
    for line in record["not run"]:
        stage, key = line.partition(":")[0].split(" ")
        assert key.split("/")[-1] in prose, (
            f"{study}: {stage} {key} did not run, and the text does not say so"
        )


@pytest.mark.parametrize("study", STUDIES)
def test_every_chart_of_the_prose_is_kept(study: str) -> None:
    folder = KEPT / study
    for name in re.findall(r"\]\(([\w.]+)\)", (folder / "README.md").read_text()):
        assert (folder / name).is_file(), name


def test_the_dictionary_beside_the_tables_is_that_of_the_program() -> None:
    assert (KEPT / "columns.csv").read_text() == columns_file()


TABLES = sorted(KEPT.glob("*/*.csv"))


@pytest.mark.parametrize("file", TABLES, ids=[f"{file.parent.name}/{file.stem}" for file in TABLES])
def test_every_kept_table_is_long_and_has_the_columns_of_the_dictionary(file: Path) -> None:
    if file.stem.startswith("table_") and not file.stem.endswith("_data"):
        assert file.with_name(f"{file.stem}_data.csv").is_file(), (
            "what readers see has its data beside it"
        )
        return
    with file.open(newline="") as lines:
        head, *rows = csv.reader(lines)
    ids = head[: -len(MEASUREMENT)]
    assert [*head] == [*ids, *MEASUREMENT]
    assert set(ids) <= set(IDENTIFIERS)
    assert {row[len(ids)] for row in rows} <= set(QUANTITIES)
    names = [tuple(row[: len(ids) + 1]) for row in rows]
    assert len(set(names)) == len(names), "a measurement stands once"


def test_the_two_lines_of_the_readme_give_every_attack_with_its_interval(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    text = (KEPT / "README.md").read_text()
    first, second = re.findall(r"^    (rows.*)$", text, flags=re.MULTILINE)
    names = {"pd": pd}
    exec(first, names)
    attacks = eval(second, names)
    assert len(attacks) > 1
    assert not attacks.attack.duplicated().any()
    assert ((attacks.low <= attacks.value) & (attacks.value <= attacks.high)).all()


def test_a_number_from_nowhere_is_found() -> None:
    assert unfounded("12.4 dB", {12.35, 1.0}, "") == []
    assert unfounded("12.4 dB and -3.0", {-12.44}, "") == ["-3.0"]
    assert unfounded("84 % of a 95 % interval", {0.8438}, "") == []
    assert unfounded("85 %; five of eight", {0.8438, 0.5}, "") == ["85", "five of eight"]
    assert unfounded("| 97 | 99 % |", {0.969}, "percent: 99.0") == []

"""A key given twice, and what YAML 1.1 would read as something else, is refused in every YAML file that the program reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from gradsiege.errors import SharingError, StudyError
from gradsiege.sharing.bundles import Bundle, bundles_of
from gradsiege.sharing.contents import recorded
from gradsiege.study import Study, ledger, load
from gradsiege.yaml_files import read_text

ROOT = Path(__file__).parents[2]
TWICE = {
    "at the top": ("a: 1\nb: 2\na: 3", "'a' is given twice, in lines 1 and 3"),
    "below": ("a:\n  b: 1\n  c: 2\n  b: 3", "'b' is given twice, in lines 2 and 4"),
    "in a list": ("- {a: 1}\n- {a: 1, a: 1}", "'a' is given twice, in line 2"),
    "in JSON": ('{"a": 1,\n"a": 2}', "'a' is given twice, in lines 1 and 2"),
    "quoted": ("a: 1\n'a': 2", "'a' is given twice, in lines 1 and 2"),
    "equal numbers": ("1: 1\n1.0: 2", "is given twice, in lines 1 and 2"),
    "merged twice": ("a: &a {x: 1}\nb:\n  <<: *a\n  <<: *a", "'<<' is given twice"),
    "two merged": (
        "a: &a {x: 1}\nb: &b {x: 2}\nc:\n  <<: [*a, *b]",
        "'x' is given twice, in lines 1 and 2",
    ),
}


@pytest.mark.parametrize("case", TWICE)
def test_a_key_given_twice_is_named_with_both_lines(case: str, tmp_path: Path) -> None:
    text, message = TWICE[case]
    with pytest.raises(yaml.YAMLError) as caught:
        read_text(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("a: &x {k: 1}\nb: *x", {"a": {"k": 1}, "b": {"k": 1}}),
        (
            "a: &x {k: 1, l: 2}\nb:\n  <<: *x\n  k: 3",
            {"a": {"k": 1, "l": 2}, "b": {"k": 3, "l": 2}},
        ),
        (
            "a: &x {k: 1}\nb: &y\n  <<: *x\n  k: 2\nc:\n  <<: *y\n  k: 3\nd: *y",
            {"a": {"k": 1}, "b": {"k": 2}, "c": {"k": 3}, "d": {"k": 2}},
        ),
        (
            "a: &x {k: 1}\nb: &y {l: 2}\nc: {<<: [*x, *y]}",
            {"a": {"k": 1}, "b": {"l": 2}, "c": {"k": 1, "l": 2}},
        ),
        ("a: [{k: 1}, {k: 2}]", {"a": [{"k": 1}, {"k": 2}]}),
        ("a: 0\nb: -7\nc: 0x1F\nd: 1_000", {"a": 0, "b": -7, "c": 31, "d": 1000}),
    ],
)
def test_aliases_and_merges_mean_what_yaml_says(text: str, data: Any) -> None:
    assert read_text(text) == data


@pytest.mark.parametrize(
    "text",
    [
        "a: 010",
        "a: 1:30",
        "a: -07",
        "a: 2026-02-30",
        f"a: {'9' * 5000}",
        "[" * 5000,
        r'a: "\ud800"',
        r'"\udce9": 1',
    ],
)
def test_what_yaml_reads_as_something_else_is_refused(text: str) -> None:
    with pytest.raises(yaml.YAMLError):
        read_text(text)


def test_a_list_that_holds_itself_is_one_sentence(tmp_path: Path, tiny_raw: dict[str, Any]) -> None:
    text = yaml.safe_dump(tiny_raw) + "seeds: &a [*a]\n"
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(StudyError, match="seeds"):
        load(tmp_path / "x.yaml")


def test_every_file_that_is_read_refuses_it(tmp_path: Path, tiny: Study) -> None:
    for path, read in (
        (ROOT / "config/quick.yaml", load),
        (ROOT / "config/claims.yaml", ledger.load),
    ):
        text = path.read_text()
        first = next(line for line in text.splitlines() if line and line[0].isalpha())
        (tmp_path / path.name).write_text(f"{text}\n{first.split(':')[0]}: x\n")
        with pytest.raises(StudyError, match=f"{path.name} .* is given twice, in lines"):
            read(tmp_path / path.name)
    (tmp_path / "dvc.yaml").write_text("vars: []\nstages: {}\nstages: {}\n")
    with pytest.raises(StudyError, match="'stages' is given twice, in lines 2 and 3"):
        bundles_of(tiny, tmp_path / "dvc.yaml")
    (tmp_path / "dvc.lock").write_text("stages: {}\nstages: {}\n")
    with pytest.raises(SharingError, match="is given twice"):
        recorded(tmp_path, Bundle("tables", "tiny", ()))

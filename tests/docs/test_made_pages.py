"""The pages and pictures that are made from the program say what the program is."""

from __future__ import annotations

import csv
import json
import re
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import gradsiege
from docs.pages import architecture, command_line, distribution, kept_tables, roadmap, study_keys
from gradsiege.cli import app
from gradsiege.pipeline.stage import STAGES, names_read
from gradsiege.study.document import Study

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", architecture.pictures())
def test_a_picture_is_current(name: str) -> None:
    assert (architecture.PICTURES / name).read_text() == architecture.pictures()[name]


def test_the_floors_hold_every_module_of_the_package_once() -> None:
    boxes = re.findall(r">(\w+)</text>", architecture.picture_of_floors())
    package = ROOT / "src/gradsiege"
    modules = {path.stem for path in package.glob("*.py")} | {
        path.parent.name for path in package.glob("*/__init__.py")
    }
    assert sorted(boxes) == sorted(modules - {"__init__", "__main__"})


def test_the_way_is_that_of_the_stages() -> None:
    stages = [stage for stage, _, _ in architecture.WAY]
    for reader, before in zip(stages[1:], stages, strict=False):
        assert reader == "publish" or before in STAGES[reader].reads
    assert stages[-1] == "publish"
    readers = [name for name in stages[:-1] if "observe" in STAGES[name].reads]
    assert readers == ["attack", "score"]
    assert "truth.safetensors" not in names_read("attack", "observe")
    assert "truth.safetensors" in names_read("score", "observe")


def test_the_reference_has_every_verb_and_what_its_help_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    listed = CliRunner().invoke(app, ["--help"]).output
    sections = dict(re.findall(r"^## (\w+)$\n(.*?)(?=^## )", command_line.page(), re.M | re.S))
    assert list(sections) == re.findall(r"^│ ([a-z]+)  ", listed, re.M)
    for verb, section in sections.items():
        shown = CliRunner().invoke(app, [verb, "--help"]).output
        options = set(re.findall(r"^│[ *]+(--[\w-]+)", shown, re.M)) - {"--help"}
        assert options == set(re.findall(r"^\| `(--(?!no-)[\w-]+)`", section, re.M)), verb


def test_the_reference_has_every_key_of_a_study() -> None:
    page = study_keys.page()
    first = page.partition("## A study")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)`", first, re.M) == list(Study.model_fields)
    schema = json.loads(study_keys.SCHEMA.read_text())
    for name, definition in schema["$defs"].items():
        section = page.partition(f"## {name}\n")[2].partition("\n## ")[0]
        assert re.findall(r"^\| `(\w+)`", section, re.M) == list(definition["properties"])


class Cells(HTMLParser):
    """The texts of the cells of a table, row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip("\n")


def test_a_kept_table_has_a_row_per_thing_and_its_interval() -> None:
    long = [
        {
            "dataset": "d",
            "attack": attack,
            "quantity": name,
            "value": value,
            "low": low,
            "high": high,
            "n": "8",
            "unit": "dB" if name == "psnr" else "",
            "text": said,
        }
        for attack, name, value, low, high, said in (
            ("a<b", "psnr", "12.345678", "11", "13", ""),
            ("a<b", "verdict", "", "", "", "survives"),
            ("c", "psnr", "-0.5", "", "", ""),
        )
    ]
    made = kept_tables.html(long, {"psnr": 'in "dB"'})
    cells = Cells()
    cells.feed(made.partition("<table>")[2])
    assert cells.rows == [
        ["attack", "psnr (dB)", "verdict"],
        ["a<b", "12.35 [11, 13], n = 8", "survives"],
        ["c", "-0.5, n = 8", ""],
    ]
    assert "dataset: d" in made
    assert 'title="in &quot;dB&quot;"' in made


@pytest.mark.parametrize(
    "study", sorted(path.parent.name for path in kept_tables.KEPT.glob("*/run.json"))
)
def test_every_kept_number_stands_in_its_row_and_column(study: str) -> None:
    page = kept_tables.page(study)
    for file in (kept_tables.KEPT / study).glob("*.csv"):
        with file.open() as lines:
            rows = [*csv.DictReader(lines)]
        made = kept_tables.html(rows, {}) if rows else ""
        assert made.partition("<tbody>")[2] in page, file.name
        if not rows or "quantity" not in rows[0]:
            continue
        cells = Cells()
        cells.feed(made.partition("<table>")[2])
        headings, *body = cells.rows
        ids = [n for n in rows[0] if n not in kept_tables.MEASUREMENT]
        shown = {
            n: headings.index(n.replace("_", " ")) for n in ids if n.replace("_", " ") in headings
        }
        lines_of: dict[tuple[str, ...], list[list[str]]] = {}
        for line in body:
            lines_of.setdefault(tuple(line[at] for at in shown.values()), []).append(line)
        for row in rows:
            of_thing = lines_of[tuple(row[n] for n in shown)]
            assert len(of_thing) == 1, (file.name, row)
            unit = f" ({row['unit']})" if row["unit"] else ""
            name = row["quantity"].replace("_", " ") + unit
            if row["value"] and name in headings:
                said = of_thing[0][headings.index(name)]
                numbers = [
                    float(number) for number in re.findall(r"-?\d[\d.]*(?:e[+-]\d+)?|nan|inf", said)
                ]
                expected = [float(row[k]) for k in ("value", "low", "high", "n") if row[k]]
                assert numbers == pytest.approx(expected, rel=1e-3, nan_ok=True), (file.name, row)
            elif row["value"]:
                assert f"{name}: {float(row['value']):.4g}" in made, (file.name, row)


def test_the_roadmap_is_what_the_verdicts_and_study_files_leave() -> None:
    between = roadmap.PAGE.read_text().split(roadmap.BEGIN)[1].split(roadmap.END)[0]
    assert between == roadmap.tables()
    unrun = re.search(r"and (\d+) not run", roadmap.VERDICTS.read_text())
    assert unrun
    assert f"{unrun[1]} claims were not run" in between


def test_every_study_file_has_a_line_that_says_what_it_is_for() -> None:
    files = {str(path.relative_to(ROOT / "config")) for path in (ROOT / "config").rglob("*.yaml")}
    listed = re.findall(r"^\| `([\w/]+\.yaml)` \|", (ROOT / "config/README.md").read_text(), re.M)
    assert sorted(listed) == sorted(files - {"claims.yaml"})


def test_one_version_stands_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert project["version"] == citation["version"] == gradsiege.__version__
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(rf"^## \[?{re.escape(gradsiege.__version__)}\b", changes, re.M)


def test_the_glossary_is_in_order_and_names_files_that_exist() -> None:
    glossary = (ROOT / "docs/CONCEPTS.md").read_text().partition("## Glossary")[2]
    rows = re.findall(r"^\| ([a-z ]+) \| .+ \| `(.+)` \|$", glossary, re.M)
    words = [word for word, _ in rows if word != "word"]
    assert words == sorted(words)
    assert len(words) > 30
    assert [file for _, file in rows if not (ROOT / file).is_file()] == []


def test_the_readme_is_one_screen_and_a_half() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 80


def test_a_distribution_that_lacks_a_template_is_found() -> None:
    sources = distribution.listed("src/gradsiege")
    names = [name.removeprefix("src/") for name in sources]
    licence = "gradsiege-1.dist-info/licenses/LICENSE"
    assert [*distribution.faults_of_wheel([*names, licence], sources)] == []
    templates = [name for name in names if name.endswith(".j2")]
    assert len(templates) >= 5
    assert [*distribution.faults_of_wheel(set(names) - {templates[0]}, sources)] == [
        f"the wheel lacks {templates[0]}",
        "the wheel lacks the licence",
    ]
    assert [*distribution.faults_of_wheel([licence], ["config/quick.yaml"])] == [
        "the wheel lacks gradsiege/workspace/config/quick.yaml"
    ]

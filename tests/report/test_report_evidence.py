"""From any sentence of the report to the rows behind it, and to the command that makes them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from gradsiege import catalogue
from gradsiege.analysis.headline import CELL
from gradsiege.pipeline.drawings import data_file, kind_of
from gradsiege.report.data import Drawn, StudyData
from gradsiege.report.derived import attackers
from gradsiege.report.page import findings
from gradsiege.report.page import page as report
from gradsiege.stages.publish import draw
from gradsiege.study.ledger import FILE, load

VOID = {"meta", "link", "img", "input", "br", "wbr"}
# What says no number of the study: definitions, the study file in words and in full, how to run it.
EXPLAINS = {"threats", "again", "use", "settings"}
NAMES = ("table_headline", "table_attacks", "table_defenses", "table_compute", "training_stage")


class Node:
    """An element of a page."""

    def __init__(self, tag: str, attrs: dict[str, str], parent: Node | None) -> None:
        self.tag, self.attrs, self.parent = tag, attrs, parent
        self.parts: list[Node | str] = []

    def all(self) -> Iterator[Node]:
        yield self
        for part in self.parts:
            if isinstance(part, Node):
                yield from part.all()

    def above(self) -> Iterator[Node]:
        node: Node | None = self
        while node is not None:
            yield node
            node = node.parent

    @property
    def text(self) -> str:
        text = "".join(part if isinstance(part, str) else part.text for part in self.parts)
        return text.replace("\u00a0", " ")

    def has(self, name: str) -> bool:
        return name in self.attrs.get("class", "").split()


class Tree(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.root = self.here = Node("", {}, None)
        self.feed(html)
        self.by_id = {n.attrs["id"]: n for n in self.root.all() if "id" in n.attrs}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, {name: value or "" for name, value in attrs}, self.here)
        self.here.parts.append(node)
        if tag not in VOID:
            self.here = node

    def handle_endtag(self, tag: str) -> None:
        assert self.here.parent is not None
        self.here = self.here.parent

    def handle_data(self, data: str) -> None:
        self.here.parts.append(data)


@pytest.fixture(scope="module")
def study(made_up_study: StudyData) -> StudyData:
    return dataclasses.replace(made_up_study, claims=load(Path(__file__).parents[2] / FILE))


@pytest.fixture(scope="module")
def drawn(study: StudyData) -> dict[str, Drawn]:
    return {name: draw(name, study) for name in NAMES}


@pytest.fixture(scope="module")
def commands() -> dict[str, str]:
    made = {name: f"snakemake {name}.csv" for name in catalogue.entries("figures")}
    return made | {"all": "snakemake", "verify": "gradsiege verify", "fetch": "gradsiege fetch"}


@pytest.fixture(scope="module")
def tree(study: StudyData, drawn: dict[str, Drawn], commands: dict[str, str]) -> Tree:
    return Tree(report.render(study, drawn, commands))


def sentences(tree: Tree) -> list[Node]:
    """Every piece of running text in the body of the page that holds a digit, without definitions."""
    pieces = [
        node
        for node in tree.by_id["main"].all()
        if node.tag in ("p", "li", "dd", "figcaption", "summary")
        and re.search(r"\d", node.text)
        and not any(up.has("explain") or up.attrs.get("id") in EXPLAINS for up in node.above())
    ]
    assert len(pieces) > 40
    return pieces


def routes(place: Node) -> tuple[list[str], list[str]]:
    """The commands and the files that an element names in its command lines."""
    lines = [node.text for node in place.all() if node.has("command")]
    commands = [re.sub(r".*? again ", "", line) for line in lines if " again " in line]
    files = [line.split()[-1] for line in lines if "Its rows" in line]
    return commands, files


def grounded(place: Node) -> bool:
    commands, files = routes(place)
    return any(commands) and any(re.search(r"\.(csv|parquet|json)$", file) for file in files)


def test_every_number_has_rows_and_a_command(tree: Tree) -> None:
    """By a link, or because the section, exhibit or data card around it names both."""
    for piece in sentences(tree):
        links = [n.attrs["href"][1:] for n in piece.all() if n.has("evidence") and n.tag == "a"]
        around = [
            up for up in piece.above() if up.has("exhibit") or up.has("card") or up.tag == "section"
        ]
        places = [tree.by_id[link] for link in links] or around[:1]
        assert places, piece.text
        assert all(grounded(place) for place in places), (piece.text[:80], links)


def test_the_summary_links_each_of_its_numbers(tree: Tree) -> None:
    """In the summary nothing counts but links: its own section has no rows."""
    for piece in sentences(tree):
        if any(up.attrs.get("id") == "summary" for up in piece.above()):
            assert any(node.has("evidence") for node in piece.all()), piece.text


def test_each_exhibit_names_its_own_command_and_file(
    tree: Tree, drawn: dict[str, Drawn], commands: dict[str, str]
) -> None:
    for name, exhibit in drawn.items():
        assert (exhibit.figure is None) == (kind_of(name) == "tables")
        file = f"results/made_up/{data_file(name)}"
        assert routes(tree.by_id[name]) == ([commands[name]], [file])
    command, file = routes(tree.by_id["claims"])
    assert (command, file) == (
        [commands["table_claims"]],
        ["results/made_up/tables/table_claims_data.csv"],
    )


def _numbers(text: str) -> list[str]:
    """Numbers of a sentence, without those in names such as σ = 0.1 or n = 8."""
    return re.findall(r"(?<![\w.=])-?\d+(?:\.\d+)?(?= dB| %|[,\]])", text.replace("−", "-"))


def _stands(number: str, values: list[float]) -> bool:
    digits = len(number.partition(".")[2])
    wanted = float(number)
    return any(round(scale * value, digits) == wanted for value in values for scale in (1, 100))


def test_the_numbers_of_a_sentence_stand_where_it_leads(
    study: StudyData, drawn: dict[str, Drawn], tree: Tree
) -> None:
    """Each value and limit of a finding is in the data of the exhibit that it links to."""
    checked = 0
    for finding in findings.findings(study):
        place = next((name for name in finding.exhibits if name in drawn), None)
        if place is None or finding.topic in ("Failures", "Claims"):
            continue
        table = drawn[place].data.select_dtypes("number")
        known = [float(value) for value in table.to_numpy().ravel() if value == value]
        missing = [n for n in _numbers(finding.sentence) if not _stands(n, known)]
        assert missing == [], (finding.topic, finding.sentence, place)
        checked += len(_numbers(finding.sentence))
    assert checked > 50


def test_an_image_that_stands_in_several_roles_is_counted_once(
    study: StudyData, drawn: dict[str, Drawn]
) -> None:
    """The strongest attacker on no defense stands beside every defense; its images are not new attempts."""
    counts = re.search(r"(\d+) of (\d+) attempted images failed", drawn["table_headline"].caption)
    assert counts is not None
    table = study.once(attackers)
    defended = table[table["role"] != "no_defense"]
    cells = defended.drop_duplicates([*CELL, "threat_model", "attack"])
    scores = study.scores[study.scores["kind"] == "attack"]
    rows = cells.merge(scores, on=[*CELL, "threat_model", "attack"], suffixes=("", "_image"))
    assert int(counts[2]) == len(rows) < len(scores)
    assert int(counts[1]) == int((rows["status"] == "failed").sum())


def test_a_sentence_in_a_table_is_wrapped(tree: Tree, drawn: dict[str, Drawn]) -> None:
    """In one line it would push all that follows it off the page."""
    shown = drawn["table_headline"].shown
    assert shown is not None
    cells = [node for node in tree.by_id["table_headline"].all() if node.has("prose")]
    assert [cell.text for cell in cells] == list(shown["Verdict"])

"""The report: self-contained, escaped, accessible, and made of the study's numbers."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest

from gradsiege.report.data import Drawn, StudyData
from gradsiege.report.figures import training_stage
from gradsiege.report.page import findings
from gradsiege.report.page import page as report
from gradsiege.report.tables import table_attacks, table_compute, table_defenses
from gradsiege.report.wording import with_interval
from gradsiege.stages import publish
from gradsiege.study import Study

COMMANDS = {
    "all": "make reproduce",
    "training_stage": "snakemake results/made_up/figures/training_stage.pdf",
}
VOID = {"meta", "link", "img", "input", "br", "wbr"}


class Page(HTMLParser):
    """Collects what the tests ask about."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(html)
        assert self.open == [], "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attrs for tag, attrs in self.tags if tag == name]


@pytest.fixture(scope="module")
def drawn(made_up_study: StudyData) -> dict[str, Drawn]:
    modules = (table_compute, training_stage, table_defenses, table_attacks)
    return {module.__name__.rsplit(".", 1)[-1]: module.draw(made_up_study) for module in modules}


@pytest.fixture(scope="module")
def html(made_up_study: StudyData, drawn: dict[str, Drawn]) -> str:
    return report.render(made_up_study, drawn, COMMANDS)


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_nothing_is_fetched(page: Page, html: str) -> None:
    for tag, attrs in page.tags:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            value = attrs.get(name) or "#"
            assert value.startswith(("#", "data:")), (tag, value[:60])
    assert "default-src 'none'" in html
    styles = "".join(re.findall(r"<style>.*?</style>", html, flags=re.S))
    assert "url(" not in styles
    assert "@import" not in styles


def test_same_input_same_bytes(
    made_up_study: StudyData, drawn: dict[str, Drawn], html: str
) -> None:
    assert report.render(made_up_study, drawn, COMMANDS) == html


def test_headings_never_skip_a_level(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_landmarks_links_and_names(page: Page) -> None:
    assert [len(page.all(tag)) for tag in ("main", "nav", "header", "footer")] == [1, 1, 1, 1]
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = {attrs["href"] for attrs in page.all("a")}
    assert "#main" in targets
    assert {target[1:] for target in targets} <= set(ids)
    for _, attrs in page.tags:
        for name in ("aria-labelledby", "aria-describedby"):
            assert attrs.get(name) is None or attrs[name] in ids
        if attrs.get("tabindex") == "0" and attrs.get("class") != "canvas":
            assert attrs.get("role") == "region"
            assert attrs.get("aria-label") or attrs.get("aria-labelledby")


def test_pictures_and_tables_can_be_heard(page: Page) -> None:
    shown = [attrs for attrs in page.all("img") if attrs.get("src")]
    assert shown
    assert all(len(attrs["alt"] or "") > 30 for attrs in shown)
    assert all(attrs.get("scope") in ("col", "row") for attrs in page.all("th"))
    assert page.all("html")[0]["lang"] == "en"


def test_findings_are_the_numbers(made_up_study: StudyData, page: Page) -> None:
    text = "".join(page.text).replace("\u00a0", " ")
    row = made_up_study.summary.query(
        "dataset == 'photos' and defense == 'none' and training_stage == 'untrained'"
        " and attack == 'inverting_gradients'"
    ).iloc[0]
    value = with_interval(row["psnr"], row["psnr_low"], row["psnr_high"]).replace(" ", " dB ", 1)
    assert f"Inverting Gradients reaches {value} (n = 8 victims); best control" in text
    assert "no more than the best control" in text  # strong noise, in the made-up study
    assert "4 of 224 attacked images failed (most often: NaN in the matching loss)" in text


def test_every_sentence_leads_to_its_rows(
    made_up_study: StudyData, drawn: dict[str, Drawn], page: Page
) -> None:
    """By a link to a table or figure of the page, or by the command that makes one it lacks."""
    sentences = findings.findings(made_up_study)
    links = [attrs for attrs in page.all("a") if attrs.get("class") == "evidence"]
    ran = [attrs for attrs in links if attrs["href"] == "#ran"]
    assert len(ran) == 2, "what was attempted; how small a difference that can show"
    assert len(links) == len(sentences) + len(ran)
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    assert all((attrs["href"] or "").removeprefix("#") in ids for attrs in links)
    words = {attrs.get("data-filter") for attrs in links if attrs["href"] == "#table_defenses"}
    shown = drawn["table_defenses"].shown
    assert shown is not None
    text = [" ".join(row).lower() for row in shown.itertuples(index=False)]
    for wanted in words:
        assert any(all(word in line for word in (wanted or "").lower().split()) for line in text)
    commands = {"table_attacks": "snakemake results/made_up/tables/table_attacks.csv"}
    bare = Page(report.render(made_up_study, {}, commands))
    assert {a["href"] for a in bare.all("a") if a.get("class") == "evidence"} == {"#ran"}
    told = [attrs for attrs in bare.all("code") if attrs.get("class") == "evidence"]
    assert told
    assert commands["table_attacks"] in bare.text


def test_nothing_waits_for_javascript(page: Page) -> None:
    """Without it there is no button that does nothing, and nothing hidden but what a reader can open."""
    assert [attrs for _, attrs in page.tags if "hidden" in attrs] == []
    assert len(page.all("button")) == 1, "the one in the dialog, which only a script opens"
    assert page.all("input") == []
    assert "open" not in page.all("dialog")[0]
    assert len(page.all("details")) == len(page.all("summary")) > 0


def _luminance(colour: str) -> float:
    parts = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_has_contrast_in_light_in_dark_and_in_print(html: str) -> None:
    """WCAG 2.2, success criterion 1.4.3: 4.5 to 1, for every colour of text on every ground that it stands on."""
    light, dark, printed = re.findall(r":root \{(.*?)\}", html, flags=re.S)
    grounds = {"ink": ("page", "panel", "tint"), "muted": ("page", "panel", "tint")}
    grounds |= {"accent": ("page", "panel", "tint"), "badge-ink": ("badge",)}
    grounds |= {f"{mood}-ink": (mood,) for mood in ("good", "bad", "weak")}
    for scheme in (light, dark, printed):
        colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{3,6})\b", scheme))
        full = {
            name: f"#{''.join(2 * digit for digit in colour[1:])}" if len(colour) == 4 else colour
            for name, colour in colours.items()
        }
        for text, behind in grounds.items():
            for ground in behind:
                lights = sorted((_luminance(full[text]), _luminance(full[ground])))
                assert (lights[1] + 0.05) / (lights[0] + 0.05) >= 4.5, (text, ground)


def test_the_reader_learns_what_is_missing(page: Page) -> None:
    text = "".join(page.text)
    assert "cut from this made-up study" in text  # not run, and why
    assert "trunk weights not found" in text  # absent metric
    assert "victim 2: NaN in the matching loss" in text  # failed job
    assert "Synthetic stand-in, not real images" in text
    assert "make reproduce" in text
    assert COMMANDS["training_stage"] in text
    assert "CPU (made up)" in text
    assert "0123456789ab" in text
    assert "CC0-1.0" in text


def test_everything_is_escaped(made_up_study: StudyData, drawn: dict[str, Drawn]) -> None:
    nasty = "</td><script>alert('x')</script>"
    study = dict(made_up_study.study, description=nasty)
    data = dataclasses.replace(
        made_up_study,
        study=study,
        not_run=[{"what": nasty, "why": nasty}],
        cards={"photos": {"description": nasty, "sources": [{"name": nasty, "origin": nasty}]}},
        threat_models=[{"id": nasty}],
        manifests=[{"stage": nasty, "status": "failed", "reason": nasty, "seconds": 1}],
    )
    compute = table_compute.draw(data)
    html = report.render(data, drawn | {"table_compute": compute}, {"all": nasty})
    assert html.count("<script>") == 1
    assert nasty not in html
    Page(html)


def test_an_empty_study_still_reports(empty_study: StudyData) -> None:
    bare = dataclasses.replace(empty_study, scores=pd.DataFrame(), utility=pd.DataFrame())
    assert report.render(bare, {}, {}) == report.render(empty_study, {}, {})
    html = report.render(empty_study, {}, {})
    assert "No attack of this study has been scored yet." in html
    Page(html)


def test_a_failed_job_stands_once(made_up_study: StudyData) -> None:
    item = {"what": "attack photos/… (failed)", "why": "NaN"}
    html = report.render(dataclasses.replace(made_up_study, not_run=[item]), {}, {})
    assert "Failed jobs" not in html
    assert "Failed jobs" in report.render(made_up_study, {}, {})


def test_topics_name_synthetic_data(made_up_study: StudyData) -> None:
    topics = [finding.topic for finding in findings.findings(made_up_study)]
    assert "Undefended, Photos" in topics
    assert "Undefended, Phantom (synthetic)" in topics


def test_commands_name_the_study_file_where_it_lies(
    made_up_study: StudyData, tiny: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A study of `config/paper` is not found as ``config/<study>.yaml``."""
    told: dict[str, str] = {}

    def render(data: StudyData, drawn: dict[str, Drawn], commands: dict[str, str]) -> str:
        told.update(commands)
        return ""

    monkeypatch.setattr(publish, "load_study", lambda study, root: made_up_study)
    monkeypatch.setattr(report, "render", render)
    monkeypatch.chdir(tmp_path)
    study = tiny.model_copy(update={"figures": []})
    for file in (Path("config/paper/any.yaml"), tmp_path / "config/paper/any.yaml"):
        publish.publish(["report"], study, tmp_path, file)
        chosen = " --config study=config/paper/any.yaml"
        assert told["all"] == f"snakemake{chosen}"
        assert told["report"] == f"snakemake --force results/tiny/report.html{chosen}"
        assert told["gallery"] == f"snakemake --force results/tiny/figures/gallery.pdf{chosen}"
    publish.publish(["report"], study, tmp_path, Path("config/quick.yaml"))
    assert told["all"] == "snakemake"

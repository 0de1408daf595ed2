"""The page of an audit stands alone, and is sound for a screen reader, on a phone and in print."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from page_outline import Outline, outlined

from gradsiege.auditing.audit import Audit
from gradsiege.auditing.findings import Finding
from gradsiege.auditing.page.chart import Mark, chart
from gradsiege.auditing.page.page import render
from gradsiege.auditing.page.sentences import DASH

# Attributes that lead to something else.
LEADING = ("src", "href", "action", "data", "poster", "srcset")


@pytest.fixture(scope="module")
def text(saved: Path) -> str:
    """The page as text."""
    return (saved / "index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def outline(text: str) -> Outline:
    """The page's tags."""
    return outlined(text)


def test_nothing_leads_outside(text: str, outline: Outline) -> None:
    for _, attributes in outline.tags:
        for name in LEADING:
            address = attributes.get(name)
            assert address is None or address.startswith(("data:", "#")), address
    assert not re.search(r"https?://|@import|url\((?!data:)", text)
    assert "<script" not in text
    assert "default-src 'none'" in text


def test_headings_go_down_one_level_at_a_time(outline: Outline) -> None:
    levels = [int(tag[1]) for tag, _ in outline.tags if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_every_link_and_label_of_the_page_has_its_target(outline: Outline) -> None:
    names = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    assert len(names) == len(set(names))
    for _, attributes in outline.tags:
        for key in ("aria-labelledby", "aria-describedby"):
            assert set((attributes.get(key) or "").split()) <= set(names)
        link = attributes.get("href") or ""
        assert not link.startswith("#") or link[1:] in names


def test_landmarks_are_those_that_a_screen_reader_offers(outline: Outline) -> None:
    for landmark in ("header", "nav", "main", "footer"):
        assert len(outline.attributes(landmark)) == 1, landmark
    # Sections and scrolling tables are regions with a name; what scrolls can be reached by the keyboard.
    headings = {tag.get("id") for name, tag in outline.tags if name in ("h2", "h3", "caption")}
    for section in outline.attributes("section"):
        assert section.get("aria-labelledby") in headings
    for part in outline.attributes("div"):
        if "scroll" in (part.get("class") or "").split():
            assert (part.get("role"), part.get("tabindex")) == ("region", "0")
            assert part.get("aria-labelledby") in headings
    skip = outline.attributes("a")[0]
    assert (skip.get("class"), skip.get("href")) == ("skip", "#main")
    assert outline.attributes("main")[0].get("id") == "main"


def test_a_table_says_what_its_rows_and_columns_are(outline: Outline) -> None:
    scopes = [cell.get("scope") for cell in outline.attributes("th")]
    bodies = len(outline.attributes("tbody"))
    assert bodies == len(outline.attributes("thead")) == len(outline.attributes("table"))
    rows = len(outline.attributes("tr")) - bodies
    assert scopes.count("row") == rows, "every row is named by its first cell"


def test_drawings_have_a_name_and_their_numbers_as_text(outline: Outline) -> None:
    for drawing in outline.attributes("svg"):
        assert drawing.get("role") == "img"
        assert len((drawing.get("aria-labelledby") or "").split()) == 2


def test_pictures_have_words_and_tables_captions(outline: Outline) -> None:
    pictures = outline.attributes("img")
    assert len(pictures) >= 4
    assert all(picture.get("alt") for picture in pictures)
    assert len(outline.attributes("table")) == len(outline.attributes("caption")) >= 4
    for cell in outline.attributes("th"):
        assert cell.get("scope") in ("col", "row")
    assert dict(outline.attributes("html")[0])["lang"] == "en"
    assert outline.attributes("main")
    assert outline.attributes("nav")[0].get("aria-label")


def test_the_number_of_the_head_is_that_of_the_audit(
    text: str, whole: Audit, varied: Audit
) -> None:
    assert f'<span class="figure">{varied.decibel:.1f}' in render(varied)
    # An audit whose attacks all failed shows no number.
    assert f'<span class="figure">{DASH}' in text
    for finding in whole.findings:
        assert finding.because.capitalize()[1:] in text


def test_text_of_the_user_is_escaped(whole: Audit) -> None:
    whole.about["remarks"].append("<script>alert(1)</script>")
    try:
        page = render(whole)
    finally:
        whole.about["remarks"].pop()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_identification_alone_is_said_to_have_no_psnr(text: str) -> None:
    assert "Identification has no PSNR, since it returns a candidate." in text


def test_no_table_has_more_than_nine_columns(text: str) -> None:
    for head in re.findall(r"<thead>(.*?)</thead>", text, re.DOTALL):
        assert head.count("<th") <= 9


def test_equal_audits_make_equal_pages(whole: Audit) -> None:
    assert render(whole) == render(whole)


def test_a_drawing_holds_every_situation_within_its_frame(varied: Audit) -> None:
    names = [f"place {number}" for number in range(len(varied.findings))]
    drawn = chart(varied.findings, names)
    assert drawn is not None
    assert [mark.label for mark in drawn.marks] == names
    assert len(names) == 6
    for mark in drawn.marks:
        assert mark.dot is not None
        assert 0 <= mark.dot <= drawn.width
        assert 0 < mark.y < drawn.height
    ordered = sorted(zip(varied.findings, drawn.marks, strict=True), key=_estimate)
    dots = [mark.dot or 0.0 for _, mark in ordered]
    assert dots == sorted(dots), "further right means more leakage"


def _estimate(pair: tuple[Finding, Mark]) -> float:
    return pair[0].psnr.estimate


def test_a_long_name_ends_within_the_drawing(varied: Audit) -> None:
    names = ["a short one", "a defense with " + "many parameters, " * 9]
    drawn = chart(varied.findings[:2], names)
    assert drawn is not None
    assert drawn.marks[0].label == names[0]
    assert len(drawn.marks[1].label) == 56
    assert drawn.marks[1].label.endswith("…")


def test_one_situation_needs_no_drawing(varied: Audit) -> None:
    assert chart(varied.findings[:1], ["a"]) is None


def test_a_remark_ends_with_one_full_stop(whole: Audit) -> None:
    remarks = ["faces of volunteers.", "no stop"]
    page = render(replace(whole, about={**whole.about, "remarks": remarks}))
    assert "<li>Faces of volunteers.</li>" in page
    assert "<li>No stop.</li>" in page


def test_pictures_are_told_by_their_names(whole: Audit, tmp_path: Path) -> None:
    import pandas as pd

    names = tuple(f"ward<{number}>.png" for number in range(12))
    named = replace(whole, names=names)
    page = named.save(tmp_path / "named").read_text(encoding="utf-8")
    best = named.worst.highest[1]
    for number in range(4):
        assert f"<figcaption>ward&lt;{number}&gt;.png</figcaption>" in page
        assert f'<th scope="row" class="name">ward&lt;{number}&gt;.png</th>' in page
    assert best < 0 or f"recovered best (ward&lt;{best}&gt;.png)" in page
    table = pd.read_csv(tmp_path / "named" / "tables" / "pictures.csv")
    assert (table["name"] == table["picture"].map(dict(enumerate(names)))).all()
    named.save(tmp_path / "withheld", pictures=False)
    for path in (tmp_path / "withheld").rglob("*.*"):
        assert path.is_dir() or "ward" not in path.read_text(encoding="utf-8"), path


def test_tables_are_tidy(saved: Path, whole: Audit) -> None:
    import pandas as pd

    tables = {path.stem: pd.read_csv(path) for path in (saved / "tables").glob("*.csv")}
    assert set(tables) == {"pictures", "attackers", "situations", "defenses"}
    assert len(tables["pictures"]) == len(whole.scores.table)
    assert len(tables["situations"]) == 2
    assert tables["attackers"]["psnr"].max() <= 100

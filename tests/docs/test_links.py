"""Links in the project's pages lead to files and headings that exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from code_blocks import ROOT, pages

LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s]*)\)")


def text_of(path: Path) -> str:
    """A page without its blocks and words of code, which show links and are none."""
    prose = re.sub(r"(?ms)^```.*?^```$", "", path.read_text(encoding="utf-8"))
    return re.sub(r"`[^`\n]*`", "", prose)


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site form them."""
    heads = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", head.lower()) for head in heads]
    return {head.replace(" ", "-") for head in plain}


def broken(path: Path) -> Iterator[str]:
    """Links of a page that lead nowhere."""
    for link in LINK.findall(text_of(path)):
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            yield link


@pytest.mark.parametrize("path", pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path: Path) -> None:
    assert [*broken(path)] == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Head line\n[a](#head-line) [b](#other) [c](gone.md) [d](page.md) `[e](f.md)`\n"
    )
    assert [*broken(page)] == ["#other", "gone.md"]


def test_every_page_stands_in_the_site() -> None:
    index = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    listed = re.findall(r"^([\w./*-]+)$", index, flags=re.MULTILINE)
    shown = {path.resolve() for entry in listed for path in (ROOT / "docs").glob(f"{entry}.md")}
    shown |= {(ROOT / "docs" / f"{entry}.md").resolve() for entry in listed if "*" not in entry}
    hidden = {ROOT / "README.md", ROOT / "docs/index.md"}
    every = {path for path in pages() if ".github" not in path.parts} - hidden
    assert every - shown == set()

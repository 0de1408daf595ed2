"""The tags of an HTML page, with a complaint about those that do not nest."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "link", "img", "br", "line", "circle", "polyline"}


class Outline(HTMLParser):
    """Reads tags with their attributes, and complains about those that do not nest."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.captions = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of all tags of a name."""
        return [found for name, found in self.tags if name == tag]


def outlined(page: str) -> Outline:
    """Return the outline of a page whose tags are all closed."""
    reader = Outline()
    reader.feed(page)
    assert not reader.open
    return reader

"""The reference of the library, a page per part of the package: signatures and docstrings, read from the sources without importing them."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import griffe

from docs.pages.architecture import library
from docs.pages.markdown import item

SOURCE = Path(__file__).parents[2] / "src"
# Beside what the contract calls the library, Python users meet these.
FACES = {"auditing", "errors", "evaluation", "images", "integrations", "ranges", "seeds"}
CODE = re.compile(r"(?<![`\w])`([A-Za-z_][\w.]*)(\(\))?`(?!`)")
DOCTEST = re.compile(r"(?m)^>>> (?:.+\n?)+")
# A table as reStructuredText draws it: shown as it is drawn.
DRAWN = re.compile(r"(?m)^=+ +=+$\n(?:.+\n)+?=+ +=+$")
# The page begins with the names of `import gradsiege as gs`, in the words of its docstring.
HEAD = """# Library

{offered}

[The library](../../LIBRARY.md) shows it at work. The parts of the package follow, each with its modules.

```{{toctree}}
:maxdepth: 1

{parts}
```
"""


def pages() -> dict[str, str]:
    """Return the pages as Markdown, by name: one per module or package directly below ``gradsiege``, and ``index``."""
    # Docstrings here describe several arguments in one line, which the reader would remark on.
    logging.getLogger("griffe").setLevel(logging.ERROR)
    package: Any = griffe.load(
        "gradsiege",
        search_paths=[str(SOURCE)],
        docstring_parser="google",
        # A result is one thing, whose description may take several lines.
        docstring_options={"returns_multiple_items": False},
        allow_inspection=False,
    )
    parts = sorted(FACES | library())
    names = dict(pair for name in parts for pair in documented(package[name]))
    made = {name: page(package[name], names) for name in parts}
    offered = linked(text(package), package, names)
    return made | {"index": HEAD.format(offered=offered, parts="\n".join(parts))}


def documented(thing: Any) -> Iterator[tuple[str, Any]]:
    """Yield (path, object) for all that the reference shows: public modules, classes, functions and methods."""
    yield thing.path, thing
    for member in thing.members.values():
        if (
            not member.is_alias
            and (member.is_module or member.is_class or member.is_function)
            and public(member)
        ):
            yield from documented(member)


def public(member: Any) -> bool:
    """Whether a name is shown; `__call__` is, since that is how attacks are used."""
    return member.name == "__call__" or not member.name.startswith("_")


def page(part: Any, names: dict[str, Any]) -> str:
    """Return the page of one part."""
    sections = []
    modules = sorted((name, thing) for name, thing in documented(part) if thing.is_module)
    for name, module in modules:
        title = [] if module is part else [f"## {name.removeprefix('gradsiege.')}"]
        shown = [entry(member, names) for member in members(module)]
        target = f"```{{py:module}} {name}\n```"
        sections += [*title, target, linked(text(module), module, names), *shown]
    return f"# {part.name}\n\n" + "\n\n".join(section for section in sections if section) + "\n"


def members(thing: Any) -> Iterator[Any]:
    """Yield the public classes and functions that are defined in a module or class, in the order of the source."""
    for member in thing.members.values():
        if not member.is_alias and (member.is_class or member.is_function) and public(member):
            yield member


def entry(thing: Any, names: dict[str, Any], fence: str = "::::::") -> str:
    """Return a class with its methods, or a function, as a directive of Sphinx; inner ones have shorter fences."""
    if thing.is_class:
        kind, signature = "class", fields(thing)
        bases = ", ".join(f"`{base}`" for base in thing.bases)
        inner = [entry(member, names, fence[1:]) for member in members(thing)]
    else:
        kind = "method" if thing.parent.is_class else "function"
        signature, bases, inner = call(thing), "", []
    body = [f"Derives from {bases}." if bases else "", text(thing)]
    parts = [linked("\n\n".join(part for part in body if part), thing, names), *inner]
    inside = "\n\n".join(part for part in parts if part)
    return f"{fence}{{py:{kind}}} {thing.name}{signature}\n\n{inside}\n{fence}"


def call(function: Any) -> str:
    """Return the signature of a function, without its self."""
    shown = [one for one in function.parameters if one.name not in ("self", "cls")]
    words, keyword_only = [], False
    for one in shown:
        if one.kind.value == "keyword-only" and not keyword_only:
            if not any(other.kind.value == "variadic positional" for other in shown):
                words.append("*")
            keyword_only = True
        stars = {"variadic positional": "*", "variadic keyword": "**"}.get(one.kind.value, "")
        kind = f": {one.annotation}" if one.annotation else ""
        default = f" = {one.default}" if one.default is not None and not stars else ""
        words.append(f"{stars}{one.name}{kind}{default}")
    returned = f" -> {function.returns}" if function.returns else ""
    return one_line(f"({', '.join(words)}){returned}")


def fields(thing: Any) -> str:
    """Return the fields of a dataclass as a signature; nothing for another class."""
    if "dataclass" not in thing.labels:
        return ""
    shown = [
        f"{name}: {member.annotation}" + (f" = {member.value}" if member.value is not None else "")
        for name, member in thing.members.items()
        if not member.is_alias
        and member.is_attribute
        and member.annotation
        and "ClassVar" not in str(member.annotation)
        and "property" not in member.labels
    ]
    return one_line(f"({', '.join(shown)})") if shown else ""


def one_line(text: str) -> str:
    """Return a signature in one line, as a directive takes it."""
    return " ".join(text.split())


def text(thing: Any) -> str:
    """Return a docstring as Markdown: its sections as lists, its examples as code."""
    if not thing.docstring:
        return ""
    parts = []
    for section in thing.docstring.parsed:
        if section.kind.value == "text":
            parts.append(DRAWN.sub(r"```text\n\g<0>\n```", DOCTEST.sub(example, section.value)))
        elif section.kind.value == "examples":
            parts += [example_text(kind.value, value) for kind, value in section.value]
        elif section.kind.value == "admonition":
            parts.append(f"{section.title}: {section.value.contents}")
        else:
            parts.append(
                f"*{(section.title or section.kind.value).capitalize()}*\n\n"
                + "\n".join(
                    item(
                        getattr(value, "name", "") or "",
                        getattr(value, "annotation", "") or "",
                        value.description,
                    )
                    for value in section.value
                )
            )
    return "\n\n".join(parts)


def example(found: re.Match[str]) -> str:
    """Return a doctest as a block of code."""
    return f"```python\n{found[0].rstrip()}\n```\n"


def example_text(kind: str, value: str) -> str:
    """Return a piece of a section of examples."""
    return value if kind == "text" else f"```python\n{value}\n```"


def linked(words: str, place: Any, names: dict[str, Any]) -> str:
    """Return a text in which a word of code links to the class or function that it names, where that is certain."""
    by_word: dict[str, set[str]] = {}
    for path in names:
        by_word.setdefault(path.rpartition(".")[2], set()).add(path)

    def link(found: re.Match[str]) -> str:
        path = target(found[1], place, names, by_word)
        return f"{{py:obj}}`{found[1]}{found[2] or ''} <{path}>`" if path else found[0]

    pieces = re.split(r"(?s)(```.*?```)", words)
    return "".join(piece if piece.startswith("```") else CODE.sub(link, piece) for piece in pieces)


def target(
    word: str, place: Any, names: dict[str, Any], by_word: dict[str, set[str]]
) -> str | None:
    """Return the path of the thing that a word names: in its class or module, in full, or the only class of that name."""
    scope = place
    while scope is not None:
        if f"{scope.path}.{word}" in names:
            return f"{scope.path}.{word}"
        scope = scope.parent
    if word in names:
        return word
    only = by_word.get(word, set())
    return next(iter(only)) if len(only) == 1 and word[0].isupper() else None

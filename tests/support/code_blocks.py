"""The blocks of code in the project's pages: where they stand, and in which language they are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import yaml
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
# Programs that a block may call; the tests check the calls of our own and of those that take our names.
PROGRAMS = {
    *(
        "gradsiege",
        "make",
        "snakemake",
        "pip",
        "python",
        "python3.11",
        "pytest",
        "uv",
        "dvc",
        "conda",
        "mlflow",
    ),
    *(".", "cp", "git", "createdb", "time", "xdg-open", "echo", "bash", "export"),
}


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        page: the file, relative to the repository.
        line: its first line in the page, from 1.
        info: the word after the fence; empty for an indented block.
    """

    page: str
    line: int
    info: str
    code: str

    @property
    def language(self) -> str:
        """`shell`, `python`, `yaml`, `toml`, `text`, or `directive` of the site's generator."""
        if self.info.startswith("{"):
            return "directive"
        if self.info:
            return self.info
        if shell_lines(self.code) and program(shell_lines(self.code)[0]) in PROGRAMS:
            return "shell"
        if _is_yaml(self.code):
            return "yaml"
        try:
            ast.parse(self.code)
        except SyntaxError:
            return "text"
        return "python"


def _is_yaml(code: str) -> bool:
    try:
        return isinstance(yaml.safe_load(code), (dict, list))
    except yaml.YAMLError:
        return False


def shell_lines(code: str) -> list[str]:
    """Return the commands of a block, one per line: comments are cut off, continued and joined lines taken apart."""
    joined = re.sub(r"\\\n\s*", " ", code)
    bare = [re.sub(r"(?:^|\s{2,}| )#\s.*", "", line).strip() for line in joined.splitlines()]
    return [part.strip() for line in bare for part in line.split(" && ") if part.strip()]


def program(command: str) -> str:
    """Return the program of a command, without variables before it and folders of an environment.

    >>> program("FOO=1 .venv/bin/gradsiege claims")
    'gradsiege'
    """
    words = [word for word in command.split() if not re.match(r"[A-Z_]+=", word)]
    if not words:
        return ""
    return words[0] if words[0] == "." else words[0].rpartition("/")[2]


def pages() -> list[Path]:
    """Return the project's pages of Markdown that git has or would have, made ones left out."""
    folders = ("docs", "config", "data", "examples", ".github")
    nested = [path for folder in folders for path in (ROOT / folder).rglob("*.md")]
    every = [*ROOT.glob("*.md"), *nested]
    return sorted(path for path in every if "docs/reference/" not in path.as_posix())


@lru_cache
def blocks() -> tuple[Block, ...]:
    """Return every block of every page."""
    return tuple(block for path in pages() for block in _blocks(path))


def _blocks(path: Path) -> Iterator[Block]:
    text = re.sub(r"\A---\n.*?\n---\n", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for token in MarkdownIt().parse(text):
        if token.type in ("fence", "code_block"):
            line = (token.map or [0])[0] + 1
            yield Block(str(path.relative_to(ROOT)), line, token.info.strip(), token.content)

"""Every block of code in the pages: commands name verbs, options, targets and files that exist; Python calls what is there."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import shlex
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from code_blocks import ROOT, Block, blocks, program, shell_lines

import gradsiege
from docs.pages.command_line import parameters, verbs
from gradsiege import catalogue
from gradsiege.study import parse

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
GLOBAL = {"--help", "--version", "--install-completion", "--show-completion"}
# Drawings, and names that a reader is to replace; the file that a reader makes in the first study.
TEXTS = {"CONTRIBUTING.md", "config/README.md"}
READERS = {"config/mine.yaml"}


def of(language: str) -> list[Any]:
    """The blocks of a language as parameters of a test."""
    chosen = [block for block in blocks() if block.language == language]
    return [pytest.param(block, id=f"{block.page}:{block.line}") for block in chosen]


def test_no_block_is_passed_over() -> None:
    languages = {"shell", "python", "yaml", "toml", "directive"}
    for block in blocks():
        known = block.language in languages or (block.language == "text" and block.page in TEXTS)
        assert known, f"{block.page}:{block.line} is {block.language}: {block.code}"


@pytest.mark.parametrize("block", of("shell"))
def test_commands_name_what_exists(block: Block) -> None:
    code, _, _ = block.code.partition("<<")
    for command in shell_lines(code):
        assert not [*mistakes(command)], command


def mistakes(command: str) -> Iterator[str]:
    """Yield the words of a command that name nothing."""
    words = [word for word in shlex.split(command) if not re.match(r"[A-Z_]+=", word)]
    name = program(command)
    if name == "time":
        words, name = words[1:], words[1]
    if name == "gradsiege":
        yield from mistakes_of_verb(words[1:])
    elif name == "make":
        targets = [word for word in words[1:] if "=" not in word]
        yield from (f"make {one}" for one in targets if not re.search(rf"^{one}:", MAKEFILE, re.M))
    elif name == "snakemake":
        made = [re.match(r"results/\w+/(?:figures|tables)/(\w+)\.", word) for word in words]
        yield from (one[1] for one in made if one and one[1] not in catalogue.entries("figures"))
    elif name == "pytest":
        yield from (word for word in words[1:] if word[0] != "-" and not (ROOT / word).exists())
    elif name.startswith("python") and "-m" in words:
        module = words[words.index("-m") + 1]
        if module != "venv":
            importlib.import_module(module)
    for extras in re.findall(r"\[([\w,-]+)\]", command):
        yield from (extra for extra in extras.split(",") if extra not in EXTRAS)
    for file in re.findall(r"(?:config|examples)/[\w/.+-]+\.ya?ml", command):
        if not (ROOT / file).is_file() and file not in READERS:
            yield file


def mistakes_of_verb(words: list[str]) -> Iterator[str]:
    """Yield the words of a call of `gradsiege` that are neither a verb nor one of its options."""
    if words[0] in GLOBAL:
        return
    if words[0] not in verbs():
        yield words[0]
        return
    function = verbs()[words[0]].callback
    assert function
    options = {name for one in parameters(function) if one.is_option for name in one.names}
    given = [word.partition("=")[0] for word in words[1:] if word.startswith("-")]
    yield from (word for word in given if word not in options | GLOBAL)


@pytest.mark.parametrize(
    "command",
    [
        "gradsiege atack X",
        "gradsiege plan --studdy x",
        "make reprodoce",
        "snakemake results/quick/figures/galery.pdf",
        'pip install "gradsiege[studies]"',
        "snakemake --config study=config/gone.yaml",
    ],
)
def test_a_command_that_names_nothing_is_found(command: str) -> None:
    assert [*mistakes(command)]


@pytest.mark.parametrize("block", of("python"))
def test_python_calls_what_is_there_with_arguments_it_takes(block: Block) -> None:
    for call in calls(block.code):
        function = named(ast.unparse(call.func))
        if function is not None:
            keywords = {one.arg: ... for one in call.keywords if one.arg}
            # The block does not write out ``**arguments``.
            whole = all(one.arg for one in call.keywords)
            signature = inspect.signature(function)
            fit = signature.bind if whole else signature.bind_partial
            fit(*(... for _ in call.args), **keywords)


def calls(code: str) -> list[ast.Call]:
    """The calls in a piece of code."""
    return [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]


def named(path: str) -> Any:
    """Return the object `gs.a.b`; None for any other name. Raises AttributeError where nothing is."""
    first, *rest = path.split(".")
    if first != "gs" or not all(part.isidentifier() for part in rest):
        return None
    thing: Any = gradsiege
    for part in rest:
        thing = getattr(thing, part)
    return thing


def test_a_wrong_argument_is_found() -> None:
    block = Block("page", 1, "python", "gs.defenses.Gaussian(sigmma=0.1)")
    with pytest.raises(TypeError, match="sigmma"):
        test_python_calls_what_is_there_with_arguments_it_takes(block)
    with pytest.raises(AttributeError, match="Gausian"):
        named("gs.defenses.Gausian")


@pytest.mark.parametrize("block", of("yaml"))
def test_pieces_of_study_files_are_read(block: Block, tiny_raw: dict[str, Any]) -> None:
    written = yaml.safe_load(block.code)
    if "/path/to/" in block.code:
        assert set(written) <= set(tiny_raw) | {"priors"}
    else:
        parse(tiny_raw | written)


@pytest.mark.parametrize("block", of("toml"))
def test_pieces_of_a_project_file_are_read(block: Block) -> None:
    groups = tomllib.loads(block.code)["project"]["entry-points"]
    kinds = ("defenses", "attacks", "counters", "priors", "models", "datasets", "figures")
    assert set(groups) <= {f"gradsiege.{kind}" for kind in kinds}

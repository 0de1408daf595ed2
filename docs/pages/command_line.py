"""The reference of the command line, from the verbs' functions: their arguments, options, defaults and examples."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from typer.models import ArgumentInfo, CommandInfo

from docs.pages.markdown import cell, table
from gradsiege.cli import EXIT_CODES, app

KINDS = {bool: "", int: "whole number", float: "number", str: "text", Path: "path"}


@dataclass(frozen=True)
class Parameter:
    """One argument or option of a verb.

    Attributes:
        names: as they are written, such as ``--study`` and ``-s``; for an argument its name in capital letters.
        takes: the value's kind in words; empty for a switch.
        default: what holds if it is not given; None for nothing.
    """

    names: tuple[str, ...]
    takes: str
    required: bool
    default: Any
    meaning: str

    @property
    def is_option(self) -> bool:
        """Whether it is written with dashes."""
        return self.names[0].startswith("-")


def verbs() -> dict[str, CommandInfo]:
    """Return the verbs by name, in the order of ``gradsiege --help``."""
    return {
        verb.name or verb.callback.__name__: verb
        for verb in app.registered_commands
        if verb.callback
    }


def parameters(function: Callable[..., Any]) -> Iterator[Parameter]:
    """Yield the arguments and options of a verb's function."""
    hints = get_type_hints(function, include_extras=True)
    for name, given in inspect.signature(function).parameters.items():
        kind, info = get_args(hints[name])[:2]
        required = given.default is inspect.Parameter.empty
        default = None if required else given.default
        words = name.replace("_", "-")
        if isinstance(info, ArgumentInfo):
            names: tuple[str, ...] = (name.upper(),)
        else:
            # Beside `Annotated`, typer keeps the first name that is declared as the default.
            written = (info.default, *(info.param_decls or ()))
            declared = [
                part for text in written if isinstance(text, str) for part in text.split("/")
            ]
            switch = (f"--{words}", f"--no-{words}") if kind is bool else (f"--{words}",)
            names = tuple(declared) or switch
        yield Parameter(names, takes(kind), required, default, str(info.help or ""))


def takes(kind: Any) -> str:
    """Return a type in words.

    >>> takes(list[int] | None), takes(bool)
    ('whole number, several', '')
    """
    if get_origin(kind) is list:
        return f"{takes(get_args(kind)[0])}, several"
    inner = [part for part in get_args(kind) if part is not type(None)]
    return takes(inner[0]) if inner else KINDS[kind]


def page() -> str:
    """Return the page as Markdown, a section per verb."""
    codes = [
        code.strip(" .").partition(" ")[::2] for code in EXIT_CODES.partition(":")[2].split(";")
    ]
    parts = [
        "# Command line",
        "`gradsiege --help` and `gradsiege VERB --help` print the same.",
        *(section(name, verb) for name, verb in verbs().items()),
        f"## Exit codes\n\n{table(['code', 'meaning'], codes)}",
    ]
    return "\n\n".join(parts) + "\n"


def section(name: str, verb: CommandInfo) -> str:
    """Return one verb: its purpose, a call, its arguments and options, an example."""
    assert verb.callback
    shown = [*parameters(verb.callback)]
    places = [
        one.names[0] if one.required else f"[{one.names[0]}]" for one in shown if not one.is_option
    ]
    rows = [
        [", ".join(f"`{word}`" for word in one.names), one.takes, standard(one), cell(one.meaning)]
        for one in shown
    ]
    parts = [
        f"## {name}",
        inspect.cleandoc(verb.help or verb.callback.__doc__ or ""),
        f"```text\ngradsiege {' '.join([name, '[OPTIONS]', *places])}\n```",
        table(["name", "takes", "default", "meaning"], rows) if rows else "",
        verb.epilog or "",
    ]
    return "\n\n".join(part for part in parts if part)


def standard(parameter: Parameter) -> str:
    """Return a default as it is shown; switches that are off and empty values show none."""
    if parameter.required:
        return "required"
    return "" if parameter.default in (None, False, (), []) else f"`{parameter.default}`"

"""The command line: one verb per stage, and verbs that look without changing anything."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from gradsiege import __version__, output
from gradsiege.cli import auditing, inspection, results, stages
from gradsiege.cli.options import QUICK
from gradsiege.errors import ArtifactError, GradSiegeError, StoppedEarlyError, refused_by_machine

EXIT_CODES = (
    "Exit codes: 0 done; 1 a defect of the program; 2 wrong use; 3 invalid study file; 4 missing or damaged "
    "artifact; 5 data, weights or a package absent; 6 threat model too narrow; 7 tracking server or MLflow "
    "absent; 8 DVC or its remote absent; 9 an audit leaks more than --fail-above; 75 stopped early, run again to go on; 130 interrupted by Ctrl-C; 141 the reader of the output left."
)
app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="What gradient inversion in federated learning can and cannot do.",
    epilog="Example: `gradsiege plan --study config/quick.yaml`.  " + EXIT_CODES,
)
# One flat list of verbs, in the order of `--help`.
for group in (stages, auditing, inspection, results):
    app.registered_commands += group.verbs.registered_commands
# Exit code of a program that Ctrl-C ended, as shells report it.
INTERRUPTED = 130
NEAR = 200  # characters on either side of one that is not valid text


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    if version:
        typer.echo(f"gradsiege {__version__}")
        raise typer.Exit


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; expected errors become one message and a documented exit code."""
    output.take_any_text()
    output.remember_study(None, Path(), QUICK)
    with output.written_out():
        return _answer(arguments)


def _answer(arguments: list[str] | None) -> Any:
    try:
        return app(args=arguments, standalone_mode=True)
    except SystemExit as leaving:
        if leaving.code == INTERRUPTED:
            output.complain(
                "interrupted; what is finished is kept. Run the same command again to go on."
            )
        raise
    except StoppedEarlyError as error:
        output.complain(str(error))
        raise SystemExit(error.exit_code) from None
    except GradSiegeError as error:
        output.complain(f"error: {error}")
        raise SystemExit(error.exit_code) from None
    except UnicodeEncodeError as error:
        if "surrogates" not in error.reason:
            raise
        output.complain(f"error: {_around(error)!a} is not valid text; rename what bears it")
        raise SystemExit(ArtifactError.exit_code) from None
    except (OSError, RuntimeError, MemoryError) as error:
        if not refused_by_machine(error):
            raise
        output.complain(f"error: {refused_by_machine(error)}")
        raise SystemExit(ArtifactError.exit_code) from None


def _around(error: UnicodeEncodeError) -> str:
    r"""Return a short text whole, and of a long one the word or path that holds the character.

    >>> text = "mine/ant\udcff/0.png"
    >>> _around(UnicodeEncodeError("utf-8", f"{'a report ' * 99}on {text} and more", 902, 903, ""))
    'mine/ant\udcff/0.png'
    """
    text, place = error.object, error.start
    if len(text) <= NEAR:
        return text
    before = re.split(r"[\s\"'<>]", text[max(place - NEAR, 0) : place])[-1]
    after = re.split(r"[\s\"'<>]", text[place : place + NEAR])[0]
    return before + after

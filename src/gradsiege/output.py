"""Standard output whose reader leaves, whose disk is full, or whose terminal lacks a character."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gradsiege.errors import MEND_COMMAND, ArtifactError, refused_by_machine

# A shell's exit code for a program that SIGPIPE ended, such as `yes | head -1`.
READER_LEFT = 141
# Options that name the study and the root of the command that runs; `mend` would else complete the default study.
_options = ""


def take_any_text() -> None:
    """Let a terminal or pipe without UTF-8 show missing characters as escapes, so that a dash ends no run."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def remember_study(file: Path | None, root: Path, default: Path) -> None:
    """Let every `gradsiege mend` that is printed from now on name the study file and the root, unless both are the defaults.

    file: None forgets the study of an earlier command.
    """
    global _options
    words = [] if file in (None, default) else ["--study", str(file)]
    words += [] if root == Path() else ["--root", str(root)]
    _options = "".join(f" {shlex.quote(word)}" for word in words)


def addressed(text: str) -> str:
    """Return a text whose command `gradsiege mend` completes the study that the text is about.

    >>> remember_study(Path("my study.yaml"), Path("/srv"), Path("quick.yaml"))
    >>> addressed("It is damaged. `gradsiege mend` makes it anew.")
    "It is damaged. `gradsiege mend --study 'my study.yaml' --root /srv` makes it anew."
    >>> remember_study(None, Path(), Path("quick.yaml"))
    >>> addressed("`gradsiege mend` makes it anew.")
    '`gradsiege mend` makes it anew.'
    """
    return text.replace(f"`{MEND_COMMAND}`", f"`{MEND_COMMAND}{_options}`")


@contextmanager
def written_out() -> Iterator[None]:
    """Flush a command's output while its exit code can still report a failure; end silently if the reader has left.

    A command that has failed keeps its own code.
    """
    streams = sys.stdout, sys.stderr
    code: object = 0
    try:
        try:
            yield
        except SystemExit as leaving:
            code = leaving.code
            # The libraries of the command line answer a closed pipe with code 1.
            if code == 1 and _is_of_a_pipe(leaving):
                raise BrokenPipeError from None
            _flush()
            raise
        _flush()
    except BrokenPipeError:
        _discard()
        raise SystemExit(READER_LEFT if code in (0, 1, None) else code) from None
    except OSError as error:
        if not refused_by_machine(error):
            raise
        _discard()
        complain(f"error: standard output: {refused_by_machine(error)}")
        raise SystemExit(code or ArtifactError.exit_code) from None
    finally:
        sys.stdout, sys.stderr = streams


def complain(message: str) -> None:
    """Print a message to standard error, if it can be written; the exit code says the same in short."""
    with suppress(OSError):
        print(f"gradsiege: {addressed(message)}", file=sys.stderr, flush=True)


def _is_of_a_pipe(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, BrokenPipeError):
        error = error.__context__
    return error is not None


def _flush() -> None:
    # None: the stream was closed before the program began.
    if sys.stdout is not None:
        sys.stdout.flush()


def _discard() -> None:
    """Discard the remaining output, since the interpreter tries to write it once more at its end."""
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is None:
            continue
        try:
            stream.flush()
        except OSError:
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())

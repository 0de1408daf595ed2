"""Every error a user can meet, with the exit code it ends the program with.

Messages name the thing, the value, and what to do. Exit codes:

====  =========================================================================
code  meaning
====  =========================================================================
0     done
1     a defect of the program (a traceback is shown)
2     wrong use of the command line, a device or engine that is not there (`UsageError`)
3     the study file is invalid (`StudyError`)
4     an artifact is missing, damaged or of the wrong kind (`ArtifactError`)
5     data, weights or a package that the user must supply are absent (`MissingError`)
6     the threat model does not grant what the attack needs (`ThreatModelError`)
7     MLflow is not installed, or its server does not answer (`TrackingError`)
8     DVC or its remote is absent, not configured, or does not answer (`SharingError`)
9     an audit found more leakage than `--fail-above` allows (`LeakError`)
75    stopped early, progress is saved; run the same command again (`StoppedEarlyError`)
130   interrupted by Ctrl-C
141   the reader of the output left, as `head` does (`gradsiege.output`)
====  =========================================================================
"""

from __future__ import annotations

import errno
import json
import os
import re
from pathlib import Path

# The remedy for everything that is missing, damaged or made under other settings.
MEND_COMMAND = "gradsiege mend"
MEND = f"`{MEND_COMMAND}` makes it anew."


# Characters of a foreign error that a sentence of ours repeats.
MOST_SAID = 300


class GradSiegeError(Exception):
    """Base of all errors that are shown to the user as one message, without a traceback."""

    exit_code = 1


class UsageError(GradSiegeError):
    """An option names something unknown, or something that this machine does not have."""

    exit_code = 2


class ModelError(UsageError):
    """A network, an image shape or an update does not fit what the library can attack."""


class StudyError(GradSiegeError):
    """The study file names something unknown or contradicts itself."""

    exit_code = 3


class ArtifactError(GradSiegeError):
    """A file is missing, damaged, of another format version, or of the wrong kind."""

    exit_code = 4


class MissingError(GradSiegeError):
    """A data set, a weight file or a package that only the user can supply is absent."""

    exit_code = 5


class ThreatModelError(GradSiegeError):
    """An attack asks for knowledge that its threat model does not grant."""

    exit_code = 6


class TrackingError(GradSiegeError):
    """The tracking server cannot be reached, or MLflow is not installed; no result is touched."""

    exit_code = 7


class SharingError(GradSiegeError):
    """DVC is not installed, or a remote is not configured or does not answer; no result is touched."""

    exit_code = 8


class LeakError(GradSiegeError):
    """An audit ended, and its worst case exceeds the limit that the user set."""

    exit_code = 9


class StoppedEarlyError(GradSiegeError):
    """The job stopped before its end (signal or time budget) and saved its progress."""

    exit_code = 75


class StoppedByUserError(StoppedEarlyError):
    """Ctrl-C stopped the job, which says itself what is kept."""

    exit_code = 130


# errno values caused by the machine (full, read-only, failing, not ours); every other one is a bug of the program.
_REFUSALS = (
    "ENOSPC",
    "EDQUOT",
    "EFBIG",
    "EROFS",
    "EACCES",
    "EPERM",
    "EIO",
    "ENOTDIR",
    "ENAMETOOLONG",
)
# Where libraries keep caches and temporary files.
_FOLDERS = (
    "TMPDIR",
    "TORCHINDUCTOR_CACHE_DIR",
    "TORCH_HOME",
    "MPLCONFIGDIR",
    "HF_HOME",
    "NUMBA_CACHE_DIR",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "HOME",
)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error is an allocator's refusal, on either kind of device.

    >>> out_of_memory(MemoryError()), out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    (True, True)
    >>> out_of_memory(RuntimeError("shapes differ"))
    False
    """
    # By its name, since the command line shows errors without having loaded torch.
    on_device = type(error).__name__ == "OutOfMemoryError"
    return isinstance(error, MemoryError) or on_device or "can't allocate memory" in str(error)


def refused_by_machine(error: BaseException) -> str:
    """Return a sentence for an error caused by the machine, such as a full disk, a missing right or too little memory.

    It is empty for a bug of the program.

    >>> refused_by_machine(PermissionError(errno.EACCES, "Permission denied", "results/x"))
    'results/x: Permission denied. See to it, then run the same command again'
    >>> refused_by_machine(FileNotFoundError(errno.ENOENT, "No such file or directory", "results/x"))
    ''
    >>> refused_by_machine(RuntimeError("can't allocate memory: you tried to allocate 4096 bytes. Error code 12"))
    'there is not enough memory for 4096 bytes more. Choose smaller widths, batches or histories, or a machine with more memory'
    """
    if out_of_memory(error):
        wanted = re.search(r"allocate ([\d.]+ ?\w+)", str(error))
        return (
            f"there is not enough memory{f' for {wanted[1]} more' if wanted else ''}. Choose smaller widths, batches or "
            "histories, or a machine with more memory"
        )
    if not isinstance(error, OSError):
        return ""
    if "No usable temporary directory" in str(error.strerror):
        return (
            "no folder for temporary files can be written to. Free some space in /tmp, or set TMPDIR to a folder that can; "
            "then run the same command again"
        )
    variable = _leads_nowhere(error.filename)
    if variable:
        return (
            f"{error.filename}: {error.strerror}. Set {variable}, which leads there, to a folder that can be written to, "
            "then run the same command again"
        )
    if errno.errorcode.get(error.errno or 0) not in _REFUSALS:
        return ""
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror}. See to it, then run the same command again"


def _leads_nowhere(path: object) -> str:
    """Return the variable of a cache folder that contains `path` or lies in it and is not writable; else an empty string."""
    if not isinstance(path, str | os.PathLike):
        return ""
    place = Path(path)
    for name in _FOLDERS:
        folder = Path(os.environ.get(name) or os.sep)
        related = place.is_relative_to(folder) or folder.is_relative_to(place)
        if folder != Path(os.sep) and related and not os.access(folder, os.W_OK | os.X_OK):
            return name
    return ""


def in_words(error: Exception) -> str:
    """Return what is wrong with the plain data of a file, as a sentence says it.

    >>> in_words(KeyError("files")), in_words(FileNotFoundError(errno.ENOENT, "No such file or directory"))
    ("it lacks 'files'", 'it is not there')
    >>> in_words(json.JSONDecodeError("Expecting value", "x", 0))
    'it is not JSON: Expecting value: line 1 column 1 (char 0)'
    """
    if isinstance(error, json.JSONDecodeError):
        return f"it is not JSON: {error}"
    if isinstance(error, FileNotFoundError):
        return "it is not there"
    if isinstance(error, OSError):
        return str(error.strerror)
    if isinstance(error, KeyError):
        return f"it lacks {error}"
    return (
        "it holds other data"
        if isinstance(error, TypeError | AttributeError | IndexError)
        else str(error)
    )


def without_remedy(text: str) -> str:
    """Return a message without `MEND`, for a sentence that names the remedy itself.

    >>> without_remedy(f"x is damaged. {MEND}; y is damaged. {MEND}")
    'x is damaged; y is damaged'
    """
    return text.replace(f". {MEND}", "").replace(MEND, "").rstrip(" .")


def in_a_line(error: BaseException) -> str:
    r"""Return the kind and the text of an error of foreign code as one line of at most 300 characters.

    >>> in_a_line(ValueError("of two\n lines")), in_a_line(AssertionError())
    ('ValueError: of two lines', 'AssertionError')
    """
    said = " ".join([f"{type(error).__name__}:", *str(error).split()]).rstrip(": .")
    return said if len(said) <= MOST_SAID else f"{said[:MOST_SAID]} ..."


def nearest(word: str, known: list[str] | tuple[str, ...]) -> str:
    """Return a hint that names the known word closest to `word`, or lists all of them.

    >>> nearest("any", [])
    'there is none to choose from'

    >>> nearest("gausian", ["gaussian", "laplace"])
    "did you mean 'gaussian'?"
    >>> nearest("zzz", ["a", "b"])
    'known: a, b'
    """
    import difflib

    if not known:
        return "there is none to choose from"
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]!r}?" if close else "known: " + ", ".join(sorted(known))

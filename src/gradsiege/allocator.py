"""Memory that is freed and kept for the next tensor instead of being fetched anew."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

# Parameters of glibc's `mallopt` (malloc.h), and the values to which glibc raises them by itself in a process that frees large blocks.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
USUAL = {MMAP_THRESHOLD: 2**25, TRIM_THRESHOLD: 2**26}
# Blocks of up to a gigabyte are taken from memory that was freed before. A glibc that takes no such size (before 2.35) is left alone:
# either parameter, once set, stops it from adapting both.
KEPT = {MMAP_THRESHOLD: 2**30, TRIM_THRESHOLD: 2**31 - 1}


@contextmanager
def freed_memory_kept() -> Iterator[bool]:
    """Keep freed memory while the block runs; yield whether the C library does that.

    A tensor of more than 32 MiB is otherwise mapped and zeroed page by page whenever it is made, which costs attacks on updates of millions
    of numbers a third of their time or more. Where the C library is not glibc, memory is handled as ever.
    """
    kept = _set(KEPT)
    try:
        yield kept
    finally:
        if kept:
            _set(USUAL)
            ctypes.CDLL(None).malloc_trim(0)


def _set(values: dict[int, int]) -> bool:
    """Set parameters in their order until one is refused; return whether all were taken (`mallopt` returns 1 then)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(
        mallopt(parameter, value) == 1 for parameter, value in values.items()
    )

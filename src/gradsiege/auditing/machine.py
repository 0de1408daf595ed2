"""The processor during an audit: threads, and memory that is kept for the next tensor instead of being fetched anew."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Parameters of glibc's `mallopt` (malloc.h), and the values to which glibc raises them by itself in a process that frees large blocks.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
USUAL = {MMAP_THRESHOLD: 2**25, TRIM_THRESHOLD: 2**26}
# Blocks of up to a gigabyte are taken from memory that was freed before.
KEPT = {MMAP_THRESHOLD: 2**30, TRIM_THRESHOLD: 2**31 - 1}


@contextmanager
def to_itself() -> Iterator[None]:
    """Keep freed memory while the block runs, and restore the number of threads at its end.

    A tensor of more than 32 MiB is otherwise mapped and zeroed page by page whenever it is made, which cost a comparison of many
    candidates a third of its time. Where the C library is not glibc, memory is handled as ever.
    """
    threads = torch.get_num_threads()
    _set(KEPT)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        _set(USUAL)
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def _set(values: dict[int, int]) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in values.items():
            mallopt(parameter, value)

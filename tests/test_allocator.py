"""Memory that is freed is used again while large tensors come and go."""

from __future__ import annotations

import ctypes
import resource
import subprocess
import sys

import pytest

from gradsiege import allocator
from gradsiege.allocator import freed_memory_kept


@pytest.mark.parametrize("first", [0, 1])
def test_a_parameter_of_memory_is_set_only_after_the_first_was_taken(
    monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    """An older glibc takes no size of a gigabyte; a second parameter alone would stop it from adapting both."""
    calls: list[tuple[int, int]] = []

    class Library:
        """A C library that takes the first call or not."""

        def mallopt(self, parameter: int, value: int) -> int:
            """Keep the call."""
            calls.append((parameter, value))
            return first

        def malloc_trim(self, pad: int) -> int:
            """Free nothing."""
            return 0

    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: Library())
    with freed_memory_kept() as kept:
        assert kept == bool(first)
    sizes = [*allocator.KEPT.items(), *allocator.USUAL.items()]
    assert calls == (sizes if first else sizes[:1])
    assert calls[0][0] == allocator.MMAP_THRESHOLD


FAULTS = """
import resource, torch
from gradsiege.allocator import freed_memory_kept

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

outside = faults()
with freed_memory_kept() as kept:
    # The slivers that align a tensor first fill the C library's cache; only then do freed tensors join to blocks that fit again.
    for _ in range(30):
        torch.ones(2**24)
    print(int(kept), outside, faults())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_memory_that_is_freed_is_used_again() -> None:
    """A tensor of 64 MiB, made ten times, is not mapped ten times page by page.

    In a process of its own: a process that was once refused memory takes it from an arena that holds no such blocks.
    """
    pages = 2**26 // resource.getpagesize()
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True, timeout=120
    )
    kept, outside, inside = map(int, done.stdout.split())
    if outside < 8 * pages:
        pytest.skip(
            "here memory is not mapped page by page: pages are large, or freed ones are kept"
        )
    if not kept:
        pytest.skip("this glibc keeps no blocks of a gigabyte")
    assert inside < pages

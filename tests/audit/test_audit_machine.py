"""The machine of an audit: threads, a GPU's pace, and memory that is used again."""

from __future__ import annotations

import ctypes
import resource

import pytest
import torch
from small_audits import ONE

from gradsiege.auditing import machine
from gradsiege.auditing.budget import BUDGETS
from gradsiege.auditing.machine import to_itself
from gradsiege.auditing.situations import situations
from gradsiege.auditing.sizing import measured_pace
from gradsiege.auditing.subject import Subject


def test_one_thread_is_taken_where_several_are_slower(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place,) = situations(["given"], [ONE], [None])
    for slower, expected in ((5.0, 1), (0.5, 2)):
        monkeypatch.setattr(
            "gradsiege.auditing.sizing._timed",
            lambda *given, factor=slower: (
                1e-3 * (factor if torch.get_num_threads() > 1 else 1.0),
                20.0,
            ),
        )
        with to_itself():
            torch.set_num_threads(2)
            pace = measured_pace(subject, place, BUDGETS["quick"])
            assert torch.get_num_threads() == expected
        assert pace == pytest.approx(1e-3 * min(1.0, slower))


def test_a_gpu_is_timed_once_with_the_threads_that_there_are(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place,) = situations(["given"], [ONE], [None])
    threads: list[int] = []

    def timed(*given: object) -> tuple[float, float]:
        threads.append(torch.get_num_threads())
        return 1e-3, 20.0

    monkeypatch.setattr("gradsiege.auditing.sizing._timed", timed)
    monkeypatch.setattr(
        "gradsiege.auditing.sizing.where_to_run", lambda device: torch.device("cuda")
    )
    with to_itself():
        torch.set_num_threads(2)
        measured_pace(subject, place, BUDGETS["quick"], "cuda")
        assert torch.get_num_threads() == 2
    assert threads == [2]


def test_threads_are_those_of_the_caller_afterwards() -> None:
    before = torch.get_num_threads()
    with to_itself():
        torch.set_num_threads(before + 1)
    assert torch.get_num_threads() == before


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

    monkeypatch.setattr(machine.ctypes, "CDLL", lambda name: Library())
    with to_itself() as kept:
        assert kept == bool(first)
    sizes = [*machine.KEPT.items(), *machine.USUAL.items()]
    assert calls == (sizes if first else sizes[:1])
    assert calls[0][0] == machine.MMAP_THRESHOLD


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_memory_that_is_freed_is_used_again() -> None:
    """A tensor of 64 MiB, made ten times, is not mapped ten times page by page."""
    pages = 2**26 // resource.getpagesize()

    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(10):
            torch.ones(2**24)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    outside = faults()
    if outside < 8 * pages:
        pytest.skip(
            "here memory is not mapped page by page: pages are large, or freed ones are kept"
        )
    with to_itself() as kept:
        if not kept:
            pytest.skip("this glibc keeps no blocks of a gigabyte")
        assert faults() < min(3 * pages, outside / 2)

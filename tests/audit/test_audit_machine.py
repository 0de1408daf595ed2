"""The machine of an audit: its threads, and a GPU's pace."""

from __future__ import annotations

import pytest
import torch
from small_audits import ONE

from gradsiege.auditing.budget import BUDGETS
from gradsiege.auditing.machine import processor_settings_restored
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
        with processor_settings_restored():
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
    with processor_settings_restored():
        torch.set_num_threads(2)
        measured_pace(subject, place, BUDGETS["quick"], "cuda")
        assert torch.get_num_threads() == 2
    assert threads == [2]


def test_threads_are_those_of_the_caller_afterwards() -> None:
    before = torch.get_num_threads()
    with processor_settings_restored():
        torch.set_num_threads(before + 1)
    assert torch.get_num_threads() == before

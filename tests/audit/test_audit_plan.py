"""The plan of an audit: what decides the worst case comes first, and loses iterations before it is left out."""

from __future__ import annotations

import ctypes
import json
import resource
from dataclasses import replace

import pytest
import torch
from small_audits import BUDGET, Nothing, audited, pictures
from small_classifiers import small

from gradsiege.auditing.budget import BUDGETS, Budget
from gradsiege.auditing.document import document
from gradsiege.auditing.machine import to_itself
from gradsiege.auditing.page.page import render
from gradsiege.auditing.page.sentences import lead
from gradsiege.auditing.plan import HARD, NO_TIME, Plan, laid_out, within
from gradsiege.auditing.run import Runner
from gradsiege.auditing.situations import situations
from gradsiege.auditing.sizing import measured_pace, sized
from gradsiege.auditing.subject import Subject, checked
from gradsiege.defenses import Gaussian, Precode, Tip
from gradsiege.defenses.base import Defense
from gradsiege.protocol.local_update import LocalTraining

ONE = LocalTraining("fedsgd", 1, 1, 1, 0.1, "eval")


@pytest.fixture(scope="module")
def subject() -> Subject:
    images, labels = pictures(40)
    return checked(Subject({"given": small()}, images, labels))


def planned(subject: Subject, budget: Budget, pace: float, *defenses: Defense) -> Plan:
    """The plan of a machine that takes `pace` seconds per picture and iteration."""
    listed = situations(["given"], [ONE], [None, *defenses])
    return within(
        laid_out(subject, listed, budget, sized(subject, listed, budget, pace)), spent=0.0
    )


def places(plan: Plan, defense: str) -> dict[str, int]:
    """Where each attacker on a defense stands in a plan."""
    return {
        part.attacker.id: place
        for place, part in enumerate(plan.parts)
        if part.situation.name.startswith(defense)
    }


@pytest.mark.parametrize("defense", [Tip(ratio=0.1), Gaussian(sigma=0.1), Precode(units=6)])
def test_informed_attackers_come_before_blind_ones_that_are_no_floor(
    subject: Subject, defense: Defense
) -> None:
    order = places(planned(subject, BUDGETS["thorough"], 1e-6, defense), defense.name)
    blind = {name: place for name, place in order.items() if "+" not in name}
    informed = {
        name: place
        for name, place in order.items()
        if "+" in name and not name.startswith(("modern", "maximum_a_posteriori"))
    }
    assert len(informed) >= 4
    assert max(informed.values()) < blind["inverting_gradients"]
    assert max(informed.values()) < blind["maximum_a_posteriori"] < blind["gradinversion"]
    # What needs no update beyond its label costs nothing, and no verdict stands without it.
    assert max(blind["label_lookup"], blind["auxiliary_lookup"]) < min(informed.values())
    generic = order["maximum_a_posteriori+generic.learned_reliability"]
    assert generic < blind["inverting_gradients"]


@pytest.mark.parametrize("pace", [1e-4, 1e-3, 1e-2, 3e-2])
def test_a_slow_machine_costs_iterations_and_pictures_and_no_attacker_that_decides(
    subject: Subject, pace: float
) -> None:
    plan = planned(subject, BUDGETS["quick"], pace, Tip(ratio=0.1))
    assert not [part.key for part in plan.parts if part.reason == NO_TIME]
    assert plan.seconds <= HARD * plan.budget.seconds


def test_starts_are_cut_down_before_iterations(subject: Subject) -> None:
    budget = BUDGETS["standard"]
    free = planned(subject, budget, 1e-9)
    assert free.size.restarts == budget.restarts
    assert free.notes == []
    tight = next(
        plan
        for plan in (planned(subject, budget, 1e-4 * 1.3**step) for step in range(60))
        if plan.size.restarts < budget.restarts
    )
    assert tight.size.iterations == budget.iterations
    assert any("1 start instead of 2" in note for note in tight.notes)


def test_when_time_runs_short_what_decides_gives_up_settings_then_iterations(
    subject: Subject,
) -> None:
    budget = replace(BUDGETS["quick"], seconds=1e5)
    plan = planned(subject, budget, 1e-2, Gaussian(sigma=0.1))
    assert plan.size.iterations == budget.iterations
    late = within(plan, spent=1e5 - 0.5 * plan.seconds)
    deciding = [part for part in late.parts if part.attacker.decides and part.shortens]
    assert all(not part.chosen or not part.tuning for part in deciding)
    later = within(plan, spent=1e5 - 0.2 * plan.seconds)
    deciding = [part for part in later.parts if part.attacker.decides and not part.reason]
    least = budget.least_iterations
    counts = {part.attacker.attack.iterations for part in deciding if part.shortens}
    assert len(counts) == 1, "all of them give up as much"
    assert least <= counts.pop() < budget.iterations
    assert any("fewer iterations" in note for note in later.notes)
    left_out = {part.attacker.id for part in later.parts if part.reason == NO_TIME}
    assert left_out <= {"inverting_gradients", "maximum_a_posteriori", "identification"}
    gone = within(plan, spent=2e5)
    assert all(part.reason for part in gone.parts if part.attacker.turn > 0)


def test_a_machine_that_is_slower_than_in_its_trial_finishes_what_decides(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every attack takes three times as long as the plan says; the clock is planted."""
    attacked = Runner._attacked

    def slow(self: Runner, part: object, pictures: int) -> object:
        outcome = attacked(self, part, pictures)  # type: ignore[arg-type]
        return replace(outcome, seconds=3 * part.seconds)  # type: ignore[attr-defined]

    monkeypatch.setattr(Runner, "_attacked", slow)
    monkeypatch.setattr("gradsiege.auditing.sizing.measured_pace", lambda *arguments, **named: 1e-2)
    budget = replace(BUDGET, iterations=40, least_iterations=1, seconds=40.0)
    found = audited(budget=budget, defenses=[Nothing()])
    ran = {part.attacker.id: part.attacker.attack for part in found.plan.running}
    informed = ran["inverting_gradients+generic.learned_reliability"]
    assert 1 <= informed.iterations < 40
    assert found.plan.notes
    # The table holds the iterations that were run.
    rows = found.scores.table.groupby("attack")["iterations"].max()
    assert rows["inverting_gradients+generic.learned_reliability"] == informed.iterations


def test_what_is_left_out_stands_beside_the_number(subject: Subject) -> None:
    found = audited(
        budget=replace(BUDGET, seconds=1e-6, iterations=1, least_iterations=1), defenses=[Nothing()]
    )
    names = found.plan.undecided(found.worst.situation)
    assert "inverting_gradients+generic.learned_reliability" in names
    told = " ".join(lead(found))
    assert "The number may be too low" in told
    assert "generic: learned reliability" in told
    assert "The number may be too low" in render(found)
    assert json.loads(json.dumps(document(found)))["worst_case"]["left_out"] == names


def test_an_audit_with_time_says_that_nothing_is_missing() -> None:
    found = audited()
    assert found.plan.undecided(found.worst.situation) == []
    assert "too low" not in " ".join(lead(found))
    assert document(found)["worst_case"]["left_out"] == []


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


def test_threads_are_those_of_the_caller_afterwards() -> None:
    before = torch.get_num_threads()
    with to_itself():
        torch.set_num_threads(before + 1)
    assert torch.get_num_threads() == before


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_memory_that_is_freed_is_used_again() -> None:
    """A tensor of 64 MiB, made ten times, is not mapped ten times page by page."""
    pages = 2**26 // resource.getpagesize()

    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(10):
            torch.ones(2**24)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    with to_itself():
        assert faults() < 3 * pages

"""The plan of an audit: what decides the worst case comes first, and loses iterations before it is left out."""

from __future__ import annotations

import ctypes
import json
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from small_audits import BUDGET, Broken, Nothing, audited, later, pictures
from small_classifiers import small

from gradsiege.auditing import machine
from gradsiege.auditing.auxiliary import SPARE
from gradsiege.auditing.budget import BUDGETS, Budget
from gradsiege.auditing.document import document
from gradsiege.auditing.machine import to_itself
from gradsiege.auditing.page.page import render
from gradsiege.auditing.page.sentences import lead
from gradsiege.auditing.parts import Outcome, Parts
from gradsiege.auditing.plan import HARD, NO_TIME, Part, Plan, laid_out, within
from gradsiege.auditing.recorded_source import RecordedUpdates
from gradsiege.auditing.run import Runner
from gradsiege.auditing.settings import Chooser, note
from gradsiege.auditing.situations import Situation, situations
from gradsiege.auditing.sizing import measured_pace, sized
from gradsiege.auditing.subject import Subject, checked
from gradsiege.auditing.words import attacker_in_words
from gradsiege.defenses import Gaussian, Precode, Tip
from gradsiege.defenses.base import Defense
from gradsiege.models.adapted import adapt
from gradsiege.protocol.local_update import LocalTraining
from gradsiege.protocol.observation import Observation

ONE = LocalTraining("fedsgd", 1, 1, 1, 0.1, "eval")


@pytest.fixture(scope="module")
def subject() -> Subject:
    images, labels = pictures(40)
    return checked(Subject({"given": small()}, images, labels))


def planned(subject: Subject, budget: Budget, pace: float, *defenses: Defense) -> Plan:
    """The plan of a machine that takes `pace` seconds per picture and iteration."""
    listed = situations(["given"], [ONE], [None, *defenses])
    return within(
        laid_out(subject, listed, budget, sized(subject, listed, budget, pace, SPARE), SPARE),
        spent=0.0,
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
    # Floors need no update beyond its label: they cost nothing, and no verdict stands without them.
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
    assert any("1 start instead of 2" in told for told in tight.notes)


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
    assert any("fewer iterations than planned" in told for told in later.notes)
    assert "were chosen" in note(plan)
    assert "published" not in note(plan)
    published = {part.attacker.id for part in late.running if not part.chosen}
    assert published
    sentence = note(late)
    assert "ran with published settings in at least one situation" in sentence
    assert all(attacker_in_words(name) in sentence for name in published)
    settled = replace(late, parts=tuple(part.as_published() for part in late.parts))
    assert "were chosen" not in note(settled)
    left_out = {part.attacker.id for part in later.parts if part.reason == NO_TIME}
    assert left_out <= {"inverting_gradients", "maximum_a_posteriori", "identification"}
    gone = within(plan, spent=2e5)
    assert all(part.reason for part in gone.parts if part.attacker.turn > 0)


def test_a_machine_that_is_slower_than_in_its_trial_finishes_what_decides(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every attack takes three times as long as the plan says; the clock is planted."""
    attacked = Runner._attacked

    def slow(self: Runner, part: Part, pictures: int) -> Outcome:
        outcome = attacked(self, part, pictures)
        return replace(outcome, seconds=3 * part.seconds)

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


def paced(monkeypatch: pytest.MonkeyPatch, factors: Callable[[int], float]) -> list[Part]:
    """Let the n-th attack take `factors(n)` times what the plan says, and return the parts that ran, once they have."""
    attacked, ran = Runner._attacked, []

    def timed(self: Runner, part: Part, pictures: int) -> Outcome:
        outcome = attacked(self, part, pictures)
        ran.append(part)
        return replace(outcome, seconds=factors(len(ran) - 1) * part.seconds)

    monkeypatch.setattr(Runner, "_attacked", timed)
    monkeypatch.setattr("gradsiege.auditing.sizing.measured_pace", lambda *given, **named: 5e-2)
    return ran


def test_one_short_attack_does_not_tell_how_fast_a_machine_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first lookup takes 30 seconds instead of one; the rest keeps to a plan that fills half of the time."""
    ran = paced(monkeypatch, lambda place: 30.0 if place == 0 else 1.0)
    budget = replace(BUDGET, iterations=8, least_iterations=1, seconds=200.0)
    found = audited(budget=budget, defenses=[Nothing()])
    assert ran[0].seconds < 0.05 * budget.seconds, "it was a short one"
    assert [part.key for part in found.plan.parts if part.reason == NO_TIME] == []
    assert {part.attacker.attack.iterations for part in ran if part.shortens} == {8}
    assert found.plan.notes == []


def test_what_time_that_ran_short_took_comes_back_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first attacks are three times as slow as planned, all later ones take no time."""
    ran = paced(monkeypatch, lambda place: 3.0 if place < 4 else 0.0)
    budget = replace(BUDGET, iterations=8, least_iterations=1, seconds=85.0)
    found = audited(budget=budget, defenses=[Nothing()])
    counts = [
        part.attacker.attack.iterations for part in ran if part.shortens and part.attacker.decides
    ]
    assert counts[0] < 8, "it was cut down while time was short"
    assert counts[-1] == 8
    assert found.plan.parts[-1].reason != NO_TIME


def test_a_part_that_was_passed_over_is_tried_again_when_the_machine_catches_up(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first attacks are so slow that only shorter ones still fit; those take no time, so that the longer ones fit again."""
    listed = situations(["given"], [ONE], [None, Nothing()])
    budget = replace(BUDGET, iterations=8, least_iterations=8, trials=1, seconds=44.0)
    plan = laid_out(subject, listed, budget, sized(subject, listed, budget, 5e-2, SPARE), SPARE)
    tried: list[Part] = []

    def outcome(self: Runner, laid: Part, part: Part, pictures: int) -> SimpleNamespace | None:
        tried.append(part)
        slow = 3.0 if sum(not one.reason for one in tried) <= 4 else 0.0
        lasted = SimpleNamespace(seconds=slow * part.seconds, simulated=0.0, whole=True)
        return None if part.reason else SimpleNamespace(**vars(lasted), ran=lambda laid: part)

    monkeypatch.setattr(Runner, "_outcome", outcome)
    runner = Runner(subject, {}, torch.zeros, Parts(None, ""), Chooser(budget, 0, "cpu"))
    carried_out, _ = runner.run(plan)
    passed_over = {part.key for part in tried if part.reason == NO_TIME}
    ran = [part.key for part in tried if not part.reason]
    assert passed_over & set(ran), "an attack that was passed over ran later"
    assert len(set(ran)) == len(ran), "no attack runs twice"
    assert [part.key for part in carried_out.parts] == [part.key for part in plan.parts]
    assert not [part for part in carried_out.parts if part.reason == NO_TIME]


def test_an_attack_that_fails_at_once_does_not_tell_how_fast_a_machine_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All attacks that run are three times as slow as planned; half of the attacks meet a defense whose code fails."""
    asked: list[tuple[float, float]] = []

    def noted(spent: float, expected: float, budget: float) -> float:
        asked.append((spent, expected))
        return 1.0

    monkeypatch.setattr("gradsiege.auditing.run.slowness_of", noted)
    ran = paced(monkeypatch, lambda place: 3.0)
    audited(defenses=[Broken()])
    refused = sum(part.seconds for part in ran if part.situation.defense is not None)
    told = sum(part.seconds for part in ran[:-1] if part.situation.defense is None)
    assert refused > 0
    assert asked[-1] == pytest.approx((3 * told, told))


def test_settings_are_said_to_be_chosen_only_where_pictures_suffice() -> None:
    """The attacker has 5 spare pictures, and a client holds 8: no trial has a client."""
    training = LocalTraining("fedsgd", 8, 8, 1, 0.1, "eval")
    found = audited(budget=replace(BUDGET, trials=2, iterations=1), training=training)
    assert [part for part in found.plan.parts if part.tuning] == []
    assert note(found.plan).startswith("The attacks ran with their published settings.")
    found = audited(budget=replace(BUDGET, trials=2, iterations=1))
    assert [part for part in found.plan.parts if part.tuning]
    assert "were chosen among 2 settings" in note(found.plan)


def test_clients_are_simulated_outside_the_time_of_an_attack(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hours, observed = [0.0], Subject.observed

    def slow(self: Subject, situation: Situation, clients: int) -> Observation:
        hours[0] += 1e4
        return observed(self, situation, clients)

    monkeypatch.setattr(Subject, "observed", slow)
    monkeypatch.setattr(
        "gradsiege.auditing.run.time",
        SimpleNamespace(monotonic=lambda: hours[0] + time.monotonic()),
    )
    found = audited(budget=replace(BUDGET, rank=0, iterations=1))
    assert hours[0] > 0
    assert found.seconds < 1e4
    assert [part for part in found.plan.parts if part.reason == NO_TIME] == []
    # The budget holds all the same what clients take.
    found = audited(budget=replace(BUDGET, rank=0, iterations=1, seconds=300.0))
    assert found.seconds < 1e4
    assert [part for part in found.plan.parts if part.reason == NO_TIME]


def test_a_finished_part_says_with_how_many_iterations_it_ran(subject: Subject) -> None:
    plan = planned(subject, replace(BUDGET, iterations=40), 1e-6, Gaussian(sigma=0.1))
    part = next(part for part in plan.parts if part.shortens)
    assert part.attacker.attack.iterations == 40
    ran = Outcome(None, 1.0, effort=(40, True)).ran(part.with_iterations(10))
    assert ran.attacker.attack.iterations == 40
    assert ran.seconds == pytest.approx(part.seconds)


def test_attackers_that_left_no_mark_on_one_judged_network_are_named() -> None:
    """The number is that of all networks: what is missing on the one that looks safer may change it."""
    budget = replace(BUDGET, rank=0, iterations=1)
    found = audited(model={"early": small(), "late": later()}, budget=budget)
    assert found.left_out == []
    key = next(
        one.situation.key
        for one in found.findings
        if one.situation.key != found.worst.situation.key
    )
    parts = [
        replace(part, reason=NO_TIME) if part.situation.key == key else part
        for part in found.plan.parts
    ]
    short = replace(found, plan=replace(found.plan, parts=tuple(parts)))
    names = {part.attacker.id for part in parts if part.situation.key == key}
    assert set(short.left_out) == names
    assert document(short)["worst_case"]["left_out"] == short.left_out
    assert f"{len(names)} attacks did not fit" in " ".join(lead(short))


def test_attackers_who_decide_nothing_are_left_out_by_name(subject: Subject) -> None:
    plan = within(planned(subject, BUDGETS["quick"], 1e-6, Gaussian(sigma=0.1)), spent=1e4)
    blind = [part for part in plan.parts if part.reason == NO_TIME and not part.attacker.decides]
    assert blind
    for part in blind:
        assert part.attacker.id in plan.without_time({part.situation.key})
    assert plan.without_time(set()) == []


def test_no_time_is_set_aside_for_a_search_without_a_gallery(subject: Subject) -> None:
    (place,) = situations(["recorded"], [ONE], [None])
    seen = subject.observed(situations(["given"], [ONE], [None])[0], 4)
    source = RecordedUpdates(small(), seen, adapt(small(), (3, 16, 16), None, None), 0)
    size = sized(source, [place], BUDGETS["thorough"], 1e-6, SPARE)
    seeking = [
        part
        for part in laid_out(source, [place], BUDGETS["thorough"], size, SPARE).parts
        if part.attacker.seeks
    ]
    assert seeking
    assert {part.reason for part in seeking} == {"there is no gallery of candidates"}


def test_what_is_left_out_stands_beside_the_number() -> None:
    found = audited(
        budget=replace(BUDGET, seconds=1e-6, iterations=1, least_iterations=1),
        defenses=[Gaussian(sigma=0.01)],
    )
    names = found.left_out
    assert "inverting_gradients+generic.learned_reliability" in names
    told = " ".join(lead(found))
    assert "The number may be too low" in told
    assert "generic: learned reliability" in told
    assert "The number may be too low" in render(found)
    assert json.loads(json.dumps(document(found)))["worst_case"]["left_out"] == names


def test_an_audit_with_time_says_that_nothing_is_missing() -> None:
    found = audited()
    assert found.left_out == []
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

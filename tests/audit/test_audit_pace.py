"""The pace of an audit: a machine that is slower or faster than in its trial, and what the time holds then."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from small_audits import BUDGET, ONE, Broken, Nothing, audited

from gradsiege.auditing.auxiliary import SPARE
from gradsiege.auditing.parts import Outcome, Parts
from gradsiege.auditing.plan import NO_TIME, Part, laid_out
from gradsiege.auditing.run import Runner
from gradsiege.auditing.settings import Chooser
from gradsiege.auditing.situations import Situation, situations
from gradsiege.auditing.sizing import sized
from gradsiege.auditing.subject import Subject
from gradsiege.protocol.observation import Observation


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


def test_informed_attackers_get_the_iterations_of_their_like_on_no_defense(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The machine turns out five times as slow with the first attack under a prior: its like on the defense gets as much all the same."""
    ran = paced(monkeypatch, lambda place: 1.0 if place < 4 else 5.0)
    budget = replace(BUDGET, iterations=30, least_iterations=1, seconds=120.0)
    found = audited(budget=budget, defenses=[Nothing()])
    counts: dict[str, list[int]] = {}
    for part in ran:
        if part.shortens and part.attacker.decides:
            counts.setdefault(part.attacker.attack.name, []).append(part.attacker.attack.iterations)
    assert {name: len(of) for name, of in counts.items()} == {
        "maximum_a_posteriori": 2,
        "inverting_gradients": 2,
    }
    assert counts["maximum_a_posteriori"][0] == counts["maximum_a_posteriori"][1]
    assert counts["inverting_gradients"][0] == counts["inverting_gradients"][1]
    assert counts["inverting_gradients"][0] < counts["maximum_a_posteriori"][0], "time ran short"
    assert found.plan.notes


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

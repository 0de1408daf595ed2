"""The plan of an audit: what decides the worst case comes first, and loses iterations before it is left out."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from small_audits import BUDGET, ONE, audited, later
from small_classifiers import small

from gradsiege.attacks.recipes.identification import Identification
from gradsiege.attacks.recipes.maximum_a_posteriori import MaximumAPosteriori
from gradsiege.auditing.auxiliary import SPARE
from gradsiege.auditing.budget import BUDGETS, Budget
from gradsiege.auditing.document import document
from gradsiege.auditing.findings import LEAKS
from gradsiege.auditing.page.page import render
from gradsiege.auditing.page.sentences import lead
from gradsiege.auditing.parts import Outcome
from gradsiege.auditing.plan import HARD, NO_TIME, Part, Plan, laid_out, within
from gradsiege.auditing.portfolio import Effort, portfolio, rate_of
from gradsiege.auditing.recorded_source import RecordedUpdates
from gradsiege.auditing.settings import note
from gradsiege.auditing.situations import situations
from gradsiege.auditing.sizing import sized
from gradsiege.auditing.subject import Subject
from gradsiege.auditing.times import ADDED, OVERHEAD, WEIGHED
from gradsiege.auditing.words import attacker_in_words
from gradsiege.defenses import Gaussian, Precode, Tip
from gradsiege.defenses.base import Defense
from gradsiege.models.adapted import adapt
from gradsiege.protocol.local_update import LocalTraining


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
    assert "without a choice" not in note(plan)
    steps = {
        (part.chosen, part.attacker.attack.iterations, part.attacker.attack.learning_rate)
        for part in (*plan.running, *late.running, *later.running)
        if isinstance(part.attacker.attack, MaximumAPosteriori)
    }
    assert {rate for chosen, _, rate in steps if chosen} == {0.05}
    short = [(count, rate) for chosen, count, rate in steps if not chosen]
    assert min(short)[0] < 300, "time ran short"
    assert all(rate == rate_of(count) for count, rate in short)
    published = {part.attacker.id for part in late.running if not part.chosen}
    assert published
    sentence = note(late)
    assert "ran without a choice of settings in at least one situation" in sentence
    assert all(attacker_in_words(name) in sentence for name in published)
    settled = replace(late, parts=tuple(part.as_published() for part in late.parts))
    assert "were chosen" not in note(settled)
    left_out = {part.attacker.id for part in later.parts if part.reason == NO_TIME}
    assert left_out <= {"inverting_gradients", "maximum_a_posteriori", "identification"}
    gone = within(plan, spent=2e5)
    assert all(part.reason for part in gone.parts if part.attacker.turn > 0)


def test_an_attack_keeps_the_iterations_that_it_had_where_it_ran_first(subject: Subject) -> None:
    """An informed attacker with fewer iterations than its like on no defense would prove nothing."""
    budget = replace(BUDGETS["quick"], seconds=1e5)
    plan = planned(subject, budget, 1e-2, Gaussian(sigma=0.1))
    mode, other = "maximum_a_posteriori", "inverting_gradients"

    first = next(part for part in plan.running if part.attacker.attack.name == mode)
    assert first.tuning, "its settings are chosen"

    def efforts(spent: float, reached: dict[str, Part]) -> dict[str, set[tuple[int, bool]]]:
        parts = within(plan, spent, 1.0, reached).running
        return {
            name: {
                (part.attacker.attack.iterations, part.chosen)
                for part in parts
                if part.attacker.attack.name == name and part.attacker.decides
            }
            for name in (mode, other)
        }

    short = 1e5 - 0.4 * plan.seconds
    together, kept = efforts(short, {}), efforts(short, {mode: first.with_iterations(200)})
    assert together[mode] == together[other]
    assert {chosen for _, chosen in together[mode]} == {False}
    assert kept[mode] == {(200, True)}
    assert max(kept[other]) < max(together[other]), "attacks that have not run give up more instead"
    published = first.as_published().with_iterations(200)
    assert efforts(short, {mode: published})[mode] == {(200, False)}
    # Where the time does not hold even that, a shorter attack is better than none.
    barely = efforts(HARD * 1e5 - 60.0, {mode: first})
    assert barely[mode]
    assert (budget.iterations, True) not in barely[mode]


def test_settings_are_said_to_be_chosen_only_where_pictures_suffice() -> None:
    """The attacker has 5 spare pictures, and a client holds 8: no trial has a client."""
    training = LocalTraining("fedsgd", 8, 8, 1, 0.1, "eval")
    found = audited(budget=replace(BUDGET, trials=2, iterations=1), training=training)
    assert [part for part in found.plan.parts if part.tuning] == []
    assert note(found.plan).startswith("The attacks ran with their published settings.")
    found = audited(budget=replace(BUDGET, trials=2, iterations=1))
    assert [part for part in found.plan.parts if part.tuning]
    assert "were chosen among 2 settings" in note(found.plan)


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
    told = " ".join(lead(short))
    assert f"{len(names)} attacks did not fit" in told
    assert "in every judged situation (" in told


def test_attackers_of_no_defense_that_the_time_did_not_hold_stand_beside_the_verdict() -> None:
    """A defense is compared with the strongest of them: without one, its loss and the verdict may come out otherwise."""
    budget = replace(BUDGET, rank=0, iterations=1)
    found = audited(budget=budget, defenses=[Gaussian(sigma=0.01)])
    assert found.left_out_undefended == []
    parts = [
        replace(part, reason=NO_TIME)
        if part.situation.name == "none" and part.attacker.id == "inverting_gradients"
        else part
        for part in found.plan.parts
    ]
    short = replace(found, plan=replace(found.plan, parts=tuple(parts)))
    assert short.left_out == []
    assert short.left_out_undefended == ["inverting_gradients"]
    assert document(short)["worst_case"]["left_out_undefended"] == ["inverting_gradients"]
    assert "The verdict may be wrong: 1 attack on no defense did not fit" in " ".join(lead(short))


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
    assert "in the judged situation (" in told
    for verdict, mild in ((LEAKS, False), ("does not survive", False), ("survives", True)):
        judged = [replace(one, verdict=verdict) for one in found.findings]
        words = " ".join(lead(replace(found, findings=judged)))
        assert "The number may be too low" in words
        assert ("or the verdict too mild" in words) == mild, verdict
    assert "generic: learned reliability" in told
    assert "The number may be too low" in render(found)
    assert json.loads(json.dumps(document(found)))["worst_case"]["left_out"] == names


def test_an_audit_with_time_says_that_nothing_is_missing() -> None:
    found = audited()
    assert found.left_out == []
    assert "too low" not in " ".join(lead(found))
    assert document(found)["worst_case"]["left_out"] == []


def test_a_defense_that_enlarges_the_network_is_expected_to_take_longer(subject: Subject) -> None:
    """The pace is measured without a defense, on an update of a few hundred numbers; PRECODE's bottleneck adds a hundred thousand."""
    added = 2 * 196 * 256 + 2 * 256 + 256 * 196 + 196
    plan = planned(subject, BUDGETS["quick"], 1e-6, Precode(units=256))
    every = plan.size.pictures * plan.size.iterations
    blind, generic = "inverting_gradients", "inverting_gradients+generic.learned_reliability"
    expected = {
        (part.situation.name.partition(" ")[0], part.attacker.id): part.seconds - part.tuning
        for part in plan.parts
    }
    assert expected["none", blind] < OVERHEAD + 1.01e-6 * every
    assert expected["precode", blind] > ADDED * added * every
    assert expected["precode", generic] > (ADDED + WEIGHED) * added * every


def test_candidates_bear_one_label_where_all_of_them_would_take_minutes(subject: Subject) -> None:
    (place,) = situations(["given"], [ONE], [Gaussian(sigma=0.1)])[1:]
    effort = Effort(300, 1, 32, 5, 128, 768, coordinates=10**5)

    def labels(effort: Effort) -> dict[str, str]:
        return {
            attacker.id: attacker.attack.labels
            for attacker in portfolio(place, effort)
            if isinstance(attacker.attack, Identification)
        }

    assert set(labels(effort).values()) == {"every"}
    large = labels(replace(effort, coordinates=10**7))
    assert large.pop("identification") == "every", "its cosine is one product of matrices"
    assert len(large) >= 2
    assert set(large.values()) == {"inferred"}


def test_nothing_is_given_up_for_an_attack_that_cannot_fit(subject: Subject) -> None:
    plan = planned(subject, BUDGETS["quick"], 1e-4, Gaussian(sigma=0.1))
    endless = [
        replace(part, seconds=1e9)
        if isinstance(part.attacker.attack, Identification) and part.attacker.decides
        else part
        for part in plan.parts
    ]
    fitted = within(replace(plan, parts=tuple(endless)), spent=0.0)
    assert {part.reason for part in fitted.parts if part.seconds == 1e9} == {NO_TIME}
    kept = [part.attacker.attack.iterations for part in fitted.running if part.shortens]
    assert kept == [part.attacker.attack.iterations for part in plan.running if part.shortens]

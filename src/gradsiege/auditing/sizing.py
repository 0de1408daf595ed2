"""The size of an audit: a short trial measures this machine, and what does not fit into the budget is cut down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import pairwise

import torch

from gradsiege.attacks.device import AUTO, where_to_run
from gradsiege.attacks.recipes.inverting_gradients import InvertingGradients
from gradsiege.auditing.budget import Budget
from gradsiege.auditing.parts import Parts
from gradsiege.auditing.plan import Plan, laid_out
from gradsiege.auditing.situations import Situation
from gradsiege.auditing.source import Source, update_bytes
from gradsiege.auditing.times import Size
from gradsiege.auditing.words import lasting
from gradsiege.protocol.threat_model import ThreatModel
from gradsiege.ranges import counted

# Bytes that the updates of all clients may take; several copies exist during an attack.
MOST_UPDATE_BYTES = 2**30
# Pictures of the trial that is timed, and iterations of its two runs, whose difference leaves out what is done once.
TRIAL_PICTURES, TRIALS = 4, (1, 5)
# Seconds of a trial after which one with more pictures would cost more than it tells.
SLOW = 12.0
# All threads are used if they are faster than one by this factor, since cores that are free now may be busy later.
WORTHWHILE = 1.2


# Pictures, iterations, trials of settings, starts.
Cut = tuple[int, int, int, int]


def measured_pace(
    source: Source, situation: Situation, budget: Budget, device: str = AUTO
) -> float:
    """Return the seconds that one iteration of an optimising attack takes per picture, from a short trial.

    On a processor the trial also leaves PyTorch with one thread, unless all are faster by the factor `WORTHWHILE`: several threads
    that share busy cores wait for each other and can be many times slower than one. On a GPU the number stays.

    Small networks are faster per picture when there are many, so that a fast trial is repeated with all pictures of the budget.
    """
    most = min(budget.pictures, source.count, most_pictures(source, situation))
    few = min(TRIAL_PICTURES, most)
    threads = torch.get_num_threads() if where_to_run(device).type == "cpu" else 1
    if threads > 1:
        torch.set_num_threads(1)
    pace, seconds = _timed(source, situation, few, device)
    if threads > 1:
        torch.set_num_threads(threads)
        together, lasted = _timed(source, situation, few, device)
        if WORTHWHILE * together < pace:
            pace, seconds = together, lasted
        else:
            torch.set_num_threads(1)
    if seconds < SLOW and most > TRIAL_PICTURES:
        pace, _ = _timed(source, situation, most, device)
    return pace


def _timed(source: Source, situation: Situation, pictures: int, device: str) -> tuple[float, float]:
    """Return seconds per picture and iteration, and those of the trial."""
    clients = source.clients(situation, pictures)
    seen = source.observed(situation, clients)
    done = clients * situation.training.images * situation.cost
    threat = ThreatModel(labels="inferred" if source.tells_labels(situation.stage) else "given")
    short, long = (
        InvertingGradients(iterations=iterations)(seen, threat, device=device).seconds
        for iterations in TRIALS
    )
    # The first call also loads what every later one finds loaded, so that it may take longer.
    pace = (long - short) / (TRIALS[1] - TRIALS[0]) if long > short else long / TRIALS[1]
    return max(1e-6, pace / done), short + long


def most_pictures(source: Source, situation: Situation) -> int:
    """Return the number of pictures whose updates fit into memory; at least one client's."""
    clients = max(1, MOST_UPDATE_BYTES // update_bytes(source.networks[situation.stage]))
    return clients * situation.training.images


def sized(
    source: Source,
    listed: Sequence[Situation],
    budget: Budget,
    pace: float,
    spare: int,
) -> Size:
    """Return the effort that fits into the budget's time.

    If it does not fit, the audit is cut down in turn: starts to one, iterations to a third, pictures to a half, the choice of settings,
    then pictures and iterations to the least that the budget allows.
    """
    wanted = min(budget.pictures, source.count)
    fits = min(wanted, *(most_pictures(source, situation) for situation in listed))
    third = min(budget.iterations, max(budget.least_iterations, budget.iterations // 3))
    few = min(fits, budget.least_pictures)
    half = max(few, fits // 2)
    least = min(third, budget.least_iterations)
    efforts = [
        (fits, budget.iterations, budget.trials, budget.restarts),
        (fits, budget.iterations, budget.trials, 1),
        (fits, third, budget.trials, 1),
        (half, third, budget.trials, 1),
        (half, third, 1, 1),
        (few, third, 1, 1),
        (few, least, 1, 1),
    ]

    def size(effort: Cut) -> Size:
        pictures, iterations, trials, restarts = effort
        notes = []
        if fits < wanted:
            notes.append(
                f"{counted(fits, 'picture')} instead of {wanted}, since more updates of this network do not fit into memory"
            )
        kept = f"to keep within {lasting(budget.seconds)}"
        if pictures < fits:
            notes.append(f"{counted(pictures, 'picture')} instead of {fits}, {kept}")
        if iterations < budget.iterations:
            notes.append(
                f"{counted(iterations, 'iteration')} instead of {budget.iterations}, {kept}"
            )
        if trials < budget.trials:
            notes.append(f"no choice of settings, {kept}")
        if restarts < budget.restarts:
            notes.append(f"{counted(restarts, 'start')} instead of {budget.restarts}, {kept}")
        return Size(
            pictures, iterations, trials, restarts, pace, torch.get_num_threads(), tuple(notes)
        )

    def seconds(effort: Cut) -> float:
        plain = replace(size(effort), plain=True)
        return laid_out(source, listed, budget, plain, spare).seconds

    for more, less in pairwise(efforts):
        for share in (1.0, 0.8, 0.6, 0.4, 0.2):
            effort = _between(more, less, share)
            if seconds(effort) <= budget.seconds:
                return size(effort)
    return size(efforts[-1])


def _between(more: Cut, less: Cut, share: float) -> Cut:
    """Return an effort on the way from one to another, `share` 1 for the first."""
    pictures, iterations, trials, restarts = (
        low + round(share * (high - low)) for high, low in zip(more, less, strict=True)
    )
    return pictures, iterations, trials, restarts


def planned(
    source: Source,
    listed: Sequence[Situation],
    budget: Budget,
    parts: Parts,
    device: str,
    spare: int,
) -> Plan:
    """Return the plan as it is laid out, before time runs short.

    Its size is measured once, and taken from the folder when the audit goes on. spare: as in `laid_out`.
    """
    settled = parts.settled()
    if settled is None:
        pace = measured_pace(source, listed[0], budget, device)
        size = sized(source, listed, budget, pace, spare)
        parts.settle({**asdict(size), "notes": list(size.notes)})
    else:
        size = Size(**{**settled, "notes": tuple(settled["notes"])})
        torch.set_num_threads(size.threads)
    return laid_out(source, listed, budget, size, spare)

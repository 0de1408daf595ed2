"""Three budgets: nothing to tune, and each says what it left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from gradsiege.errors import UsageError, nearest
from gradsiege.ranges import Checked, Count, Range

MINUTE, HOUR = 60.0, 3600.0


@dataclass(frozen=True)
class Budget(Checked):
    """What an audit may cost.

    Attributes:
        name: of the budget.
        seconds: that the attacks may take on the machine at hand; what does not fit is cut down, then left out, and named.
        pictures: private pictures that are attacked in every setting.
        iterations: of an optimising attack.
        restarts: independent starts of it per client.
        rank: attackers of this rank and below run (`portfolio.Attacker.rank`).
        distractors: pictures in the gallery beside the private ones.
        trials, tuning_clients: settings that are tried for every attack, and simulated clients that each trial meets.
        least_pictures, least_iterations: below which nothing is cut down further.
    """

    name: str
    seconds: Annotated[float, Range(0, open_low=True)]
    pictures: Count
    iterations: Count
    restarts: Count = 1
    rank: Annotated[int, Range(0, 3)] = 1
    distractors: Count = 96
    trials: Count = 4
    tuning_clients: Count = 4
    least_pictures: Count = 8
    least_iterations: Count = 60

    def clients_to_choose_on(self, spare: int, images: int) -> int:
        """Return the number of simulated clients, of `images` pictures each, on which settings are chosen from `spare` pictures.

        One trial chooses nothing, so that the number is 0.

        >>> Budget("mine", 60, 8, 100).clients_to_choose_on(48, 16), Budget("mine", 60, 8, 100, trials=1).clients_to_choose_on(48, 16)
        (3, 0)
        """
        return min(self.tuning_clients, spare // images) if self.trials > 1 else 0


BUDGETS = {
    budget.name: budget
    for budget in (
        Budget("quick", 7 * MINUTE, pictures=32, iterations=300),
        Budget(
            "standard",
            2 * HOUR,
            pictures=64,
            iterations=2000,
            restarts=2,
            rank=2,
            distractors=250,
            trials=6,
        ),
        Budget(
            "thorough",
            12 * HOUR,
            pictures=128,
            iterations=6000,
            restarts=4,
            rank=3,
            distractors=500,
            trials=10,
            tuning_clients=6,
        ),
    )
}


def budget_named(given: str | Budget) -> Budget:
    """Return a budget by its name, or the given one.

    >>> budget_named("quick").pictures
    32

    Raises:
        UsageError: there is no budget of this name.
    """
    if isinstance(given, Budget):
        return given
    if given not in BUDGETS:
        raise UsageError(f"budget is {given!r}; {nearest(str(given), list(BUDGETS))}")
    return BUDGETS[given]

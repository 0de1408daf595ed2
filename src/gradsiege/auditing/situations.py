"""Situations of an audit: a stage of training, the clients' local training and their defense; one of them varies at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from gradsiege.defenses.base import Defense
from gradsiege.errors import UsageError
from gradsiege.protocol.local_update import LocalTraining
from gradsiege.ranges import counted

if TYPE_CHECKING:
    import pandas as pd

NONE = "none"


@dataclass(frozen=True, eq=False)
class Situation:
    """One place where updates are observed.

    Attributes:
        stage: name of the checkpoint.
        training: what a client does between download and upload.
        defense: of every client, or None.
        name: of the defense, see `name_of`; ``none`` without one.
    """

    stage: str
    training: LocalTraining
    defense: Defense | None = None
    name: str = NONE

    @property
    def protocol(self) -> str:
        """Name of the local training: pictures of a client, steps and pictures per step.

        >>> Situation("late", LocalTraining("fedavg", 4, 2, 1, 0.1, "eval")).protocol
        '4-pictures-2-steps'
        """
        pictures, steps = self.training.images, self.training.steps
        return f"{pictures}-pictures-{steps}-steps" + (
            "-train" if self.training.mode == "train" else ""
        )

    @property
    def key(self) -> str:
        """Text that tells the situation from the others of an audit."""
        return f"{self.stage}/{self.protocol}/{self.name}"

    def rows_of(self, table: pd.DataFrame, *defenses: str) -> pd.Series[bool]:
        """Return which rows of a table of scores are of this stage and training, under one of these defenses, by name."""
        here = (table["training_stage"] == self.stage) & (table["protocol"] == self.protocol)
        return here & table["defense"].isin(defenses)

    @property
    def cost(self) -> int:
        """Passes over a picture in one evaluation of a client's update."""
        return self.training.epochs


def local_training(
    batch: int, steps: int, pictures: int | None, rate: float, mode: Literal["eval", "train"]
) -> LocalTraining:
    """Return the training of a client that takes `steps` steps of `batch` pictures each.

    Args:
        pictures: of a client; by default `batch`, which every step repeats.

    >>> local_training(2, 3, 6, 0.1, "eval").epochs, local_training(2, 3, None, 0.1, "eval").epochs
    (1, 3)

    Raises:
        UsageError: the steps are not whole passes over the pictures.
    """
    held = batch if pictures is None else pictures
    per_pass = -(-held // batch)
    if batch > held:
        raise UsageError(
            f"a step takes {batch} pictures, and a client holds {held}; lower --batch-size"
        )
    if steps % per_pass:
        raise UsageError(
            f"{counted(steps, 'local step')} of {counted(batch, 'picture')} are not whole passes over the {held} pictures of a "
            f"client; a pass has {counted(per_pass, 'step')}, so give a multiple of that as --local-steps"
        )
    return LocalTraining(
        "fedsgd" if steps == 1 else "fedavg",
        held,
        batch,
        steps // per_pass,
        rate,
        mode,
    )


def situations(
    stages: Sequence[str], trainings: Sequence[LocalTraining], defenses: Sequence[Defense | None]
) -> list[Situation]:
    """Return the situations of an audit: the first stage and training, then every other stage, training and defense alone.

    No defense is always among them, since a protection is measured against it.

    >>> found = situations(["a", "b"], [LocalTraining("fedsgd", 1, 1, 1, 0.1, "eval")], [None])
    >>> [situation.key for situation in found]
    ['a/1-pictures-1-steps/none', 'b/1-pictures-1-steps/none']

    Raises:
        UsageError: two defenses or trainings are the same.
    """
    base = Situation(stages[0], trainings[0])
    listed = [base]
    listed += [replace(base, stage=stage) for stage in stages[1:]]
    listed += [replace(base, training=training) for training in trainings[1:]]
    for defense in defenses:
        if defense is not None and defense.name != NONE:
            listed.append(replace(base, defense=defense, name=name_of(defense)))
    keys = [situation.key for situation in listed]
    for key in keys:
        if keys.count(key) > 1:
            raise UsageError(
                f"{key} is asked for twice; give every defense and training once, and make a defense of your own whose parameters are to be "
                "told apart a frozen dataclass, or give each a `name`"
            )
    return listed


def name_of(defense: Defense) -> str:
    """Return the name of a defense with the parameters of its disclosure, but for switches that are off, open values and the faithful arm.

    >>> from gradsiege.defenses.gaussian import Gaussian
    >>> name_of(Gaussian(sigma=0.5)), name_of(Gaussian(sigma=0.0))
    ('gaussian (sigma 0.5)', 'gaussian (sigma 0.0)')
    """
    public = {key: value for key, value in defense.disclosure().items() if key != "defense"}
    told = [
        f"{key} {value}"
        for key, value in public.items()
        if value is not None and value is not False and value != "faithful"
    ]
    return f"{defense.name} ({', '.join(told)})" if told else defense.name

"""Names that tests of the command line share: its verbs, and two keys of the tiny study."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import typer

from gradsiege import cli
from gradsiege.study import Study

Finished = tuple[Study, Path]


Verb = Callable[..., int]


COMMANDS = typer.main.get_command(cli.app).commands


QUICK = Path(__file__).parents[2] / "config" / "quick.yaml"


KEY = "digits/lenet/none/untrained/fedsgd/seed0"


ATTACK = f"{KEY}/labels_inferred/inverting_gradients"

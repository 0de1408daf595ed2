"""Verbs that run cells: one per stage, and `publish`, which draws what they leave."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gradsiege import arithmetic
from gradsiege.cli.options import (
    QUICK,
    BudgetOption,
    CellArgument,
    RootOption,
    StagedOption,
    StudyOption,
    load_study,
    refuse_inside,
)
from gradsiege.errors import MEND, ArtifactError
from gradsiege.extras import EXTRAS, need

if TYPE_CHECKING:
    from gradsiege.pipeline.jobs import Job

verbs = typer.Typer()


def _run(
    stage: str,
    keys: list[str],
    study_file: Path,
    root: Path,
    budget: float | None,
    staged: bool,
    load_work: Callable[[], Callable[[Job], None]],
    observation: Path | None = None,
    to: Path | None = None,
) -> None:
    """Run cells of one stage; what is heavy is loaded only when study and keys have proved right."""
    arithmetic.make_portable()
    from gradsiege.pipeline import runner
    from gradsiege.pipeline.cells import Cell, parse_key
    from gradsiege.pipeline.jobs import Job

    need(*EXTRAS["study"])
    study = load_study(study_file, root)
    cells = [parse_key(stage, key, study) for key in keys]
    if observation is not None or to is not None:
        _check_other(observation, to, alone=len(cells) == 1 and not staged, root=root)
    end = None if budget is None else time.monotonic() + budget
    work = load_work()
    import torch

    # Sums of several threads depend on their number; jobs run side by side instead.
    torch.set_num_threads(1)
    # Libraries live as long as the process. Without this, the collection after every cell goes through all that they hold.
    gc.collect()
    gc.freeze()
    left = None if end is None else max(end - time.monotonic(), 0)
    if staged:
        runner.staged(cells, study, root, left, work)
        return

    def make(cell: Cell) -> Job:
        job = Job(cell, study, root, None if end is None else max(end - time.monotonic(), 0), to)
        if observation is not None:
            usual = cell.at("observe").folder(study, root) / "observation.safetensors"
            job.read_instead(observation, usual)
        return job

    runner.in_place(cells, make, work)


def _check_other(observation: Path | None, to: Path | None, alone: bool, root: Path) -> None:
    """Refuse another observation unless it is for one cell, and its result has a folder of its own."""
    if observation is None or to is None:
        raise typer.BadParameter("--observation FILE and --to FOLDER go together")
    if not alone:
        raise typer.BadParameter("another observation is for one cell alone, run by hand")
    refuse_inside(to, root)
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise typer.BadParameter(f"--to {to} is there already; choose another folder, or delete it")


def _check_observation(file: Path, results: Path) -> None:
    """Refuse a file that is not a sealed observation; `gradsiege mend` is a remedy inside the results alone."""
    from gradsiege.artifacts import read_header
    from gradsiege.protocol.observation import OBSERVATION

    if not file.is_file():
        raise typer.BadParameter(
            f"--observation {file} is not a file; name the observation.safetensors of a finished cell"
        )
    try:
        read_header(file, OBSERVATION)
    except ArtifactError as error:
        if file.resolve().is_relative_to(results.resolve()):
            raise
        raise ArtifactError(
            f"--observation {file}: {str(error).replace(MEND, '').strip()} Give an observation.safetensors with the "
            "manifest.json of its cell beside it"
        ) from error


def _stage(stage: str, module: str, help_text: str, example: str) -> None:
    """Add one verb; the module of the stage is imported when the verb runs."""

    def verb(
        cell: CellArgument,
        study: StudyOption = QUICK,
        root: RootOption = Path(),
        time_budget: BudgetOption = None,
        staged: StagedOption = False,
    ) -> None:
        def load_work() -> Callable[[Job], None]:
            import importlib

            work: Callable[[Job], None] = getattr(importlib.import_module(module), stage)
            return work

        _run(stage, cell, study, root, time_budget, staged, load_work)

    verbs.command(stage, help=help_text, epilog=f"Example: `gradsiege {stage} {example}`")(verb)


_stage("fetch", "gradsiege.stages.fetch", "Prepare a data set and its role splits.", "photos")
_stage(
    "prior",
    "gradsiege.stages.prior",
    "Train an attacker's prior on `aux`.",
    "photos/autoencoder/seed0",
)
_stage(
    "shadow",
    "gradsiege.stages.shadow",
    "Pretrain the defender's shadow generator on `public`.",
    "photos/seed0",
)
_stage(
    "federate",
    "gradsiege.stages.federate",
    "Train with a defense; record utility; keep checkpoints.",
    "photos/convnet/tip/seed0",
)
_stage(
    "observe",
    "gradsiege.stages.observe",
    "Run victims' client updates; write observation and sealed truth.",
    "photos/convnet/tip/untrained/fedsgd/seed0",
)


@verbs.command(
    epilog="Example: `gradsiege attack "
    "photos/convnet/none/untrained/fedsgd/seed0/labels_inferred/inverting_gradients`"
)
def attack(
    cell: CellArgument,
    study: StudyOption = QUICK,
    root: RootOption = Path(),
    time_budget: BudgetOption = None,
    staged: StagedOption = False,
    observation: Annotated[
        Path | None,
        typer.Option(
            help="Attack this observation file instead of the study's own. The result goes to the folder --to, "
            "and the study's cell stays as it is."
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            help="New folder, outside results/ and scratch/, for the result of --observation."
        ),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            envvar="GRADSIEGE_ENGINE",
            help="measured, or one of loop, vmap, factored, compiled, cuda_graph, cuda_graph_vmap, fixed.",
        ),
    ] = "measured",
    device: Annotated[
        str,
        typer.Option(envvar="GRADSIEGE_DEVICE", help="auto (a GPU if there is one), cpu or cuda."),
    ] = "auto",
) -> None:
    """Reconstruct the victims of one observation. The truth is never read: no option leads to it."""

    def load_work() -> Callable[[Job], None]:
        from gradsiege.attacks.device import where_to_run
        from gradsiege.federated.simulation import simulator
        from gradsiege.stages.attack import attack as work

        where_to_run(device, engine)
        if observation is not None:
            _check_observation(observation, root / "results")
        return lambda job: work(job, observation, engine, device, simulator)

    _run("attack", cell, study, root, time_budget, staged, load_work, observation, to)


_stage(
    "score",
    "gradsiege.stages.score",
    "Score all attacks on one observation against the truth.",
    "photos/convnet/tip/untrained/fedsgd/seed0",
)


@verbs.command(
    epilog="Example: `gradsiege publish results/quick/figures/gallery.pdf` or `gradsiege publish report`"
)
def publish(
    names: Annotated[
        list[str], typer.Argument(help="Figures or tables by name, `columns` or `report`.")
    ],
    study: StudyOption = QUICK,
    root: RootOption = Path(),
    to: Annotated[
        Path | None,
        typer.Option(help="Folder outside results/ to write to, instead of the study's results."),
    ] = None,
) -> None:
    """Draw figures and tables, or the report, from stored scores."""
    from gradsiege.stages.publish import publish as work

    resolved = load_study(study, root)
    drawn = root / "scratch" / "staged" / resolved.study / "drawings"  # Snakemake's own
    if to is not None and not to.resolve().is_relative_to(drawn.resolve()):
        refuse_inside(to, root, but=root / "results" / resolved.study)
    for path in work(names, resolved, root, study, to):
        typer.echo(str(path))

"""The command line: one verb per stage, and verbs that look without changing anything."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gradsiege import __version__, arithmetic, output
from gradsiege.errors import (
    MEND,
    ArtifactError,
    GradSiegeError,
    MissingError,
    StoppedEarlyError,
    refused_by_machine,
)
from gradsiege.extras import EXTRAS, need
from gradsiege.ranges import Range

if TYPE_CHECKING:
    from gradsiege.pipeline.jobs import Job
    from gradsiege.study import Study

EXIT_CODES = (
    "Exit codes: 0 done; 1 a defect of the program; 2 wrong use; 3 invalid study file; 4 missing or damaged "
    "artifact; 5 data, weights or a package absent; 6 threat model too narrow; 7 tracking server or MLflow "
    "absent; 8 DVC or its remote absent; 75 stopped early, run again to go on; 130 interrupted by Ctrl-C; 141 the reader of the output left."
)
app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="What gradient inversion in federated learning can and cannot do.",
    epilog="Example: `gradsiege plan --study config/quick.yaml`.  " + EXIT_CODES,
)


def _number(allowed: Range) -> Callable[[float | None], float | None]:
    """Return what refuses a number outside a range, or one that is none, as typer's own bounds do not."""

    def check(number: float | None) -> float | None:
        if number is not None and number not in allowed:
            raise typer.BadParameter(f"must be a number {allowed}, not {number}")
        return number

    return check


def _folder(path: Path) -> Path:
    """Refuse a root that is not there, which would look like a study that lost everything."""
    if not path.is_dir():
        raise typer.BadParameter(
            f"{path} is not a folder; name the one that holds results/, or make it"
        )
    return path


StudyOption = Annotated[Path, typer.Option("--study", "-s", help="Study file.")]
RootOption = Annotated[
    Path, typer.Option("--root", callback=_folder, help="Folder that holds results/ and scratch/.")
]
BudgetOption = Annotated[
    float | None,
    typer.Option(
        callback=_number(Range(0)),
        help="Seconds after which to save progress and leave with code 75.",
    ),
]
ThreadsOption = Annotated[
    int, typer.Option(callback=_number(Range(1, 1024)), help="CPU threads of the tensor library.")
]
CellArgument = Annotated[
    list[str], typer.Argument(help="Key of a cell: its ids joined by slashes. Several run in turn.")
]
StagedOption = Annotated[
    bool,
    typer.Option(
        "--staged",
        help="Run a shard for Snakemake: leave finished cells as they are, put new ones in scratch/staged, note failures there.",
    ),
]
# Exit code of a program that Ctrl-C ended, as shells report it.
INTERRUPTED = 130
QUICK = Path("config/quick.yaml")


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    if version:
        typer.echo(f"gradsiege {__version__}")
        raise typer.Exit


def _load(file: Path, root: Path = Path(), hash_all: bool = False) -> Study:
    """Read a study file, and what its sources list now; no verb changes what it reads."""
    from gradsiege.pipeline.cells import remember
    from gradsiege.pipeline.identity import identified
    from gradsiege.study import load

    return remember(identified(load(file), root, hash_all))


def _run(
    stage: str,
    keys: list[str],
    study_file: Path,
    root: Path,
    budget: float | None,
    threads: int,
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
    study = _load(study_file, root)
    cells = [parse_key(stage, key, study) for key in keys]
    if observation is not None or to is not None:
        _check_other(
            observation, to, alone=len(cells) == 1 and not staged, results=root / "results"
        )
    end = None if budget is None else time.monotonic() + budget
    work = load_work()
    import torch

    torch.set_num_threads(threads)
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


def _check_other(observation: Path | None, to: Path | None, alone: bool, results: Path) -> None:
    """Refuse another observation unless it is for one cell, and its result has a folder of its own."""
    if observation is None or to is None:
        raise typer.BadParameter("--observation FILE and --to FOLDER go together")
    if not alone:
        raise typer.BadParameter("another observation is for one cell alone, run by hand")
    if to.resolve().is_relative_to(results.resolve()):
        raise typer.BadParameter(
            f"--to {to}: choose a folder outside {results}, which holds the study's cells"
        )
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
        threads: ThreadsOption = 1,
        staged: StagedOption = False,
    ) -> None:
        def load_work() -> Callable[[Job], None]:
            import importlib

            try:
                work: Callable[[Job], None] = getattr(importlib.import_module(module), stage)
            except ModuleNotFoundError as error:
                if error.name != module:
                    raise
                raise MissingError(f"this version has no stage {stage!r} yet") from error
            return work

        _run(stage, cell, study, root, time_budget, threads, staged, load_work)

    app.command(stage, help=help_text, epilog=f"Example: `gradsiege {stage} {example}`")(verb)


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


@app.command(
    epilog="Example: `gradsiege attack "
    "photos/convnet/none/untrained/fedsgd/seed0/labels_inferred/inverting_gradients`"
)
def attack(
    cell: CellArgument,
    study: StudyOption = QUICK,
    root: RootOption = Path(),
    time_budget: BudgetOption = None,
    threads: ThreadsOption = 1,
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
        typer.Option(help="New folder, outside results/, for the result of --observation."),
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

    _run("attack", cell, study, root, time_budget, threads, staged, load_work, observation, to)


_stage(
    "score",
    "gradsiege.stages.score",
    "Score all attacks on one observation against the truth.",
    "photos/convnet/tip/untrained/fedsgd/seed0",
)


@app.command(
    epilog="Example: `gradsiege publish results/quick/figures/gallery.pdf` or `gradsiege publish report`"
)
def publish(
    names: Annotated[
        list[str], typer.Argument(help="Figures or tables by name, `columns` or `report`.")
    ],
    study: StudyOption = QUICK,
    root: RootOption = Path(),
    to: Annotated[
        Path | None, typer.Option(help="Folder to write to, instead of the study's results.")
    ] = None,
) -> None:
    """Draw figures and tables, or the report, from stored scores."""
    from gradsiege.stages.publish import publish as work

    for path in work(names, _load(study, root), root, study, to):
        typer.echo(str(path))


@app.command("list", epilog="Example: `gradsiege list defenses`")
def list_names(
    kind: Annotated[
        str, typer.Argument(help="datasets, models, priors, defenses, attacks, ...")
    ] = "",
) -> None:
    """Print every name that may stand in a study file, with its parameters, defaults and ranges."""
    from gradsiege import catalogue
    from gradsiege.declarations import REQUIRED
    from gradsiege.errors import nearest
    from gradsiege.ranges import described
    from gradsiege.study import FIXED

    kinds = [*catalogue.KINDS, *FIXED]
    if not kind:
        typer.echo("\n".join(kinds))
        return
    if kind in FIXED:
        typer.echo("\n".join(FIXED[kind]))
        return
    if kind not in kinds:
        hint = nearest(kind, kinds)
        raise typer.BadParameter(f"unknown kind {kind!r}; {hint}", param_hint="KIND")
    for entry in catalogue.entries(kind).values():
        arms = "" if entry.arms == ("faithful",) else f"  [arms: {', '.join(entry.arms)}]"
        origin = f"  [from {entry.owner}]" if entry.distribution else ""
        typer.echo(f"{entry.name}  v{entry.version}  {entry.summary}{arms}{origin}")
        for key, (allowed, default) in entry.parameters.items():
            shown = "required" if default is REQUIRED else repr(default)
            typer.echo(f"    {key}: {shown}  ({described(allowed)})")
    for why in catalogue.refused(kind).values():
        typer.echo(why, err=True)


@app.command(epilog="Example: `gradsiege claims --study config/quick.yaml`")
def claims(
    study: StudyOption = QUICK,
    root: RootOption = Path(),
    ledger: Annotated[Path, typer.Option("--claims", help="Ledger of claims.")] = Path(
        "config/claims.yaml"
    ),
) -> None:
    """Judge every published claim by what the study has measured so far."""
    from gradsiege.inspection import claims as work

    typer.echo(work(_load(study, root), root, ledger))


@app.command(epilog="Example: `gradsiege plan --study config/small.yaml`")
def plan(
    study: StudyOption = QUICK,
    root: RootOption = Path(),
    shard_minutes: Annotated[
        float,
        typer.Option(
            callback=_number(Range(0)),
            help="Estimated minutes of a job; 0 makes a job of every cell.",
        ),
    ] = 60,
) -> None:
    """Print cells, jobs, hours and disk of a study by stage, and how many cells are finished."""
    from gradsiege.inspection import plan as work

    typer.echo(work(_load(study, root), root, shard_minutes))


@app.command(epilog="Example: `gradsiege doctor`")
def doctor(study: StudyOption = QUICK, root: RootOption = Path()) -> None:
    """Say what this machine can run, and what the study still lacks."""
    from gradsiege.inspection import doctor as work

    typer.echo(work(_load(study, root), root))


@app.command(epilog="Example: `gradsiege download cifar10 --to data`")
def download(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Public data sets by name, or `lpips` for its weights."),
    ] = None,
    study: Annotated[
        Path | None, typer.Option("--study", "-s", help="Also get the public data sets of a study.")
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            help="Data root, a folder for every data set; else $GRADSIEGE_DATA, else data."
        ),
    ] = None,
) -> None:
    """Download public data sets, or the weights of LPIPS, with resume and checksums; the only verb that uses the network."""
    from gradsiege.datasets.sources.download import WEIGHTS, download_weights
    from gradsiege.datasets.sources.download import download as work
    from gradsiege.datasets.sources.supply import data_root
    from gradsiege.study.downloads import chosen

    for name, parameters in chosen(names or [], _load(study) if study else None):
        weights = name == WEIGHTS
        paths = download_weights(to) if weights else work(name, parameters, to or data_root())
        for path in paths:
            typer.echo(str(path))


@app.command(epilog="Example: `gradsiege verify --study config/quick.yaml`")
def verify(
    study: StudyOption = QUICK,
    root: RootOption = Path(),
    partial: Annotated[
        bool,
        typer.Option("--partial", help="Missing cells are not a fault (one bundle was restored)."),
    ] = False,
) -> None:
    """Compare every finished cell with its manifest and with the study; list stale and damaged ones."""
    from gradsiege.inspection import verify as work
    from gradsiege.sharing.bundles import BUNDLES
    from gradsiege.sharing.restrictions import refusals

    resolved = _load(study, root, hash_all=True)
    report, sound = work(resolved, root, partial)
    refused = refusals(resolved, root / BUNDLES)
    typer.echo("\n".join([report, *refused]))
    if refused or not sound:
        raise typer.Exit(4)


@app.command(epilog="Example: `gradsiege mend --study config/quick.yaml --cores 2`")
def mend(
    study: StudyOption = QUICK,
    root: RootOption = Path(),
    cores: Annotated[
        int | None,
        typer.Option(
            callback=_number(Range(1, 2**20)), help="Cores of Snakemake; all of them unless given."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")
    ] = False,
) -> None:
    """Bring a study to its end, whatever happened to it: keep what is sound, set aside what is damaged, compute the rest."""
    from gradsiege.mending import mend as work

    if (
        not work(_load(study, root, hash_all=True), root, study, cores, dry_run, typer.echo)
        and not dry_run
    ):
        raise typer.Exit(4)


BundlesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        help="images, priors, shadows, checkpoints, reconstructions, tables, figures; all of them unless given."
    ),
]
RemoteOption = Annotated[
    str,
    typer.Option(help="Remote of DVC in place of the default one; restricted data keep theirs."),
]


@app.command(epilog="Example: `gradsiege share tables figures --study config/quick.yaml`")
def share(
    bundles: BundlesArgument = None,
    study: StudyOption = QUICK,
    root: RootOption = Path(),
    remote: RemoteOption = "",
) -> None:
    """Verify bundles of a finished study and send them to a remote of DVC."""
    from gradsiege.sharing import share as work

    typer.echo(work(bundles or [], _load(study, root), root, study, remote))


@app.command(epilog="Example: `gradsiege restore tables checkpoints --study config/quick.yaml`")
def restore(
    bundles: BundlesArgument = None,
    study: StudyOption = QUICK,
    root: RootOption = Path(),
    remote: RemoteOption = "",
) -> None:
    """Fetch shared bundles, refuse what is not as it was recorded, and let Snakemake take the rest as up to date."""
    from gradsiege.sharing import restore as work

    typer.echo(work(bundles or [], _load(study, root), root, study, remote))


@app.command(epilog="Example: `gradsiege track --follow --uri sqlite:///mlflow.db`")
def track(
    study: StudyOption = QUICK,
    root: RootOption = Path(),
    uri: Annotated[
        str, typer.Option(envvar="MLFLOW_TRACKING_URI", help="MLflow tracking URI.")
    ] = "sqlite:///mlflow.db",
    follow: Annotated[
        bool,
        typer.Option(
            "--follow",
            help="Write cells as they finish, until the study is complete (code 0) or Ctrl-C or SIGTERM comes (code 75).",
        ),
    ] = False,
) -> None:
    """Replay finished cells into an MLflow tracking server; running it twice changes nothing."""
    from gradsiege import tracking

    resolved = _load(study, root)
    if not follow:
        typer.echo(tracking.track(resolved, root, uri))
        return
    from gradsiege.tracking.signals import stopped_by_signals

    with stopped_by_signals() as stop:
        typer.echo(tracking.follow(resolved, root, uri, stop))


@app.command(epilog="Example: `gradsiege crate --study config/quick.yaml`")
def crate(
    study: StudyOption = QUICK,
    root: RootOption = Path(),
    to: Annotated[
        Path | None,
        typer.Option(
            help="The ZIP file, outside results/ unless it is results/<study>/crate.zip, the default. "
            "A crate that is there is replaced, nothing else is."
        ),
    ] = None,
) -> None:
    """Pack a finished study as a Workflow Run RO-Crate: workflow, results, rows, software, hashes."""
    from gradsiege.inspection.crate import crate as work

    typer.echo(f"wrote {work(_load(study, root), study, root, to)}")


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; expected errors become one message and a documented exit code."""
    output.take_any_text()
    with output.written_out():
        return _answer(arguments)


def _answer(arguments: list[str] | None) -> Any:
    try:
        return app(args=arguments, standalone_mode=True)
    except SystemExit as leaving:
        if leaving.code == INTERRUPTED:
            output.complain(
                "interrupted; finished cells are kept. Run the same command again to go on."
            )
        raise
    except StoppedEarlyError as error:
        output.complain(str(error))
        raise SystemExit(error.exit_code) from None
    except GradSiegeError as error:
        output.complain(f"error: {error}")
        raise SystemExit(error.exit_code) from None
    except UnicodeEncodeError as error:
        if "surrogates" not in error.reason:
            raise
        output.complain(f"error: {error.object!a} is not valid text; rename what bears it")
        raise SystemExit(ArtifactError.exit_code) from None
    except OSError as error:
        if not refused_by_machine(error):
            raise
        output.complain(f"error: {refused_by_machine(error)}")
        raise SystemExit(ArtifactError.exit_code) from None

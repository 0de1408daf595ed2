"""Verbs that get data, mend a study, and hand its results on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gradsiege.cli.options import QUICK, RootOption, StudyOption, load_study, number, say
from gradsiege.ranges import Range

verbs = typer.Typer()
BundlesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        help="images, priors, shadows, checkpoints, reconstructions, tables, figures; all of them unless given."
    ),
]
RemoteOption = Annotated[
    str,
    typer.Option(help="Remote of DVC instead of the default one; restricted data keep theirs."),
]


@verbs.command(
    epilog="Example: `gradsiege init reproduction`, then in that folder `snakemake --cores 2`"
)
def init(
    folder: Annotated[Path, typer.Argument(help="A new or an empty folder.")],
) -> None:
    """Lay out a folder in which plain `snakemake` runs the studies, without a clone of the repository."""
    from gradsiege.pipeline.workspace import lay_out

    lay_out(folder)
    typer.echo(f"{folder}: in it, snakemake --cores 2 runs config/quick.yaml, the default study")


@verbs.command(epilog="Example: `gradsiege download cifar10 --to data`")
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
    """Download public data sets, or the weights of LPIPS, with resume and checksums; the only verb that downloads data by itself."""
    from gradsiege.datasets.sources.download import WEIGHTS, download_weights
    from gradsiege.datasets.sources.download import download as work
    from gradsiege.datasets.sources.supply import data_root
    from gradsiege.study.downloads import chosen

    for name, parameters in chosen(names or [], load_study(study) if study else None):
        weights = name == WEIGHTS
        paths = download_weights(to) if weights else work(name, parameters, to or data_root())
        for path in paths:
            typer.echo(str(path))


@verbs.command(epilog="Example: `gradsiege mend --study config/quick.yaml --cores 2`")
def mend(
    study: StudyOption = QUICK,
    root: RootOption = Path(),
    cores: Annotated[
        int | None,
        typer.Option(
            callback=number(Range(1, 2**20)), help="Cores of Snakemake; all of them unless given."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")
    ] = False,
) -> None:
    """Bring a study to its end, whatever happened to it: keep what is sound, set aside what is damaged, compute the rest."""
    from gradsiege.mending import mend as work

    if (
        not work(load_study(study, root, hash_all=True), root, study, cores, dry_run, say)
        and not dry_run
    ):
        raise typer.Exit(4)


@verbs.command(epilog="Example: `gradsiege share tables figures --study config/quick.yaml`")
def share(
    bundles: BundlesArgument = None,
    study: StudyOption = QUICK,
    root: RootOption = Path(),
    remote: RemoteOption = "",
) -> None:
    """Verify bundles of a finished study and send them to a remote of DVC."""
    from gradsiege.sharing import share as work

    say(work(bundles or [], load_study(study, root), root, study, remote))


@verbs.command(epilog="Example: `gradsiege restore tables checkpoints --study config/quick.yaml`")
def restore(
    bundles: BundlesArgument = None,
    study: StudyOption = QUICK,
    root: RootOption = Path(),
    remote: RemoteOption = "",
) -> None:
    """Fetch shared bundles, refuse what is not as it was recorded, and let Snakemake take the rest as up to date."""
    from gradsiege.sharing import restore as work

    say(work(bundles or [], load_study(study, root), root, study, remote))


@verbs.command(epilog="Example: `gradsiege track --follow --uri sqlite:///mlflow.db`")
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

    resolved = load_study(study, root)
    if not follow:
        say(tracking.track(resolved, root, uri))
        return
    from gradsiege.tracking.signals import stopped_by_signals

    with stopped_by_signals() as stop:
        say(tracking.follow(resolved, root, uri, stop))


@verbs.command(epilog="Example: `gradsiege crate --study config/quick.yaml`")
def crate(
    study: StudyOption = QUICK,
    root: RootOption = Path(),
    to: Annotated[
        Path | None,
        typer.Option(
            help="The ZIP file, outside results/ unless it is results/STUDY/crate.zip, the default. "
            "A crate that is there is replaced, nothing else is."
        ),
    ] = None,
) -> None:
    """Pack a finished study as a Workflow Run RO-Crate: workflow, results, rows, software, hashes."""
    from gradsiege.inspection.crate import crate as work

    say(f"wrote {work(load_study(study, root), study, root, to)}")

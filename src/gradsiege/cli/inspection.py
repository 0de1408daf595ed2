"""Verbs that look and change nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gradsiege.cli.options import QUICK, RootOption, StudyOption, load_study, number, say
from gradsiege.ranges import Range

verbs = typer.Typer()


@verbs.command("list", epilog="Example: `gradsiege list defenses`")
def list_names(
    kind: Annotated[
        str, typer.Argument(help="datasets, models, priors, defenses, attacks, ...")
    ] = "",
) -> None:
    """Print every name that may stand in a study file, with its parameters, defaults and ranges."""
    from gradsiege import catalogue
    from gradsiege.declarations import REQUIRED
    from gradsiege.errors import nearest
    from gradsiege.ranges import described, tuned
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
            ends = tuned(allowed)
            chosen = f"; tuning chooses from {ends.low:g} to {ends.high:g}" if ends else ""
            typer.echo(f"    {key}: {shown}  ({described(allowed)}{chosen})")
    for why in catalogue.refused(kind).values():
        typer.echo(why, err=True)


@verbs.command(
    epilog="Example: `gradsiege claims --study config/quick.yaml`, or `gradsiege claims --kept`"
)
def claims(
    study: StudyOption = QUICK,
    root: RootOption = Path(),
    ledger: Annotated[Path, typer.Option("--claims", help="Ledger of claims.")] = Path(
        "config/claims.yaml"
    ),
    kept: Annotated[
        bool,
        typer.Option(
            "--kept",
            help="Print the page of verdicts from all studies kept in docs/results, instead of one study's.",
        ),
    ] = False,
) -> None:
    """Judge every published claim by what the study has measured so far."""
    if kept:
        from gradsiege.inspection.verdict_page import page

        typer.echo(page(ledger, root / "docs/results"), nl=False)
        return
    from gradsiege.inspection import claims as work

    say(work(load_study(study, root), root, ledger))


@verbs.command(epilog="Example: `gradsiege plan --study config/small.yaml`")
def plan(
    study: StudyOption = QUICK,
    root: RootOption = Path(),
    shard_minutes: Annotated[
        float,
        typer.Option(
            callback=number(Range(0)),
            help="Estimated minutes of a job; 0 makes a job of every cell.",
        ),
    ] = 60,
) -> None:
    """Print cells, jobs, hours and disk of a study by stage, and how many cells are finished."""
    from gradsiege.inspection import plan as work

    say(work(load_study(study, root), root, shard_minutes))


@verbs.command(epilog="Example: `gradsiege doctor`")
def doctor(study: StudyOption = QUICK, root: RootOption = Path()) -> None:
    """Say what this machine can run, and what the study still lacks."""
    from gradsiege.inspection import doctor as work

    say(work(load_study(study, root), root))


@verbs.command(epilog="Example: `gradsiege verify --study config/quick.yaml`")
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

    resolved = load_study(study, root, hash_all=True)
    report, sound = work(resolved, root, partial)
    refused = refusals(resolved, root / BUNDLES)
    say("\n".join([report, *refused]))
    if refused or not sound:
        raise typer.Exit(4)

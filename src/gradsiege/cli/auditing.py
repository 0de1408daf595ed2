"""The verb that audits a user's own federation."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gradsiege import output
from gradsiege.cli.options import number
from gradsiege.errors import LeakError, StoppedByUserError, StoppedEarlyError, UsageError
from gradsiege.ranges import Range

if TYPE_CHECKING:
    from gradsiege.auditing.audit import Audit
    from gradsiege.auditing.inputs.request import Request
    from gradsiege.auditing.recorded import RecordedAudit
    from gradsiege.auditing.rounds import RoundsAudit

verbs = typer.Typer()
COUNT = number(Range(1, 10**6))
SIDE = number(Range(1, 1024))
STOPS = (signal.SIGTERM, signal.SIGINT)
KEPT = "finished attacks are kept. Run the same command again to go on"


def counts(values: list[int] | None) -> list[int] | None:
    """Refuse a number below one."""
    for value in values or ():
        COUNT(value)
    return values


@contextmanager
def _stoppable() -> Iterator[None]:
    """Leave on SIGTERM and on Ctrl-C: at once until the plan is told, and then so that finished attacks are kept."""
    before = {one: signal.getsignal(one) for one in STOPS}
    for one in STOPS:
        _answer_by(one, _leave)
    try:
        yield
    except KeyboardInterrupt:
        raise StoppedByUserError(f"interrupted; {KEPT}") from None
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _answer_by(number: int, handler: Callable[[int, FrameType | None], None]) -> None:
    """Take a handler for a signal, unless the signal is ignored, as a shell arranges it for jobs in the background."""
    if signal.getsignal(number) is not signal.SIG_IGN:
        signal.signal(number, handler)


def _leave(number: int, frame: FrameType | None) -> None:
    """Leave without an exception: libraries that are being imported catch those, and go on. Nothing was computed yet."""
    interrupted = number == signal.SIGINT
    word = "interrupted" if interrupted else "stopped"
    output.complain(f"{word} before an attack began. Run the same command again to start")
    os._exit(StoppedByUserError.exit_code if interrupted else StoppedEarlyError.exit_code)


def _stop(number: int, frame: FrameType | None) -> None:
    """Leave while attacks run; a running one was saved less than a minute ago."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise StoppedEarlyError(f"stopped early; {KEPT}")


def _planned(words: str) -> None:
    """Print the plan; from here on there are attacks to keep."""
    _tell(words)
    for one in STOPS:
        _answer_by(one, _stop)


@verbs.command(
    epilog="Example: `gradsiege audit --model torchvision:resnet18 --weights model.safetensors --images pictures/ --out audit/`"
)
@_stoppable()
def audit(
    model: Annotated[
        str,
        typer.Option(
            help="torchvision:NAME, timm:NAME, a study's model (`gradsiege list models`), or package.module:factory."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the result, for its owner alone.")],
    images: Annotated[
        Path | None,
        typer.Option(
            help="Private pictures: a folder, a table (.csv), or arrays (.npz, .safetensors, .pt)."
        ),
    ] = None,
    updates: Annotated[
        Path | None,
        typer.Option(
            help="Instead of pictures, updates that a server recorded (.npz, .safetensors, .pt), or a folder of recordings."
        ),
    ] = None,
    weights: Annotated[
        list[Path] | None,
        typer.Option(
            help="Weights: safetensors, or PyTorch files of tensors alone. Several are stages of training."
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            callback=SIDE, help="Cut pictures to squares and resize them to so many pixels."
        ),
    ] = None,
    classes: Annotated[
        int | None, typer.Option(callback=COUNT, help="Classes of a network without weights.")
    ] = None,
    normalisation: Annotated[
        str | None,
        typer.Option(help="imagenet, none, or means/deviations; else as the library publishes it."),
    ] = None,
    batch_size: Annotated[
        list[int] | None,
        typer.Option(callback=counts, help="Pictures per local step (1); several are compared."),
    ] = None,
    local_steps: Annotated[
        list[int] | None,
        typer.Option(callback=counts, help="Local steps (1); several are compared."),
    ] = None,
    client_pictures: Annotated[
        int | None,
        typer.Option(
            callback=COUNT,
            help="Pictures of a client; by default one batch, which every step repeats.",
        ),
    ] = None,
    learning_rate: Annotated[
        float,
        typer.Option(callback=number(Range(0, 10**6, open_low=True)), help="Of the clients' SGD."),
    ] = 0.01,
    batch_norm: Annotated[
        str, typer.Option(help="eval or train: statistics that clients normalise by.")
    ] = "eval",
    defense: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME, NAME:key=value,... or package.module:Class; several are compared, the first is judged."
        ),
    ] = None,
    aux: Annotated[
        Path | None,
        typer.Option(
            help="Public pictures of the attacker; else photographs that ship with a package."
        ),
    ] = None,
    budget: Annotated[
        str, typer.Option(help="quick (minutes), standard (hours) or thorough (a night).")
    ] = "quick",
    unit: Annotated[
        str | None,
        typer.Option(
            help="Of a file of --updates: gradient (the default), or difference (local minus global weights)."
        ),
    ] = None,
    head: Annotated[
        str | None, typer.Option(help="Name of the last linear layer, if it is not found.")
    ] = None,
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Whether the page shows pictures.")
    ] = True,
    fail_above: Annotated[
        str | None,
        typer.Option(help="Leave with code 9 if the worst case exceeds it, such as 20dB."),
    ] = None,
    seed: Annotated[
        int, typer.Option(callback=number(Range(0, 2**62)), help="Of all randomness.")
    ] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Say what an honest but curious server could see of your clients' pictures: one page, tables and JSON."""
    from gradsiege.auditing.budget import budget_named
    from gradsiege.auditing.limit import decibels
    from gradsiege.auditing.private import refuse_taken, refuse_within

    limit = None if fail_above is None else decibels(fail_above)
    budget_named(budget)
    if (images is None) == (updates is None):
        raise UsageError(
            "give --images, the private pictures, or --updates, what a server recorded: one of both"
        )
    if batch_norm not in ("eval", "train"):
        raise UsageError(f"--batch-norm is {batch_norm!r}; give eval or train")
    refuse_taken(out, "--out")
    for option, given in (("--images", images), ("--aux", aux), ("--updates", updates)):
        if given is not None:
            refuse_within(out, given, "--out", option)
    source = f"--images {images}" if updates is None else f"--updates {updates}"
    _tell(f"reading --model {model} and {source}; a short trial then measures this machine")
    from gradsiege.auditing.inputs.request import Request

    request = Request(
        model=model,
        weights=tuple(weights or ()),
        size=size,
        classes=classes,
        normalisation=normalisation,
        batch_sizes=tuple(batch_size or (1,)),
        local_steps=tuple(local_steps or (1,)),
        client_pictures=client_pictures,
        learning_rate=learning_rate,
        batch_norm="train" if batch_norm == "train" else "eval",
        defenses=tuple(defense or ()),
        aux=aux,
        head=head,
    )
    common: dict[str, Any] = {
        "budget": budget,
        "seed": seed,
        "device": device,
        "resume": out,
        "tell": _planned,
    }
    if updates is not None:
        if limit is not None:
            raise UsageError(
                "--fail-above compares with the truth, which --updates do not hold; leave it out"
            )
        with _refused_exits():
            _of_updates(request, updates, unit, out, pictures, common)
        return
    if unit is not None:
        raise UsageError("--unit says what --updates hold; leave it out")
    assert images is not None  # one of both is given
    with _refused_exits():
        found = _of_pictures(request, images, out, pictures, common)
    if limit is not None and found.exceeds(limit):
        if math.isnan(found.decibel):
            raise LeakError(
                f"no attack finished, so that nothing is below the limit of {limit:g} dB"
            )
        raise LeakError(
            f"the worst case is {found.decibel:.1f} dB ({found.worst.situation.key}), above the limit of {limit:g} dB"
        )


@contextmanager
def _refused_exits() -> Iterator[None]:
    """Let code of the user's own not end the program as if it had succeeded."""
    try:
        yield
    except SystemExit as error:
        raise UsageError(
            f"code of --model or --defense ends the program (exit code {error.code}); take that out of it"
        ) from error


def _of_pictures(
    request: Request, images: Path, out: Path, pictures: bool, common: dict[str, Any]
) -> Audit:
    """Audit pictures, print the result in sentences and the page's path."""
    from gradsiege.auditing.call import audit as work
    from gradsiege.auditing.inputs.request import audited
    from gradsiege.auditing.page.sentences import judgement, lead

    given = audited(request, images)
    for remark in given["remarks"]:
        _tell(f"  {remark}")
    found = work(**given, **common)
    page = found.save(out, pictures)
    for sentence in [*lead(found), *map(judgement, found.findings)]:
        typer.echo(sentence)
    typer.echo(str(page))
    return found


def _of_updates(
    request: Request,
    updates: Path,
    unit: str | None,
    out: Path,
    pictures: bool,
    common: dict[str, Any],
) -> None:
    """Reconstruct from recorded updates, print a sentence and the page's path."""
    found: RoundsAudit | RecordedAudit
    if updates.is_dir():
        if unit is not None:
            raise UsageError(
                f"--updates {updates} is a folder of recordings, which hold the weights that were sent and received; leave --unit out"
            )
        from gradsiege.auditing.inputs.rounds import rounds
        from gradsiege.auditing.rounds import audit_rounds

        found = audit_rounds(**rounds(request, updates), **common)
    else:
        from gradsiege.auditing.inputs.request import recorded
        from gradsiege.auditing.recorded import audit_updates

        found = audit_updates(**recorded(request, updates, unit or "gradient"), **common)
    typer.echo(found.sentence())
    typer.echo(str(found.save(out, pictures)))


def _tell(words: str) -> None:
    """Print the plan beside the progress, so that standard output holds the result alone."""
    typer.echo(words, err=True)

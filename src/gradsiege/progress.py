"""Progress of long work: a rich bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator

SECONDS_BETWEEN_LINES = 20.0


def track(
    items: Iterable[int],
    total: int,
    label: str,
    first: int = 0,
    named: Callable[[int], str] | None = None,
) -> Iterator[int]:
    """Yield `items`, showing how far of `total` they are.

    Args:
        label: what is counted.
        first: where a resumed job goes on.
        named: the item that comes next, in words, where items differ.
    """
    if sys.stderr.isatty():
        yield from _bar(items, total, label, first, named)
        return
    last = time.monotonic()
    for done, item in enumerate(items, start=first):
        if time.monotonic() - last > SECONDS_BETWEEN_LINES:
            print(f"{label}: {done}/{total}{_next(item, named)}", file=sys.stderr, flush=True)
            last = time.monotonic()
        yield item


def _next(item: int, named: Callable[[int], str] | None) -> str:
    return f", now {named(item)}" if named else ""


def _bar(
    items: Iterable[int],
    total: int,
    label: str,
    first: int,
    named: Callable[[int], str] | None,
) -> Iterator[int]:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=total, completed=first)
        for item in items:
            progress.update(task, description=f"{label}{_next(item, named)}")
            yield item
            progress.advance(task)

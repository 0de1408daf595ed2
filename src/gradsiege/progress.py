"""Progress of long work: a rich bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator

SECONDS_BETWEEN_LINES = 20.0


def track(items: Iterable[int], total: int, label: str, first: int = 0) -> Iterator[int]:
    """Yield `items`, showing how far of `total` they are; `first` is where a resumed job goes on."""
    if sys.stderr.isatty():
        yield from _bar(items, total, label, first)
        return
    last = time.monotonic()
    for done, item in enumerate(items, start=first):
        if time.monotonic() - last > SECONDS_BETWEEN_LINES:
            print(f"{label}: {done}/{total}", file=sys.stderr, flush=True)
            last = time.monotonic()
        yield item


def _bar(items: Iterable[int], total: int, label: str, first: int) -> Iterator[int]:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=total, completed=first)
        for item in items:
            yield item
            progress.advance(task)

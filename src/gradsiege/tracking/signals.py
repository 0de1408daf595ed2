"""An orderly end on Ctrl-C and SIGTERM."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stopped_by_signals() -> Iterator[Event]:
    """Yield an event that the first SIGINT or SIGTERM sets; the second one ends the program as usual."""
    stop = Event()
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def give_back() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()
        give_back()

    for number in SIGNALS:
        signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        give_back()

"""Cost of a round of federated training: its seconds and the peak memory of the process."""

from __future__ import annotations

import re
import resource
import time
from pathlib import Path
from types import TracebackType

STATUS = Path("/proc/self/status")


def peak_memory() -> float:
    """Return the largest resident memory of this process since it began, or since its last cell, in MiB.

    Linux states it in kibibytes; `getrusage` may state the parent's there. macOS has `getrusage` alone, in bytes.
    """
    if STATUS.is_file():
        peak = re.search(r"^VmHWM:\s+(\d+) kB$", STATUS.read_text(), re.MULTILINE)
        if peak:
            return int(peak[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


class Cost:
    """Seconds of a block and the process's peak memory at its end.

    The memory includes libraries and data, so compare defenses by the difference of their peaks.

    >>> with Cost() as cost:
    ...     pass
    >>> cost.seconds < 1, cost.peak_memory > 1
    (True, True)
    """

    seconds: float
    peak_memory: float

    def __enter__(self) -> Cost:
        """Start the clock."""
        self._start = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, _: TracebackType | None
    ) -> None:
        """Stop the clock."""
        self.seconds = time.monotonic() - self._start
        self.peak_memory = peak_memory()

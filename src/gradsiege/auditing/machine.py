"""The processor during an audit: its threads, and freed memory that is kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gradsiege.allocator import freed_memory_kept


@contextmanager
def processor_settings_restored() -> Iterator[None]:
    """Keep freed memory while the block runs, and restore the number of threads at its end."""
    threads = torch.get_num_threads()
    with freed_memory_kept():
        try:
            yield
        finally:
            torch.set_num_threads(threads)

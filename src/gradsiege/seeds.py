"""Seeds are hashes of the names of their purpose; nothing of ours draws from a global random state."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import torch


def seed_for(*names: object) -> int:
    """Return a 63-bit seed that depends on every name and their order.

    Two names never run together: ``("ab", "c")`` and ``("a", "bc")`` differ. A name may be any text: the separator is escaped
    in it, and half a surrogate pair, as in a file name that is not UTF-8, is taken as it stands.

    >>> seed_for(0, "photos", "victims")
    7829077535892131571
    >>> seed_for("ab", "c") == seed_for("a", "bc")
    False
    """
    plain = (str(name).replace("\x1b", "\x1b\x1b").replace("\x1f", "\x1b-") for name in names)
    text = "\x1f".join(plain).encode(errors="surrogatepass")
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def torch_generator(*names: object) -> torch.Generator:
    """Return a CPU `torch.Generator` seeded by `seed_for`."""
    import torch

    return torch.Generator().manual_seed(seed_for(*names))


def numpy_generator(*names: object) -> np.random.Generator:
    """Return a NumPy generator seeded by `seed_for`."""
    import numpy as np

    return np.random.default_rng(seed_for(*names))


@contextmanager
def global_state(*names: object) -> Iterator[None]:
    """Seed PyTorch's global generators while the block runs, for networks and defenses of others that draw from them.

    Afterwards they are as they were.
    """
    import torch

    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed_for(*names))
        if devices:
            torch.cuda.manual_seed_all(seed_for(*names))
        yield

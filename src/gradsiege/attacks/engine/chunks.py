"""How many elements are evaluated at once: as many as memory holds, measured, and fewer when it was not enough."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from gradsiege.attacks.engine.objective import Evaluate, Evaluation, Target
from gradsiege.attacks.variables import Variables
from gradsiege.errors import GradSiegeError, out_of_memory

# What an evaluation needs beyond the tensors that autograd keeps: temporaries, gradients, the allocator's own losses.
HEADROOM = 3.0
# The share of the free memory that an attack may fill; other jobs run beside it.
SHARE = 0.5
GIB = 2.0**30


def part(x: Variables, target: Target, first: int, last: int) -> tuple[Variables, Target]:
    """Return the elements from `first` to before `last`."""
    labels, observed, consensus, statistics = target.tensors()
    return (
        {name: value[first:last] for name, value in x.items()},
        Target(
            labels[first:last],
            {name: value[first:last] for name, value in observed.items()},
            consensus[first:last],
            {name: value[first:last] for name, value in statistics.items()},
        ),
    )


class Chunked:
    """An evaluation in chunks of at most `size` elements; running out of memory halves the size and goes on."""

    def __init__(self, evaluate: Evaluate, size: int) -> None:
        self.evaluate = evaluate
        self.size = size

    def __call__(self, x: Variables, target: Target) -> Evaluation:
        """Evaluate all elements."""
        n = len(target.labels)
        while True:
            try:
                return self._all(x, target, n)
            except (torch.OutOfMemoryError, RuntimeError) as error:
                size = min(self.size, n)
                if not out_of_memory(error):
                    raise
                if size == 1:
                    raise GradSiegeError(
                        "one element alone does not fit into memory: take a smaller model, fewer images "
                        f"per update, or a machine with more memory ({error})"
                    ) from error
                self.size = size // 2
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()

    def _all(self, x: Variables, target: Target, n: int) -> Evaluation:
        if n <= self.size:
            return self.evaluate(x, target)
        evaluations = [
            self.evaluate(*part(x, target, first, min(first + self.size, n)))
            for first in range(0, n, self.size)
        ]
        gradients = {
            name: torch.cat([of_chunk[name] for of_chunk, _ in evaluations])
            for name in evaluations[0][0]
        }
        return gradients, torch.cat([matching for _, matching in evaluations])


def elements_that_fit(one_by_one: Evaluate, x: Variables, target: Target) -> int:
    """Return how many elements memory holds, from the memory that one of them takes; at least one.

    Args:
        one_by_one: the engine ``loop``; what others keep for an element is the same.
    """
    n, device = len(target.labels), target.labels.device
    needed = HEADROOM * bytes_kept(one_by_one, *part(x, target, 0, 1))
    return max(1, min(n, int(SHARE * free_bytes(device) / max(needed, 1))))


def bytes_kept(evaluate: Evaluate, x: Variables, target: Target) -> int:
    """Return the bytes of all tensors that autograd keeps during an evaluation."""
    bytes_of_storage: dict[int, int] = {}

    def count(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        bytes_of_storage[storage.data_ptr()] = storage.nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(count, lambda value: value):
        evaluate(x, target)
    return sum(bytes_of_storage.values())


def free_bytes(device: torch.device) -> int:
    """Return the free memory of a device; on a CPU also bounded by the control group, as schedulers set it."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    lines = Path("/proc/meminfo").read_text().splitlines()
    available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvail"))
    group = Path("/sys/fs/cgroup")
    if (group / "memory.max").is_file():
        limit = (group / "memory.max").read_text().strip()
        if limit != "max":
            used = int((group / "memory.current").read_text())
            available = min(available, int(limit) - used)
    return available

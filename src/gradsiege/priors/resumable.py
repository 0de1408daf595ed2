"""Training loops that can be interrupted and resumed, with exactly the numbers of an uninterrupted run."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from gradsiege.progress import track

SECONDS_BETWEEN_SAVES = 30.0


class Stateful(Protocol):
    """A network, an optimizer or a schedule."""

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a step may change."""

    def load_state_dict(self, state_dict: dict[str, Any], /) -> object:
        """Restore a state."""


class Interruptible(Protocol):
    """Work that can be asked to stop and that keeps progress, such as a job of a study."""

    def should_stop(self) -> bool:
        """Whether to save and stop now."""

    def interrupt(self) -> None:
        """Stop; called after progress was saved."""

    def save_progress(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Save tensors and plain data, replacing the previous ones.

        tensors: by name, of any shape and type.
        """

    def load_progress(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return the last saved progress, or None.

        Tensors have the shapes and types with which they were saved.
        """


Parts = Mapping[str, Stateful | Tensor]


class Checkpointer:
    """The checkpoints of a training loop in the progress of its job; without a job it saves nothing.

    Args:
        job: says when to stop, and keeps the progress.
    """

    def __init__(self, job: Interruptible | None = None) -> None:
        self.job = job

    def steps(
        self,
        total: int,
        label: str,
        parts: Parts,
        generator: torch.Generator,
    ) -> Iterator[int]:
        """Yield the numbers of the steps still to take, from 0 to total - 1; save between them.

        After an interruption the caller repeats the work before the loop; `parts` and `generator` then get back the state that
        they had. A checkpoint is never taken after the last step, so whatever that step computes is there when the loop ends.

        Args:
            total: number of steps.
            label: what is trained, for the progress bar.
            parts: everything that a step changes; tensors are changed in place.
            generator: the source of the loop's random numbers.
        """
        first = self._resume(parts, generator) if self.job else 0
        last = time.monotonic()
        for number in track(range(first, total), total, label, first):
            if self.job is not None:
                stop = self.job.should_stop()
                if stop or time.monotonic() - last >= SECONDS_BETWEEN_SAVES:
                    self._save(self.job, number, parts, generator)
                    last = time.monotonic()
                if stop:
                    self.job.interrupt()
            yield number

    def _save(
        self,
        job: Interruptible,
        step: int,
        parts: Parts,
        generator: torch.Generator,
    ) -> None:
        states = {
            name: part.detach() if isinstance(part, Tensor) else part.state_dict()
            for name, part in parts.items()
        }
        tensors: dict[str, Tensor] = {"generator": generator.get_state()}
        job.save_progress(tensors, {"step": step, "parts": flatten(states, tensors)})

    def _resume(self, parts: Parts, generator: torch.Generator) -> int:
        """Restore the saved state and return the number of steps done."""
        assert self.job is not None
        saved = self.job.load_progress()
        if saved is None:
            return 0
        tensors, header = saved
        states = unflatten(header["parts"], tensors)
        for name, part in parts.items():
            if isinstance(part, Tensor):
                with torch.no_grad():
                    part.copy_(states[name])
            else:
                part.load_state_dict(states[name])
        generator.set_state(tensors["generator"])
        return int(header["step"])


UNSAVED = Checkpointer()


def flatten(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Return nested containers as plain JSON; the tensors in them go into `tensors`, with a copy of their own.

    >>> tensors = {}
    >>> flatten({0: [1.5, torch.ones(1)]}, tensors), tensors
    ({'items': [[0, {'list': [1.5, {'tensor': '0'}]}]]}, {'0': tensor([1.])})
    """
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.clone()
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"items": [[key, flatten(inner, tensors)] for key, inner in value.items()]}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [flatten(inner, tensors) for inner in value]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a checkpoint cannot hold {type(value).__name__}")


def unflatten(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return the nested containers that `flatten` was given.

    >>> tensors = {}
    >>> unflatten(flatten({0: (1.5, torch.ones(1))}, tensors), tensors)
    {0: (1.5, tensor([1.]))}
    """
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items()
    if kind == "tensor":
        return tensors[inner]
    if kind == "items":
        return {key: unflatten(held, tensors) for key, held in inner}
    parts = [unflatten(held, tensors) for held in inner]
    return parts if kind == "list" else tuple(parts)

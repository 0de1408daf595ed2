"""A federation between two rounds: what is carried on, in memory and in a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from gradsiege.protocol.local_update import Tensors
from gradsiege.protocol.observation import group

# Fields that hold no tensor.
PLAIN = ("rows", "costs", "round", "failure")
# Columns of a round's utility, as `server.evaluate` returns them.
MEASURES = ("accuracy", "macro_f1", "micro_f1", "loss")


@dataclass(frozen=True)
class Reached:
    """A global model after `round` rounds; `failure` says why it is not the trained one, if so."""

    state: tuple[Tensors, Tensors]
    round: int
    failure: str = ""


@dataclass
class Progress:
    """Everything that a federation carries from round to round.

    Attributes:
        parameters, buffers: the global model.
        states: by client, what its defense keeps.
        rows: utility of every round so far; costs: seconds and memory of them.
        early: the model after the early round, once it is there.
        round: rounds that are done.
        failure: why training cannot go on, if so.
    """

    parameters: Tensors
    buffers: Tensors
    states: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    costs: list[dict[str, Any]] = field(default_factory=list)
    early: tuple[Tensors, Tensors] | None = None
    round: int = 0
    failure: str = ""

    def record(self, number: int, measured: dict[str, float]) -> None:
        """Add the utility of the model after a round, counted from 1; 0 is the untrained one."""
        self.rows.append({"round": number, **measured, "status": "complete"})

    def record_failure(self, rounds: int) -> None:
        """Add a row without numbers for each of the rounds that the failure left out."""
        nothing = dict.fromkeys(MEASURES, float("nan"))
        for number in range(self.round + 1, rounds + 1):
            self.rows.append({"round": number, **nothing, "status": "failed"})

    def training_stages(
        self, untrained: tuple[Tensors, Tensors], early_round: int, rounds: int
    ) -> dict[str, Reached]:
        """Return the model of each training stage; where training failed before, the last one that there is.

        Parameters and buffers are tensors by name, each in its shape.

        Args:
            untrained: parameters and buffers of the first round.
            early_round: rounds before the model ``early``.
            rounds: rounds before the model ``late``.
        """
        last = (self.parameters, self.buffers)
        early = Reached(self.early or last, early_round, "" if self.early else self.failure)
        late = Reached(last, rounds, self.failure)
        return {"untrained": Reached(untrained, 0), "early": early, "late": late}

    def packed(self) -> tuple[Tensors, dict[str, Any]]:
        """Return the tensors, in memory of their own, and the rest as plain data.

        Tensors by name, each in its shape.
        """
        tensors = {f"parameters.{name}": value for name, value in self.parameters.items()}
        tensors |= {f"buffers.{name}": value for name, value in self.buffers.items()}
        prefixes = ("early.parameters.", "early.buffers.")
        for prefix, part in zip(prefixes, self.early or (), strict=False):
            tensors |= {prefix + name: value for name, value in part.items()}
        for client, state in self.states.items():
            tensors |= {f"state.{client}.{name}": value for name, value in state.items()}
        header = {name: getattr(self, name) for name in PLAIN}
        return {name: value.clone() for name, value in tensors.items()}, header

    @classmethod
    def unpacked(cls, tensors: Tensors, header: dict[str, Any]) -> Progress:
        """Return what was packed; further keys of the header are left alone.

        tensors: by name, each in its shape, as `packed` returned them.
        """
        early = (group(tensors, "early.parameters."), group(tensors, "early.buffers."))
        states: dict[int, dict[str, Tensor]] = {}
        for name, value in group(tensors, "state.").items():
            client, _, key = name.partition(".")
            states.setdefault(int(client), {})[key] = value
        return cls(
            parameters=group(tensors, "parameters."),
            buffers=group(tensors, "buffers."),
            states=states,
            early=early if early[0] else None,
            **{name: header[name] for name in PLAIN},
        )

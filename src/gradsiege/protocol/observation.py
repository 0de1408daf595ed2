"""The observation (all that the server sees of each victim), and the sealed truth.

They are two files of two kinds. `load_observation` refuses a file of any other kind, so an attack that is
given a truth file fails before it starts. An observation contains labels, and a gallery of candidates that holds the private
images, only so that a threat model can grant them; otherwise they are stripped. It contains no other image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gradsiege import artifacts
from gradsiege.errors import ModelError
from gradsiege.images import to_bytes
from gradsiege.models import Architecture, ModelSpec
from gradsiege.protocol.gallery import without_order
from gradsiege.protocol.local_update import LocalTraining, Tensors
from gradsiege.protocol.recorded import recorded
from gradsiege.protocol.usable import unusable

OBSERVATION = "observation"
TRUTH = "truth"


@dataclass(frozen=True)
class Round:
    """A later round of the same victims on the same images: its global state and their updates, as in `Observation`."""

    parameters: Tensors
    buffers: Tensors
    update: Tensors


@dataclass(frozen=True)
class Observation:
    """One checkpoint and the updates of several victims, who all started from it.

    Attributes:
        model: architecture.
        parameters, buffers: the global state theta_t.
        update: for each parameter the uploaded updates ``[victims, *shape]``, in gradient units.
        images_per_client: private images per victim.
        training: the local protocol, if granted.
        disclosure: public parameters of the defense, if granted.
        labels: ``[victims, images]``, if granted.
        failures: victims without a usable update, with the reason.
        statistics: mean and variance of the private batch at the input of every batch norm, ``[victims, channels]``, as
            ``<layer>.mean`` and ``<layer>.variance``, if granted.
        later: further rounds of the same victims on the same images, if the protocol has several and they are granted.
        progress: t / R of the first round and of the later ones; empty if there are no later ones.
        candidates: images ``[n, c, h, w]`` in [0, 1], the private ones among them, in an order that says nothing about which
            (`protocol.gallery`), if granted.
    """

    model: Architecture
    parameters: Tensors
    buffers: Tensors
    update: Tensors
    images_per_client: int
    training: LocalTraining | None
    disclosure: dict[str, Any] | None
    labels: Tensor | None
    failures: dict[int, str] = field(default_factory=dict)
    statistics: Tensors = field(default_factory=dict)
    later: tuple[Round, ...] = ()
    progress: tuple[float, ...] = ()
    candidates: Tensor | None = None

    @classmethod
    def of(
        cls,
        model: nn.Module,
        update: Any,
        image_shape: tuple[int, int, int],
        images_per_client: int | None = None,
        training: LocalTraining | None = None,
        normalisation: tuple[Sequence[float], Sequence[float]] | None = None,
        labels: Any = None,
        disclosure: dict[str, Any] | None = None,
        unit: Literal["gradient", "difference"] = "gradient",
        head: str | None = None,
    ) -> Observation:
        """Return the observation of the updates of one or several clients that were recorded elsewhere.

        Args:
            model: the global network theta_t that the clients started from; it is copied to the CPU.
            update: for each trained parameter its update, by name (a mapping, or pairs of name and tensor) or in the order of
                ``model.named_parameters()``: tensors or arrays of the parameter's shape, or ``[clients, *shape]`` for several clients. Names are those of `model`, or those of an
                observation's update, which begin with ``body.``. A parameter that is left out was not seen, and is not matched.
            image_shape: channels, height and width of a private image.
            images_per_client: private images of each client; by default those of `training`, and one without it.
            training: training of each client; by default a single gradient of all its images in evaluation mode.
            normalisation: mean and standard deviation per channel, if `model` expects normalised images.
            labels: ``[clients, images]`` or, for one client, ``[images]``; used only where a threat model grants them.
            disclosure: name (``defense``) and public parameters of the defense, for attackers who know it: its `disclosure()`.
            unit: ``gradient``, or ``difference`` for theta_local - theta_t, which is divided by minus the learning rate of `training`.
            head: name of the last linear layer, where the logits are not its outputs as they are; by default it is found.

        Raises:
            ModelError: the network does not take such images, or the update, the labels or the disclosure do not fit,
                or a batch norm would train on one value per channel.

        Returns:
            An observation. A client whose update is not finite, zero everywhere, or too large to be squared is in its `failures`.
        """
        arguments = recorded(
            model,
            update,
            image_shape,
            images_per_client,
            training,
            normalisation,
            labels,
            disclosure,
            unit,
            head,
        )
        return cls.of_updates(**arguments)

    @classmethod
    def of_updates(
        cls,
        model: Architecture,
        parameters: Tensors,
        buffers: Tensors,
        update: Tensors,
        training: LocalTraining,
        *,
        disclosure: dict[str, Any] | None = None,
        labels: Tensor | None = None,
        statistics: Tensors | None = None,
        later: tuple[Round, ...] = (),
        progress: tuple[float, ...] = (),
        failure: str = "",
    ) -> Observation:
        """Return the observation of clients that uploaded; one whose update tells nothing is a failure (`protocol.usable`).

        The update's tensors are ``[victims, ...]``, the labels ``[victims, images]``.

        Args:
            model, parameters, buffers, update: as the attributes; `stacked` joins the updates of single clients.
            training: what every client did, which says how many images it holds.
            disclosure, labels, statistics, later, progress: as the attributes.
            failure: why no client at all has a usable update, if so.
        """
        reasons = unusable([update, *(round_.update for round_ in later)])
        return cls(
            model=model,
            parameters=parameters,
            buffers=buffers,
            update=update,
            images_per_client=training.images,
            training=training,
            disclosure=disclosure,
            labels=labels,
            failures={
                client: failure or reason
                for client, reason in enumerate(reasons)
                if failure or reason
            },
            statistics=statistics or {},
            later=later,
            progress=progress,
        )

    def __repr__(self) -> str:
        """Say what the observation holds, without the numbers in it."""
        granted = {
            "labels": self.labels is not None,
            "statistics": bool(self.statistics),
            f"{len(self.later)} later rounds": bool(self.later),
            "candidates": self.candidates is not None,
        }
        parts = [
            f"updates={self.victims if self.update else 0}",
            f"tensors={len(self.update)}",
            f"images_per_client={self.images_per_client}",
            f"image_shape={tuple(self.image_shape)}",
            f"training={self.training}",
            f"disclosure={self.disclosure}",
            f"failures={self.failures}",
            f"with {', '.join(name for name, held in granted.items() if held) or 'nothing else'}",
        ]
        return f"Observation({', '.join(parts)})"

    def with_candidates(self, images: Tensor) -> Observation:
        """Return the observation beside a gallery ``[n, c, h, w]`` in [0, 1]; the order of `images` is lost.

        Raises:
            ModelError: fewer than two images, or images of another shape, type or range.
        """
        return replace(self, candidates=without_order(images, self.image_shape))

    def to(self, device: torch.device, dtype: torch.dtype | None = None) -> Observation:
        """Return the observation with all tensors on a device, and its floating-point numbers in `dtype`, if one is given."""

        def move(part: Tensors) -> Tensors:
            return {
                name: value.to(device, dtype if value.is_floating_point() else None)
                for name, value in part.items()
            }

        return replace(
            self,
            parameters=move(self.parameters),
            buffers=move(self.buffers),
            update=move(self.update),
            labels=None if self.labels is None else self.labels.to(device),
            statistics=move(self.statistics),
            later=tuple(
                Round(move(round_.parameters), move(round_.buffers), move(round_.update))
                for round_ in self.later
            ),
            candidates=None if self.candidates is None else self.candidates.to(device, dtype),
        )

    def rounds(self) -> list[Observation]:
        """Return one observation per round; the `progress` of each holds the value of its round alone."""
        if not self.later:
            return [self]
        first = Round(self.parameters, self.buffers, self.update)
        return [
            replace(
                self,
                parameters=round_.parameters,
                buffers=round_.buffers,
                update=round_.update,
                later=(),
                progress=(progress,),
            )
            for round_, progress in zip((first, *self.later), self.progress, strict=True)
        ]

    @property
    def victims(self) -> int:
        """Number of updates."""
        return len(next(iter(self.update.values())))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one private image."""
        return self.model.image_shape


def save_observation(path: Path, observation: Observation) -> None:
    """Write a complete observation, candidates as bytes; the threat model of its reader strips it.

    Raises:
        ModelError: the network is not one that the library can build from its name.
    """
    if not isinstance(observation.model, ModelSpec):
        raise ModelError(
            "an observation of a network of your own cannot be written, since the file cannot say how to build it. Keep the "
            "update (`torch.save` of its tensors, or `numpy.savez`) and call `Observation.of` with your network again"
        )
    tensors = {f"parameters.{k}": v for k, v in observation.parameters.items()}
    tensors |= {f"buffers.{k}": v for k, v in observation.buffers.items()}
    tensors |= {f"update.{k}": v for k, v in observation.update.items()}
    tensors |= {f"statistics.{k}": v for k, v in observation.statistics.items()}
    if observation.labels is not None:
        tensors["labels"] = observation.labels
    if observation.candidates is not None:
        tensors["candidates"] = to_bytes(observation.candidates)
    for number, round_ in enumerate(observation.later, 1):
        for name in ("parameters", "buffers", "update"):
            # Rounds share unchanged buffers in memory, but a file needs a copy for each.
            part = {k: v.clone() for k, v in getattr(round_, name).items()}
            tensors |= {f"round{number}.{name}.{k}": v for k, v in part.items()}
    training = observation.training
    metadata: dict[str, Any] = {
        "model": asdict(observation.model),
        "images": observation.images_per_client,
        "training": asdict(training) if training else None,
        "disclosure": observation.disclosure,
        "failures": {str(victim): reason for victim, reason in observation.failures.items()},
    }
    if observation.later:
        # The format of a file with a single round stays as it was before several rounds were supported.
        metadata["progress"] = list(observation.progress)
    artifacts.write_tensors(path, tensors, OBSERVATION, metadata)


def group(tensors: Tensors, prefix: str) -> Tensors:
    """Return the tensors whose names start with `prefix`, without it.

    Every tensor keeps its shape.

    >>> group({"update.w": torch.ones(2), "buffers.b": torch.ones(1)}, "update.")
    {'w': tensor([1., 1.])}
    """
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def load_observation(path: Path) -> Observation:
    """Read an observation; any other kind of file, the truth above all, is refused."""
    tensors, metadata = artifacts.read_tensors(path, OBSERVATION)
    training = metadata["training"]
    progress = tuple(metadata.get("progress", ()))
    candidates = tensors.get("candidates")
    return Observation(
        model=ModelSpec(**metadata["model"]),
        parameters=group(tensors, "parameters."),
        buffers=group(tensors, "buffers."),
        update=group(tensors, "update."),
        images_per_client=metadata["images"],
        training=LocalTraining(**training) if training else None,
        disclosure=metadata["disclosure"],
        labels=tensors.get("labels"),
        failures={int(victim): reason for victim, reason in metadata["failures"].items()},
        statistics=group(tensors, "statistics."),
        later=tuple(_round(tensors, number) for number in range(1, len(progress))),
        progress=progress,
        candidates=None if candidates is None else candidates.float() / 255,
    )


def _round(tensors: Tensors, number: int) -> Round:
    parts = group(tensors, f"round{number}.")
    return Round(group(parts, "parameters."), group(parts, "buffers."), group(parts, "update."))


def save_truth(path: Path, images: Tensor, labels: Tensor, trained_images: Tensor) -> None:
    """Write the sealed truth, which only scoring may read.

    Args:
        path: path of the file.
        images: private images of the victims, ``[victims, images, c, h, w]`` in [0, 1].
        labels: ``[victims, images]``.
        trained_images: images that the victims trained on, shaped like `images`: equal to them, unless the defense
            transforms the batch (then perhaps a little outside [0, 1]). An update contains no more than these.
    """
    tensors = {"images": images, "labels": labels, "trained_images": trained_images}
    artifacts.write_tensors(path, tensors, TRUTH)


def load_truth(path: Path) -> tuple[Tensor, Tensor, Tensor]:
    """Return (images, labels, trained images) as in `save_truth`. Only the scoring stage calls this.

    Images are ``[victims, images, c, h, w]``, labels ``[victims, images]``.
    """
    tensors, _ = artifacts.read_tensors(path, TRUTH)
    return tensors["images"], tensors["labels"], tensors["trained_images"]


def stacked(clients: Sequence[Tensors]) -> Tensors:
    """Return tensors of several clients as one dictionary, each ``[clients, *shape]``.

    >>> stacked([{"w": torch.tensor([1.0])}, {"w": torch.tensor([4.0])}])
    {'w': tensor([[1.],
            [4.]])}
    """
    return {name: torch.stack([client[name] for client in clients]) for name in clients[0]}

"""A server's uploads on disk: one file for each upload of a client, one for each model that the server sent.

    round-0001/sent-4f1c….safetensors      the global model theta_t as it was sent
    round-0001/client-….safetensors        the model that a client sent back, and what came with it

Files are for their owner alone (0600 in folders of 0700): an update may hold the pictures that it was computed from. Nothing is
pickled, and nothing leaves the folder.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gradsiege.arithmetic import square_root
from gradsiege.artifacts import atomic
from gradsiege.errors import ArtifactError, ModelError
from gradsiege.protocol.local_update import LocalTraining
from gradsiege.protocol.observation import Observation

Arrays = Mapping[str, NDArray[Any]]
CLIENT = "client-*.safetensors"
EQUAL = (
    "the arrays of several clients of this round are equal to the last bit: under secure aggregation a server sees one aggregate "
    "instead of every client's update, so this is not a single client's"
)


@dataclass(frozen=True)
class Recording:
    """One upload: the model that a client was sent, the model that it sent back, and what else the server knows.

    Attributes:
        round, client: of the federation; a client's name is its node's id, which may differ from run to run.
        sent, received: tensors by name, or by place (``"0"``, ``"1"``, ...) where a list of arrays was exchanged.
        images: number of training images that the client stated, if it did.
        metrics: numbers that the client sent along.
        defense: what the server's strategy says of differential privacy, if anything; `notes` say where it acts.
        shared: whether another client of the round uploaded equal arrays.
    """

    round: int
    client: str
    sent: dict[str, Tensor] = field(repr=False)
    received: dict[str, Tensor] = field(repr=False)
    images: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    defense: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    shared: bool = False

    def difference_norm(self) -> float:
        """Return |theta_local - theta_t|, the length of the upload's change over all tensors of numbers."""
        squares = [
            (self.received[name].double() - value.double()).square().sum()
            for name, value in self.sent.items()
            if value.dtype.is_floating_point
        ]
        return float(square_root(torch.stack(squares).sum())) if squares else 0.0

    def difference(self, model: nn.Module) -> tuple[nn.Module, dict[str, Tensor]]:
        """Return a copy of the network with the sent weights, and theta_local - theta_t by name of a trained parameter, in its shape.

        Raises:
            ModelError: the recording does not fit the network, the sent model is not finite, or what came back does not fit it.
        """
        network, names = _loaded(model, self.sent)
        sick = [name for name, value in self.sent.items() if not bool(value.isfinite().all())]
        if sick:
            raise ModelError(
                f"{self._place}: the model that the client was sent holds numbers that are not finite in {', '.join(sick[:3])}; leave this "
                "upload out, or record the federation again"
            )
        trained = {name for name, _ in network.named_parameters()}
        keys = {key: name for key, name in names.items() if name in trained}
        wrong = [
            name
            for key, name in keys.items()
            if key not in self.received or self.received[key].shape != self.sent[key].shape
        ]
        if wrong:
            raise ModelError(
                f"{self._place}: what the client sent back lacks {', '.join(wrong[:3])}, or holds it in another shape than was sent; "
                "leave this upload out, or record it again"
            )
        return network, {name: self.received[key] - self.sent[key] for key, name in keys.items()}

    @property
    def _place(self) -> str:
        return f"round {self.round}, client {self.client}"

    def refuse_other_images(self, training: LocalTraining) -> None:
        """Refuse a training of another number of images than the client stated, if it stated one.

        Raises:
            ModelError: the numbers differ.
        """
        if self.images is not None and self.images != training.images:
            raise ModelError(
                f"{self._place}: the client trained on {self.images} images, and the training that is given has {training.images}; give "
                f"`training` with images={self.images} (`--client-pictures {self.images}`)"
            )

    def observation(
        self,
        model: nn.Module,
        image_shape: tuple[int, int, int],
        training: LocalTraining,
        **arguments: Any,
    ) -> Observation:
        """Return the upload as an observation, ready for an attack or an audit.

        Args:
            model: the federation's network, as it is built before training; the sent weights are loaded into a copy.
            image_shape: channels, height, width of a private image.
            training: what the client did, with its learning rate; its number of images must be that of the recording, if known.
            arguments: further ones of `Observation.of` (normalisation, labels, disclosure, head).

        Raises:
            ModelError: the recording is an aggregate, or does not fit the network.
        """
        if self.shared:
            raise ModelError(f"{self._place}: {EQUAL}")
        self.refuse_other_images(training)
        network, update = self.difference(model)
        return Observation.of(
            network, update, image_shape, training.images, training, unit="difference", **arguments
        )


def networks_by_round(uploads: Sequence[Recording], model: nn.Module) -> dict[str, nn.Module]:
    """Return the network that the server sent in each round: the stages of an audit, which then shows leakage by round.

    Args:
        uploads: as `recordings` returns them.
        model: the federation's network, as it is built before training.

    Returns:
        Networks by name of the round (``"round 1"``), in their order. Of a round in which clients were sent different networks, such as
        personalised ones, it is that of the first client.

    Raises:
        ModelError: a recording does not fit the network.
    """
    first = {upload.round: upload for upload in sorted(uploads, key=_place, reverse=True)}
    return {
        f"round {number}": _loaded(model, first[number].sent)[0].eval() for number in sorted(first)
    }


def _place(upload: Recording) -> tuple[int, str]:
    return upload.round, upload.client


def _loaded(model: nn.Module, sent: Mapping[str, Tensor]) -> tuple[nn.Module, dict[str, str]]:
    """Return a copy of the network with the sent weights, and its name for each sent tensor."""
    network = copy.deepcopy(model)
    state = network.state_dict()
    if set(sent) == {str(place) for place in range(len(state))}:
        names = {str(place): name for place, name in enumerate(state)}
    else:  # Opacus' wrapper puts its own name before every other.
        names = {key: key.removeprefix("_module.") for key in sent}
    unknown = [name for name in names.values() if name not in state]
    wrong = [
        name
        for key, name in names.items()
        if name in state and sent[key].shape != state[name].shape
    ]
    missing = [name for name, _ in network.named_parameters() if name not in names.values()]
    if unknown or wrong or missing:
        raise ModelError(
            f"the recorded model has {len(sent)} tensors and the network {len(state)}, and they do not fit: "
            f"{', '.join([*unknown, *wrong, *(f'{name} is missing' for name in missing)][:3])}; give the network that the federation "
            "trains"
        )
    network.load_state_dict({names[key]: value for key, value in sent.items()}, strict=False)
    return network, names


def write(
    folder: Path,
    number: int,
    client: str,
    sent: Arrays,
    received: Arrays,
    **known: Any,
) -> Path:
    """Write one upload and return its file.

    Args:
        folder: of all recordings.
        number: of the round.
        client: its name; characters that a file name cannot hold are replaced.
        sent, received: arrays by name.
        known: further attributes of `Recording`.
    """
    place = folder / f"round-{number:04d}"
    for made in (folder, place):
        made.mkdir(mode=0o700, parents=True, exist_ok=True)
    model = place / f"sent-{_digest(sent)}.safetensors"
    if not model.is_file():
        _save(model, sent, {})
    told = {"round": number, "client": client, "sent": model.name, **known}
    path = place / f"client-{re.sub(r'[^A-Za-z0-9_-]', '_', client)}.safetensors"
    _save(path, received, {"recording": json.dumps(told, sort_keys=True)})
    return path


def _save(path: Path, arrays: Arrays, metadata: dict[str, str]) -> None:
    tensors = {name: torch.from_numpy(np.array(value)) for name, value in arrays.items()}
    with atomic(path) as temporary:
        save_file(tensors, temporary, metadata)
    path.chmod(0o600)


def _digest(arrays: Arrays) -> str:
    digest = hashlib.sha256()
    for name, value in arrays.items():
        digest.update(f"{name} {value.dtype} {value.shape}".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()[:16]


def recordings(folder: Path | str) -> list[Recording]:
    """Return every recorded upload, by round and client.

    Raises:
        ArtifactError: there is none, or a file is damaged or from elsewhere.
    """
    files = sorted(Path(folder).glob(f"round-*/{CLIENT}"))
    if not files:
        raise ArtifactError(f"{folder} holds no recorded upload (round-*/{CLIENT})")
    return [read(file) for file in files]


def read(file: Path) -> Recording:
    """Return one recorded upload."""
    try:
        with safe_open(file, "pt") as opened:
            told = json.loads((opened.metadata() or {})["recording"])
        name = Path(told.pop("sent")).name
        received, sent = load_file(file), load_file(file.parent / name)
        notes = tuple(told.pop("notes", ()))
        return Recording(sent=sent, received=received, notes=notes, **told)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{file} is not a recorded upload, or is damaged: {error}") from error


def equal(uploads: Sequence[Arrays]) -> list[bool]:
    """Return for each upload whether another one is equal to the last bit.

    >>> equal([{"w": np.zeros(2)}, {"w": np.ones(2)}, {"w": np.zeros(2)}])
    [True, False, True]
    """
    digests = [_digest(arrays) for arrays in uploads]
    return [digests.count(digest) > 1 for digest in digests]

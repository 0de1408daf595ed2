"""The command line's words as the arguments of `gradsiege.audit` and `gradsiege.audit_updates`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from gradsiege.auditing.inputs.defenses import defense_named
from gradsiege.auditing.inputs.fit import outputs_of, refuse_count, refuse_size
from gradsiege.auditing.inputs.labels import gap, in_words, numbered_together, refuse_classes
from gradsiege.auditing.inputs.named import of_catalogue
from gradsiege.auditing.inputs.networks import channels_of, network_named
from gradsiege.auditing.inputs.normalisation import Scales, of_library, stated
from gradsiege.auditing.inputs.pictures import read_pictures, shaped
from gradsiege.auditing.inputs.selection import Pictures
from gradsiege.auditing.inputs.weights import put_into, read_tensors
from gradsiege.auditing.situations import local_training
from gradsiege.errors import UsageError
from gradsiege.protocol.local_update import LocalTraining

# Pictures that are read of a source: those that are attacked, and the gallery beside them.
MOST = 700
UNTRAINED = "no weights were given: the network is untrained, its weights random or as its factory made them"


@dataclass(frozen=True, kw_only=True)
class Request:
    """The words of a user's request; see `gradsiege audit --help`."""

    model: str
    weights: tuple[Path, ...] = ()
    size: int | None = None
    classes: int | None = None
    normalisation: str | None = None
    batch_sizes: tuple[int, ...] = (1,)
    local_steps: tuple[int, ...] = (1,)
    client_pictures: int | None = None
    learning_rate: float = 0.01
    batch_norm: Literal["eval", "train"] = "eval"
    defenses: tuple[str, ...] = ()
    aux: Path | None = None
    head: str | None = None

    def trainings(self) -> list[LocalTraining]:
        """Return the local trainings: the first batch size and step number, then each other one alone."""
        pairs = [(batch, self.local_steps[0]) for batch in self.batch_sizes]
        pairs += [(self.batch_sizes[0], steps) for steps in self.local_steps[1:]]
        return [
            local_training(batch, steps, self.client_pictures, self.learning_rate, self.batch_norm)
            for batch, steps in pairs
        ]

    def side_of_updates(self) -> int:
        """Return the side of pictures that are not at hand.

        Raises:
            UsageError: it is not given.
        """
        if self.size is None:
            raise UsageError(
                "--updates needs --size, the side of the private pictures in pixels, which no update tells"
            )
        return self.size


@dataclass(frozen=True, eq=False)
class Loaded:
    """Networks by stage, and the normalisation that they expect."""

    networks: dict[str, nn.Module]
    normalisation: Scales | None
    remarks: tuple[str, ...]


def audited(request: Request, images: Path) -> dict[str, Any]:
    """Return the arguments of `gradsiege.audit` for pictures in a folder, a table or a file.

    Raises:
        UsageError, ModelError, ArtifactError, MissingError: each says which option to change.
    """
    pictures = read_pictures(images, MOST, request.size, None)
    loaded, pictures = fitted(request, pictures)
    outputs = outputs_of(
        next(iter(loaded.networks.values())), shape_of(pictures), request.model, request.classes
    )
    refuse_count(request.model, request.classes, outputs)
    aux: dict[str, Any] = {}
    public: Pictures | None = None
    if request.aux is not None:
        side, channels = pictures.images.shape[-1], pictures.images.shape[1]
        public = read_pictures(request.aux, MOST, side, channels, "--aux")
        pictures, public = numbered_together(pictures, public)
        if outputs is not None:
            refuse_classes(public, outputs, f"--aux {request.aux}")
        aux = {"aux": public.images, "aux_labels": public.labels}
    if outputs is not None:
        refuse_classes(pictures, outputs, f"--images {images}")
    remarks = list(pictures.remarks)
    if public is not None:
        remarks += [f"--aux: {remark}" for remark in public.remarks]
    if _has_classes_of_labels(request) and outputs is not None:
        remarks += gap(pictures, outputs)
    if pictures.classes:
        remarks.append(in_words(pictures.classes))
    return {
        "model": loaded.networks,
        "images": pictures.images,
        "labels": pictures.labels,
        "groups": pictures.groups,
        "names": pictures.names,
        "training": request.trainings(),
        "defenses": [None, *map(defense_named, request.defenses)],
        "normalisation": loaded.normalisation,
        "head": request.head,
        "name": request.model,
        "remarks": [*remarks, *loaded.remarks],
        **aux,
    }


def fitted(request: Request, pictures: Pictures) -> tuple[Loaded, Pictures]:
    """Return the networks and the pictures, with as many channels as the networks take."""
    labels = pictures.labels
    wanted = request.classes
    if _has_classes_of_labels(request) and labels is not None:
        wanted = max(2, int(labels.max()) + 1)
    channels, height, width = shape_of(pictures)
    loaded = networks(request, wanted, (channels, height, width))
    takes = channels_of(next(iter(loaded.networks.values())))
    if takes in (None, channels):
        return loaded, pictures
    changed = shaped(pictures, None, takes)
    return networks(request, wanted, (changed.images.shape[1], height, width)), changed


def _has_classes_of_labels(request: Request) -> bool:
    """Return whether the largest label decides how many classes the network has."""
    return request.classes is None and not request.weights and of_catalogue("models", request.model)


def shape_of(pictures: Pictures) -> tuple[int, int, int]:
    """Return channels, height and width of pictures."""
    channels, height, width = pictures.images.shape[1:]
    return channels, height, width


def networks(request: Request, classes: int | None, shape: tuple[int, int, int]) -> Loaded:
    """Return a network per file of weights, by the file's name; one with random weights if there is none."""
    library = request.model.partition(":")[0] in ("torchvision", "timm")
    if library:
        shape = (3, *shape[1:])
    held: dict[str, dict[str, Tensor] | None] = {"untrained": None}
    if request.weights:
        held = {path.stem: read_tensors(path, "--weights") for path in request.weights}
        if len(held) < len(request.weights):
            raise UsageError(
                "--weights: two files have one name; rename one, since stages are named after them"
            )
    made: dict[str, nn.Module] = {}
    for path, (stage, weights) in zip(request.weights or (Path(),), held.items(), strict=True):
        network = network_named(request.model, classes, shape, weights)
        if weights is not None:
            refuse_size(request.model, classes, shape, weights, f"--weights {path}")
            put_into(network, weights, f"--weights {path}", request.model)
        made[stage] = network.eval()
    remarks = [] if request.weights else [UNTRAINED]
    scales, told = scales_of(request, next(iter(made.values())), shape[0])
    return Loaded(made, scales, (*remarks, *told))


def scales_of(
    request: Request, network: nn.Module, channels: int
) -> tuple[Scales | None, list[str]]:
    """Return the normalisation that a network expects, as it is stated or as its library publishes it, and a remark on the latter."""
    if request.normalisation is not None:
        return stated(request.normalisation), []
    scales = of_library(request.model, network, channels)
    if scales is None:
        return None, []
    mean, deviation = map(list, scales)
    return scales, [
        f"pictures are normalised as the library publishes it: mean {mean}, deviation {deviation}"
    ]


def recorded(request: Request, updates: Path, unit: str) -> dict[str, Any]:
    """Return the arguments of `gradsiege.audit_updates` for a file of recorded updates.

    Raises:
        UsageError: the size of the pictures is not given, or several stages or trainings are.
    """
    from gradsiege.auditing.inputs.recorded import read_updates

    side = request.side_of_updates()
    if len(request.weights) != 1:
        raise UsageError(
            "--updates needs exactly one --weights: the network that the clients started from"
        )
    of_clients = about_clients(request)
    loaded = networks(request, request.classes, (3, side, side))
    takes = channels_of(next(iter(loaded.networks.values()))) or 3
    if takes != 3:
        loaded = networks(request, request.classes, (takes, side, side))
    (network,) = loaded.networks.values()
    shape = (takes, side, side)
    refuse_count(request.model, request.classes, outputs_of(network, shape, request.model))
    return {
        "model": network,
        "updates": read_updates(updates),
        "image_shape": shape,
        "unit": unit,
        "normalisation": loaded.normalisation,
        "remarks": loaded.remarks,
        **of_clients,
    }


def about_clients(request: Request) -> dict[str, Any]:
    """Return what all audits of recorded updates are told of their clients.

    Raises:
        UsageError: several trainings or defenses are asked for.
    """
    trainings = request.trainings()
    if len(trainings) > 1 or len(request.defenses) > 1:
        raise UsageError(
            "--updates were made by one local training and one defense; give each of their options once"
        )
    return {
        "training": trainings[0],
        "defense": defense_named(request.defenses[0]) if request.defenses else None,
        "head": request.head,
        "name": request.model,
    }

"""What an audit is about: the networks of all stages, the private pictures, and the updates that a server would see of them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from gradsiege import artifacts
from gradsiege.auditing.situations import NONE, Situation
from gradsiege.auditing.source import has_linear_head
from gradsiege.auditing.words import is_or_are
from gradsiege.defenses import is_user_defined
from gradsiege.defenses.base import Defense
from gradsiege.defenses.precode import Precode
from gradsiege.errors import ModelError, UsageError, in_a_line
from gradsiege.federated.observing import observe
from gradsiege.models.adapted import AdaptedModel, adapt
from gradsiege.models.bottleneck import insert_bottleneck
from gradsiege.models.head import find_head, probe_images
from gradsiege.protocol.observation import Observation
from gradsiege.protocol.recorded import whole_numbers
from gradsiege.ranges import counted, shown
from gradsiege.seeds import torch_generator

Normalisation = tuple[Sequence[float], Sequence[float]]


@dataclass(frozen=True, eq=False)
class Subject:
    """The networks and pictures of an audit.

    Attributes:
        networks: by stage of training; all of one architecture.
        images: private pictures ``[n, c, h, w]`` in [0, 1], the audited ones first.
        labels: int64 ``[n]``.
        groups: int64 ``[n]``, what a picture shows, or None.
        normalisation: mean and standard deviation per channel, if the network expects normalised pictures.
        head: name of the last linear layer, if it must be named.
        seed: of all randomness.
        classes: number of logits.
        heads: whether the network of a stage has a linear head, as far as that was asked.
    """

    networks: Mapping[str, nn.Module]
    images: Tensor
    labels: Tensor
    groups: Tensor | None = None
    normalisation: Normalisation | None = None
    head: str | None = None
    seed: int = 0
    classes: int = 0
    heads: dict[str, bool] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Number of private pictures."""
        return len(self.images)

    @property
    def has_pictures(self) -> bool:
        """True: they are in `images`."""
        return True

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a picture."""
        channels, height, width = self.images.shape[1:]
        return (channels, height, width)

    def adapted(self, stage: str) -> AdaptedModel:
        """Return the network of a stage as attacks take it."""
        return adapt(self.networks[stage], self.image_shape, self.normalisation, self.head)

    def tells_labels(self, stage: str) -> bool:
        """Return whether the network of a stage ends in a linear layer, off which labels are read."""
        if stage not in self.heads:
            self.heads[stage] = has_linear_head(self.adapted(stage))
        return self.heads[stage]

    def clients(self, situation: Situation, pictures: int) -> int:
        """Return the number of clients among whom `pictures` private pictures are dealt; at least one."""
        return max(1, min(pictures, len(self.images)) // situation.training.images)

    def observed(self, situation: Situation, clients: int) -> Observation:
        """Return what the server sees of the first clients in a situation."""
        count = clients * situation.training.images
        return observe(
            self.network_of(situation),
            self.images[:count],
            self.labels[:count],
            situation.defense,
            images_per_client=situation.training.images,
            training=situation.training,
            normalisation=self.normalisation,
            seed=self.seed,
            head=self.head,
        )

    def truth(self, situation: Situation, clients: int) -> tuple[Tensor, Tensor]:
        """Return the private pictures ``[clients, images, c, h, w]`` and their labels ``[clients, images]``."""
        per_client = situation.training.images
        count = clients * per_client
        images = self.images[:count].unflatten(0, (clients, per_client))
        return images, self.labels[:count].reshape(clients, per_client)

    def others(self, count: int) -> Tensor:
        """Return the private pictures that no client of an audit of `count` pictures holds.

        ``[m, c, h, w]`` in [0, 1].
        """
        return self.images[count:]

    def identity(self) -> dict[str, str]:
        """Return digests of all that results depend on by its name in words, the situations and the budget aside."""
        tensors = {
            f"{stage}.{name}": value
            for stage, network in self.networks.items()
            for name, value in network.state_dict().items()
        }
        about = {"normalisation": self.normalisation, "head": self.head}
        return {
            "network": artifacts.tensors_digest(tensors, about),
            "pictures": artifacts.tensors_digest({"images": self.images}, {}),
            "labels": artifacts.tensors_digest({"labels": self.labels}, {}),
            "seed": artifacts.json_digest(self.seed),
        }

    def network_of(self, situation: Situation) -> nn.Module:
        """Return the network of a stage, changed by a defense that changes the architecture."""
        network = self.networks[situation.stage]
        if isinstance(situation.defense, Precode):
            return self._with_bottleneck(network, situation.defense.units)
        return network

    def _with_bottleneck(self, network: nn.Module, units: int) -> nn.Module:
        if any(part.__class__.__name__ == "VariationalBottleneck" for part in network.modules()):
            return network
        changed: nn.Module = copy.deepcopy(network).cpu().eval()
        layer = self.head or find_head(changed, probe_images(self.image_shape)).layer
        insert_bottleneck(changed, layer, units, torch_generator(self.seed, "audit", "bottleneck"))
        return changed


def checked(subject: Subject) -> Subject:
    """Return the subject with its number of classes; refuse networks, pictures and labels that do not fit each other.

    Raises:
        ModelError: the network does not take such pictures, a label is out of range, or stages differ in architecture.
    """
    shapes = {stage: subject.adapted(stage) for stage in subject.networks}
    first = next(iter(shapes.values()))
    for stage, architecture in shapes.items():
        if architecture.describe() != first.describe():
            raise ModelError(
                f"the network of {stage!r} has another architecture than the first one"
            )
    labels = subject.labels
    if len(labels) != len(subject.images):
        raise ModelError(
            f"there {is_or_are(len(subject.images))} {counted(len(subject.images), 'picture')} and {counted(len(labels), 'label')}; "
            "give one label per picture"
        )
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < first.classes:
        raise ModelError(
            f"labels range from {int(labels.min())} to {int(labels.max())}, and the network has {first.classes} classes, numbered "
            f"from 0; give labels from 0 to {first.classes - 1}"
        )
    return replace(subject, classes=first.classes)


def refuse_others(given: Any) -> list[Defense | None]:
    """Return the defenses as a list; refuse what is none, a class instead of its instance included."""
    if not isinstance(given, Iterable):
        raise UsageError(f"defenses is {shown(given)}; give a list, such as [{shown(given)}]")
    defenses = list(given)
    for defense in defenses:
        if defense is not None and not isinstance(defense, Defense):
            raise UsageError(
                f"defenses holds {defense!r}; give None or a defense, such as gradsiege.defenses.TopK()"
            )
        if defense is not None and is_user_defined(defense):
            _refuse_unnamed(defense)
    return defenses


def _refuse_unnamed(defense: Defense) -> None:
    """Refuse a defense of the user's own whose name stands for no defense, or whose disclosure is not one."""
    kind = type(defense).__name__
    if defense.name == NONE:
        raise UsageError(
            f"the defense {kind} has the name {NONE!r}, which stands for no defense; give its class another `name`"
        )
    try:
        told = defense.disclosure()
    except Exception as error:
        raise UsageError(
            f"the disclosure of the defense {kind} fails: {in_a_line(error)}"
        ) from error
    try:
        artifacts.json_digest({**told})
    except Exception as error:
        raise UsageError(
            f"the disclosure of the defense {kind} is {shown(told)}; return its parameters by name, as texts, numbers and lists of them"
        ) from error


def with_labels(images: Tensor, labels: Any, architecture: AdaptedModel) -> tuple[Tensor, bool]:
    """Return labels as int64 ``[n]``, and whether they are the network's predictions since none were given."""
    from gradsiege.auditing.auxiliary import predictions

    if labels is None:
        return predictions(architecture, images), True
    numbers = whole_numbers(labels)
    if numbers.dim() != 1 or numbers.dtype.is_floating_point:
        raise ModelError(
            f"labels have shape {list(numbers.shape)} and type {numbers.dtype}; give one whole number per picture, [n]"
        )
    return numbers.long().cpu(), False

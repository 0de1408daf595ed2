"""SPEAR: the images of a batch, exactly, from the gradient of a first linear layer before a ReLU (Dimitrov et al., NeurIPS 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.linear_layer import Layer, LayerInputs, layer_inputs
from gradsiege.attacks.lookup.base import Lookup, answer
from gradsiege.attacks.matching import Seed
from gradsiege.attacks.objectives.distances import cosine
from gradsiege.errors import ThreatModelError
from gradsiege.models.head import probe_images
from gradsiege.priors.resumable import UNSAVED, Checkpointer
from gradsiege.protocol.local_update import Tensors, gradient, local_update
from gradsiege.protocol.observation import Observation
from gradsiege.protocol.reconstruction import Reconstruction
from gradsiege.protocol.simulation import Simulate
from gradsiege.ranges import Count
from gradsiege.seeds import torch_generator

VERSION = 1
REQUIRES = ("protocol",)
# It solves equations: there is nothing to iterate, and no distance that a counter could change.
UNUSED = (
    "iterations",
    "restarts",
    "label_rule",
    "update_model",
    "evaluated_at",
    "patience",
    "rounds",
    "counter",
)


@dataclass(frozen=True)
class Spear(Lookup):
    """Images, labels and their order follow from the gradient alone; an update that a defense has changed has no solution.

    A pixel outside [0, 1] is clipped. An image that adds no rank to the gradient (a copy of another one) comes out grey.

    Attributes:
        tries: random choices of rows per client; a batch of b needs about 2^b / b.
    """

    name = "spear"
    requires = REQUIRES

    tries: Count = 65536

    def look_up(
        self,
        knowledge: Knowledge,
        checkpointer: Checkpointer = UNSAVED,
        simulate: Simulate | None = None,
        seed: Seed = (),
    ) -> Reconstruction:
        """Return the images; the loss is 1 - cos of their update and the received one, infinite where there is no solution.

        Raises:
            ThreatModelError: several local steps, or a network that does not begin with a linear layer and its bias.
        """
        seen = knowledge.observation
        if seen.training is None or seen.training.steps != 1:
            raise ThreatModelError(
                "spear solves for the images of one gradient: observe clients of one local step, or in the study file name such "
                "protocols in the attack's 'only'"
            )
        first = FirstLayer.of(seen)
        weight, bias = f"{first.name}.weight", f"{first.name}.bias"
        images, labels, losses = [], [], []
        for victim in range(seen.victims):
            update = {key: value[victim] for key, value in seen.update.items()}
            layer = Layer(
                seen.parameters[weight], seen.parameters[bias], update[weight], update[bias]
            )
            generator = torch_generator(*seed, "rows", victim)
            solution = layer_inputs(layer, seen.images_per_client, generator, self.tries)
            found = first.images(solution.inputs.to(first.black), seen.image_shape)
            batch = found.new_full((seen.images_per_client, *seen.image_shape), 0.5)
            batch[: len(found)] = found.clamp(0, 1)
            classes = _labels(seen, bias, batch, solution)
            images.append(batch)
            labels.append(classes)
            losses.append(
                _loss(seen, update, batch, classes) if len(found) else found.new_tensor(torch.inf)
            )
        return answer(torch.stack(images), torch.stack(labels), torch.stack(losses))

    def evaluations(self, knowledge: Knowledge) -> int:
        """Return the number of candidate updates per victim: one for each label of each image, and one of the batch."""
        seen = knowledge.observation
        return seen.images_per_client * seen.model.classes + 1


@dataclass(frozen=True)
class FirstLayer:
    """A linear layer whose inputs are all pixels, each after a linear function of its own, such as a normalisation.

    Attributes:
        name: of the layer.
        black, white: its inputs ``[n]`` for an image of zeros and one of ones.
    """

    name: str
    black: Tensor
    white: Tensor

    def images(self, inputs: Tensor, shape: tuple[int, int, int]) -> Tensor:
        """Return the images ``[images, c, h, w]`` of inputs ``[images, n]``."""
        return ((inputs - self.black) / (self.white - self.black)).view(-1, *shape)

    def _explains(self, probes: Tensor, inputs: Tensor) -> bool:
        """Whether the inputs of probes ``[probes, c, h, w]`` are what the two flat images say."""
        expected = self.black + probes.flatten(1) * (self.white - self.black)
        return bool(torch.allclose(expected, inputs, atol=1e-4))

    @classmethod
    def of(cls, seen: Observation) -> FirstLayer:
        """Return the first layer of the observed network, whose weight and bias were received.

        Raises:
            ThreatModelError: there is none.
        """
        some = next(iter(seen.parameters.values()))
        probes = probe_images(seen.image_shape).to(some)
        given: dict[str, Tensor] = {}
        # A network of its own for this one call: its hooks go with it.
        model = seen.model.build().to(some)
        for name, part in model.named_modules():
            if isinstance(part, nn.Linear):
                part.register_forward_pre_hook(partial(_note, given, name))
        functional_call(model, {**seen.parameters, **seen.buffers}, (probes,))
        for name, inputs in given.items():
            received = {f"{name}.weight", f"{name}.bias"} <= set(seen.update)
            if not received or inputs.shape != probes.flatten(1).shape:
                continue
            layer = cls(name, inputs[-2], inputs[-1])
            if layer._explains(probes, inputs):
                return layer
        raise ThreatModelError(
            "spear needs a network that begins with a linear layer with a bias on the flattened image, and the gradients of both; "
            "attack such a network, as gradsiege.models.MLP builds it, or in the study file name the model mlp in the attack's 'only'"
        )


def _note(inputs: dict[str, Tensor], name: str, module: nn.Module, given: tuple[Tensor]) -> None:
    """Keep the first input of a layer."""
    inputs.setdefault(name, given[0].detach())


def _labels(seen: Observation, bias: str, batch: Tensor, solution: LayerInputs) -> Tensor:
    """Return for each image the label whose loss has the image's slopes at the layer, ``[images]``; 0 for an image that is missing."""
    model = seen.model.build().to(batch)
    labels = torch.zeros(len(batch), dtype=torch.int64, device=batch.device)
    for place, slopes in enumerate(solution.slopes.to(batch)):
        fits = []
        for label in range(seen.model.classes):
            one = torch.tensor([label], device=batch.device)
            image = batch[place : place + 1]
            alone, _ = gradient(model, seen.parameters, seen.buffers, image, one)
            fits.append(torch.cosine_similarity(alone[bias], slopes, dim=0))
        labels[place] = torch.stack(fits).argmax()
    return labels


def _loss(seen: Observation, update: Tensors, batch: Tensor, labels: Tensor) -> Tensor:
    """Return 1 - cos between the update of the solution and the received one."""
    assert seen.training is not None
    model = seen.model.build().to(batch)
    candidate, _ = local_update(model, seen.parameters, seen.buffers, batch, labels, seen.training)
    return cosine(candidate, update).detach()

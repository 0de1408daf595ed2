"""Shadow: perturb the training images where a shadow attacker reconstructs them well (arXiv 2506.15711)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import torch
from torch import Tensor
from torch.func import functional_call

from gradsiege.defenses.base import Arm, Client, Defense
from gradsiege.defenses.grad_cam import class_activation_plus_plus
from gradsiege.defenses.shadow import map as shadow_map
from gradsiege.defenses.shadow.control import Maps, equal_distortion, shape_of
from gradsiege.defenses.shadow.head import head_difference, moved
from gradsiege.defenses.shadow.loss import Target, latest_statistics, normalise, update_generator
from gradsiege.errors import MEND, ArtifactError, ModelError
from gradsiege.models.head import find_head
from gradsiege.models.layers import initialize
from gradsiege.priors.base import TrainedPrior
from gradsiege.priors.shadow_generator import (
    ShadowGenerator,
    ShadowGeneratorNetwork,
    find_latents,
    project,
)
from gradsiege.priors.trained import load_shadow
from gradsiege.protocol.local_update import Step, Tensors
from gradsiege.protocol.local_update import gradient as gradient_of
from gradsiege.protocol.observation import group
from gradsiege.ranges import (
    AtMost,
    CountOrZero,
    PositiveSize,
    Range,
    RateOrZero,
    Share,
    Spread,
    given,
    shown,
)

VERSION = 3
ARMS = ("faithful", "as_released")
REQUIRES = ("shadow",)
COEFFICIENTS = {"gradient": 1e-2, "statistics": 1e-2, "variation": 1e-5, "norm": 1e2, "error": 1.0}


def released_rate(batch: int) -> float:
    """Return the released learning rate of the shadow: 1e-4, 1e-3, 2e-3 for batches from 1, 4, 8 images on.

    >>> released_rate(1), released_rate(4), released_rate(32)
    (0.0001, 0.001, 0.002)
    """
    return 1e-4 if batch < 4 else 1e-3 if batch < 8 else 2e-3


def image_keys(images: Tensor) -> list[str]:
    """Return a key per image from its content, so that the image is recognised in any batch and order.

    images: ``[b, c, h, w]``; a key has 16 hexadecimal digits.
    """
    arrays = images.detach().cpu().contiguous().numpy()
    return [hashlib.sha256(array.tobytes()).hexdigest()[:16] for array in arrays]


@dataclass(frozen=True)
class Shadow(Defense):
    """Perturb each batch before the local step, where the client's own shadow attacker can reconstruct it.

    State of a client: ``generator.*`` (weights of G), ``latent.<key>`` (z_i) and ``memory.<key>`` (M_i) of its
    images. The noise is deterministic given that state. The constants of the release act on normalised
    images; ours are in [0, 1], so images and noise pass through the model's own mean and deviation.

    Our choices in the faithful arm: a small GLO generator at the size of the images instead of StyleGAN3, its
    latents searched from zero; the map kept in place; the saliency of the true class, unflattened and
    scaled to the peak of N; a pattern that stops at zero; pixels kept in [0, 1]. An image that is
    first met after the learning phase (a victim of `observe`) lets the shadow learn once and gets its map.

    The defaults are the released constants.

    Attributes:
        arm: sets the switches from `scrambled_map` to `unsynchronised_heads`, which are defects of the release, where they are None.
        amplitude: peak of the noise at t = 0 as a share of the peak of the normalised image.
        temperature: T of every softmax.
        kept: share of pixels that the saliency map marks.
        weight_low, weight_high: limits of the saliency weight a_t.
        memory: share of the old map in the memory M.
        phase: share of the rounds in which the shadow learns (20 of 100).
        shadow_steps, shadow_rate: Adam steps per batch; no rate means the released one of the batch size.
        shadow_average: share of the old weights in G after a batch.
        latent_steps, latent_rate: search of one latent per image.
        control: other noise of the same root mean square on every image (`shadow_control`), at the price of the whole
            defense. ``constant_amplitude`` is the one that is equal over the federation instead: the paper's
            pattern, at the root mean square of its growing amplitudes in every round.
        scrambled_map: misplace the sensitivity map.
        flat_cam: put the saliency map through softmax(. / T), which makes it constant.
        class_one: explain class 1, whatever the label.
        random_generator: start from random weights; the pretrained ones are not used.
        random_latents: draw latents instead of searching them.
        signed: let the pattern turn negative where the saliency outweighs it.
        unclamped: leave perturbed pixels outside [0, 1].
        unsynchronised_heads: the clients start with another last layer than the server (`shadow_head`).
        pretrained: the generator, trained on public images of the size of the clients': what
            ``gradsiege.priors.ShadowGenerator().fit(images, labels)`` returns, its weights by name, or the file that the stage
            `shadow` wrote.
    """

    name = "shadow"
    switches = (
        "scrambled_map",
        "flat_cam",
        "class_one",
        "random_generator",
        "random_latents",
        "signed",
        "unclamped",
        "unsynchronised_heads",
    )

    amplitude: Spread = 0.19
    temperature: PositiveSize = 20.0
    kept: Share = 0.3
    weight_low: Annotated[float, Range(0, 1), AtMost("weight_high")] = 0.1
    weight_high: Share = 0.5
    memory: Share = 0.1
    phase: Share = 0.2
    shadow_steps: CountOrZero = 5
    shadow_rate: RateOrZero | None = None
    shadow_average: Share = 0.5
    latent_steps: CountOrZero = 500
    latent_rate: RateOrZero = 1e-2
    control: Literal[
        "none", "gaussian", "shuffled_map", "map_only", "cam_only", "constant_amplitude"
    ] = "none"
    scrambled_map: bool | None = None
    flat_cam: bool | None = None
    class_one: bool | None = None
    random_generator: bool | None = None
    random_latents: bool | None = None
    signed: bool | None = None
    unclamped: bool | None = None
    unsynchronised_heads: bool | None = None
    arm: Arm = "faithful"
    pretrained: Tensors | TrainedPrior | Path | str | None = given()

    @cached_property
    def weights(self) -> Tensors:
        """Weights of the pretrained generator; as released they are loaded but only their shapes are used."""
        if self.pretrained is None:
            raise ArtifactError(
                "shadow needs a pretrained generator: give `pretrained`, the one that gradsiege.priors.ShadowGenerator().fit(images, labels) "
                "returns on public images, its weights, or the file that the stage `shadow` wrote"
            )
        given = self.pretrained
        if isinstance(given, TrainedPrior):
            if given.name != ShadowGenerator.name:
                raise ModelError(
                    f"shadow's generator is a gradsiege.priors.ShadowGenerator, and `pretrained` is the prior {given.name!r}: give "
                    "what ShadowGenerator().fit(images, labels) returns"
                )
            return given.weights
        if isinstance(given, Path | str):
            if not Path(given).is_file():
                raise ArtifactError(
                    f"shadow's generator: there is no file {str(given)!r}; give `pretrained` the file that the stage `shadow` wrote, or "
                    f"what gradsiege.priors.ShadowGenerator().fit(images, labels) returns. In a study, {MEND}"
                )
            return load_shadow(Path(given))[0]
        if not isinstance(given, Mapping) or not given:
            raise ModelError(
                f"shadow's generator: pretrained is {shown(given)}; give what gradsiege.priors.ShadowGenerator().fit(images, labels) "
                "returns, its weights by name, or the file that the stage `shadow` wrote"
            )
        return dict(given)

    @cached_property
    def generator(self) -> ShadowGeneratorNetwork:
        """The pretrained generator."""
        return ShadowGenerator.load(self.weights)

    def transform_batch(
        self, images: Tensor, labels: Tensor, step: Step, client: Client
    ) -> tuple[Tensor, Tensor]:
        """Return (x + noise, labels): the batch of the true step.

        images: ``[b, c, h, w]`` in [0, 1]; labels: ``[b]``; the noisy images may lie a little outside [0, 1].
        """
        self._check(images)
        p, progress = self, client.round / client.rounds
        sensitivity = self._sensitivity(images, labels, step, client)
        saliency = self._saliency(images, labels, sensitivity, client)
        weight = shadow_map.saliency_weight(progress, p.weight_low, p.weight_high)
        maps = Maps(sensitivity, saliency, weight, bool(p.signed))
        perturbed = images + self._noise(images, maps, client)
        return (perturbed if p.unclamped else perturbed.clamp(0, 1)), labels

    def _check(self, images: Tensor) -> None:
        """Refuse images of another type or shape than the generator's, before its latents are searched."""
        kind = next(value.dtype for value in self.weights.values() if value.is_floating_point())
        if images.dtype != kind:
            raise ModelError(
                f"shadow's generator holds {kind}, and the network {images.dtype}: observe `model.float()` under this defense"
            )
        made, shape = self.generator.image_shape, tuple(images.shape[1:])
        if made != shape:
            raise ModelError(
                f"shadow's generator makes images of {made}, and the clients hold images of {shape}: give `pretrained` that was "
                "trained on images of their shape"
            )

    def _noise(self, images: Tensor, maps: Maps, client: Client) -> Tensor:
        """Return the noise ``[n, c, h, w]`` in pixels: the paper's, or a control of equal strength."""
        p = self
        deviation = client.buffers["normalisation.deviation"]
        scale = shadow_map.strength(client.round / client.rounds, p.amplitude)
        if p.control == "constant_amplitude":
            scale = shadow_map.mean_strength(client.rounds, p.amplitude)
        pattern = maps.pattern(maps.sensitivity)
        added = shadow_map.noise(normalise(images, client.buffers), pattern, scale)
        # Back to pixels: normalised units times the channel's deviation.
        added = added * deviation[:, None, None]
        if p.control in ("none", "constant_amplitude"):
            return added
        shape = shape_of(p.control, maps, deviation, image_keys(images), client.generator)
        return equal_distortion(images, added, shape, clamped=not p.unclamped)

    def transform_gradient(self, gradient: Tensors, step: Step, client: Client) -> Tensors:
        """Return the gradient at the client's own last layer, if it differs from the server's.

        Takes and returns tensors by name, each of the shape of its parameter.
        """
        difference = self._difference(client)
        if not difference:
            return gradient
        parameters = moved(step.parameters, difference)
        return gradient_of(step.model, parameters, step.buffers, step.images, step.labels)[0]

    def transform_update(self, update: Tensors, client: Client) -> Tensors:
        """Return the server's weights minus the client's, over the learning rate.

        Takes and returns tensors by name, each of the shape of its parameter.
        """
        rate = client.training.learning_rate
        difference = self._difference(client)
        return moved(update, {name: -value / rate for name, value in difference.items()})

    def _difference(self, client: Client) -> Tensors:
        """Return the client's last layer minus the server's; empty if they are equal."""
        if client.round or not self.unsynchronised_heads:
            return {}
        state = {**client.parameters, **client.buffers}
        return head_difference(client.parameters, find_head(client.model, client.images[:1], state))

    def _saliency(
        self, images: Tensor, labels: Tensor, sensitivity: Tensor, client: Client
    ) -> Tensor:
        """Return S from Grad-CAM++ of the global model on the clean batch."""
        p = self
        classes = torch.ones_like(labels) if p.class_one else labels
        cam = class_activation_plus_plus(
            client.model, client.parameters, client.buffers, images, classes
        )
        if p.flat_cam:
            return shadow_map.flat_saliency_map(cam, p.kept, p.temperature)
        return shadow_map.saliency_map(cam, sensitivity, p.kept)

    def _sensitivity(self, images: Tensor, labels: Tensor, step: Step, client: Client) -> Tensor:
        """Return the fresh N while the shadow learns and the memory M afterwards, ``[n, c, h, w]``."""
        keys = image_keys(images)
        known = [client.state.get(f"memory.{key}") for key in keys]
        learning = client.round / client.rounds < self.phase
        if not learning and all(memory is not None for memory in known):
            return torch.stack([memory for memory in known if memory is not None])
        fresh = self._fresh_map(keys, images, labels, step, client)
        used = []
        for key, new, old in zip(keys, fresh, known, strict=True):
            if learning or old is None:
                memory = shadow_map.remember(old, new, self.memory)
                client.state[f"memory.{key}"] = memory.clone()
            used.append(new if learning or old is None else old)
        return torch.stack(used)

    def _fresh_map(
        self, keys: list[str], images: Tensor, labels: Tensor, step: Step, client: Client
    ) -> Tensor:
        """Let the shadow learn from this batch, and return N of its new weights."""
        p = self
        old = self._weights(client)
        latents = self._latents(keys, images, old, client)
        target = self._pseudo_step(images, labels, step, client)
        rate = released_rate(len(images)) if p.shadow_rate is None else p.shadow_rate
        new = update_generator(
            self.generator, old, latents, target, COEFFICIENTS, p.shadow_steps, rate
        )
        with torch.no_grad():
            copies = functional_call(self.generator, new, (latents,))
        share = p.shadow_average
        for name, value in new.items():
            client.state[f"generator.{name}"] = share * old[name] + (1 - share) * value
        error = (normalise(copies, client.buffers) - target.images).square()
        return shadow_map.sensitivity_map(error, p.temperature, bool(p.scrambled_map))

    def _pseudo_step(self, images: Tensor, labels: Tensor, step: Step, client: Client) -> Target:
        """Take the local step on the clean batch and return the data that an attacker would learn from it."""
        parameters = moved(step.parameters, self._difference(client))
        gradients, after = gradient_of(step.model, parameters, step.buffers, images, labels)
        return Target(
            model=client.model,
            parameters=client.parameters,
            buffers=client.buffers,
            gradient={name: value.detach() for name, value in gradients.items()},
            statistics=latest_statistics(step.model, client.buffers, after),
            images=normalise(images, client.buffers),
            labels=labels,
        )

    def _weights(self, client: Client) -> Tensors:
        """Return the client's own generator G; at first the pretrained one or a random one."""
        weights = group(client.state, "generator.")
        if weights:
            return weights
        if self.random_generator:
            network = ShadowGenerator.load(self.weights)
            initialize(network, client.generator)
            return dict(network.state_dict())
        return self.weights

    def _latents(self, keys: list[str], images: Tensor, weights: Tensors, client: Client) -> Tensor:
        """Return z_i ``[n, latent]``; those of new images are searched in the pretrained generator.

        A client whose generator was never pretrained searches in the `weights` of its own.
        """
        p = self
        new = [i for i, key in enumerate(keys) if f"latent.{key}" not in client.state]
        if new:
            shape = (len(new), self.generator.latent)
            if p.random_latents:
                fresh = project(torch.randn(shape, generator=client.generator))
            else:
                searched = ShadowGenerator.load(weights) if p.random_generator else self.generator
                start = torch.zeros(shape)
                fresh = find_latents(searched, images[new], start, p.latent_steps, p.latent_rate)
            for i, latent in zip(new, fresh, strict=True):
                client.state[f"latent.{keys[i]}"] = latent.clone()
        return torch.stack([client.state[f"latent.{key}"] for key in keys])

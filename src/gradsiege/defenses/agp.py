"""Adaptive gradient protection: noise on the convolution channels that matter least to Grad-CAM (arXiv 2302.08044)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from gradsiege.defenses.base import Arm, Client, Defense
from gradsiege.defenses.grad_cam import channel_coefficients, convolutions, trained_convolutions
from gradsiege.defenses.tip.noise import clip_gradient, factor_for_norm, noise_scale
from gradsiege.defenses.tip.ranking import one_image_per_class, top_channels, trained_model
from gradsiege.protocol.local_update import LocalTraining, Step, Tensors
from gradsiege.ranges import Epsilon, PositiveSize, Probability, Share, Spread

VERSION = 1
ARMS = ("faithful", "as_released")


def deviation(defense: Agp, training: LocalTraining) -> float:
    """Return sigma of the noise in weight units, from epsilon: that of `tip_dp`, with the switches applied.

    >>> federation = LocalTraining("fedavg", 500, 32, 2, 0.001, "train")
    >>> f"{deviation(Agp(), federation):.3e}"
    '4.845e-03'
    >>> f"{deviation(Agp(arm='as_released'), federation):.1e}"
    '2.4e-06'
    """
    p = defense
    if p.epochs_miscounted:
        if training.epochs == 1:
            return 0.0
        training = replace(training, epochs=training.epochs - 1)
    sigma = noise_scale(training, p.clip, p.epsilon, p.delta)
    return sigma * training.learning_rate if p.scaled_by_rate else sigma


def last_of_blocks(model: nn.Module) -> list[str]:
    """Return the last convolution of every block: a module, not a plain sequence, with two or more convolutions as children.

    In a residual block it is the last one of the main path, since the 1x1 convolution of a shortcut belongs to the shortcut.
    """
    layers = []
    for name, part in model.named_modules():
        convolutions = [key for key, child in part.named_children() if isinstance(child, nn.Conv2d)]
        if len(convolutions) > 1 and not isinstance(part, nn.Sequential):
            layers.append(f"{name}.{convolutions[-1]}")
    return layers


def last_of_stages(model: nn.Module, image: Tensor) -> list[str]:
    """Return the last convolution of every stage: a run of convolutions whose outputs have one height and width.

    image: ``[c, h, w]``, whose forward pass shows the sizes.
    """
    sizes: dict[str, torch.Size] = {}
    handles = [
        layer.register_forward_hook(
            lambda module, inputs, output, name=name: sizes.__setitem__(name, output.shape[2:])
        )
        for name, layer in convolutions(model).items()
    ]
    try:
        with torch.no_grad():
            model(image[None])
    finally:
        for handle in handles:
            handle.remove()
    following = [*sizes.values(), None][1:]
    return [name for name, after in zip(sizes, following, strict=True) if sizes[name] != after]


def important_channels(
    model: nn.Module, layers: list[str], client: Client, kept: float
) -> dict[str, Tensor]:
    """Return the important channels of each layer, bool ``[channels]``: those in the top share `kept` for every ranking image."""
    samples = one_image_per_class(client.labels) if layers else []
    flags: dict[str, Tensor] = {}
    for index in samples:
        alphas = channel_coefficients(model, client.images[index], int(client.labels[index]))
        for layer in layers:
            top = torch.zeros(len(alphas[layer]), dtype=torch.bool)
            top[top_channels(alphas[layer], kept)] = True
            flags[layer] = flags.get(layer, top) & top
    return flags


@dataclass(frozen=True)
class Agp(Defense):
    """Gaussian noise, after local training, on the channels that Grad-CAM finds unimportant (a defense that TIP compares with).

    Li, Chen, Ni, Gao and Lou (arXiv 2302.08044; IEEE TMC 2024), as TIP's authors evidently meant to run it. In
    the last convolution of each block the channels with the largest quarter of the coefficients stay clean,
    the other three quarters are noised; a channel that any ranking image finds unimportant is noised. In
    all other convolutions, 1x1 included, every channel is noised; batch norm, biases and head never. A client
    that holds images of five or more classes keeps hardly a channel clean, for their top quarters have none in common:
    then protecting layers changes nothing, and `every_channel` is the same defense. The deviation is that of `tip_dp`, and the gradient of a local step is clipped alike.

    Our choices: coefficients are signed and taken in eval mode from one image per class present, as in `tip`. A
    network without blocks is protected in the last convolution of each stage.

    As released (1) the list of protected layers is read before it is filled, so all channels are noised; in
    federated training (2) the loop over epochs overwrites their number E with E - 1, and (3) the noise is
    multiplied by the learning rate, which leaves next to none: 2.4e-6 instead of 4.8e-3. With one epoch it is none.

    The defaults are those of TIP's comparison.

    Attributes:
        arm: sets the last three, which are defects of the release, where they are None.
        kept: share of channels that stay clean in the last convolution of a block.
        epsilon, delta, clip: of the noise's deviation, as in `tip_dp`.
        noise_norm: root mean square l2 norm of the whole noise, in weight units, instead of what epsilon gives.
        every_channel: no layer is protected, so all channels of all convolutions are noised.
        epochs_miscounted: count one local epoch too few in the deviation.
        scaled_by_rate: multiply the noise by the learning rate.
    """

    name = "agp"
    switches = ("every_channel", "epochs_miscounted", "scaled_by_rate")

    kept: Share = 0.25
    epsilon: Epsilon = 5.0
    delta: Probability = 1e-5
    clip: PositiveSize = 5.0
    noise_norm: Spread | None = None
    every_channel: bool | None = None
    epochs_miscounted: bool | None = None
    scaled_by_rate: bool | None = None
    arm: Arm = "faithful"

    def transform_gradient(self, gradient: Tensors, step: Step, client: Client) -> Tensors:
        """Clip the gradient of a local step: g min(1, C / (|g| + 1e-6)).

        Takes and returns tensors by name, each of the shape of its parameter.
        """
        return clip_gradient(gradient, self.clip)

    def transform_update(self, update: Tensors, client: Client) -> Tensors:
        """Add the noise to the weights; in the unit of the update that is minus noise / learning rate.

        Takes and returns tensors by name, each of the shape of its parameter.
        """
        model = trained_model(client, update)
        trained = trained_convolutions(model, update, self.name)
        noised = {
            name: chosen
            for name, chosen in self.noised_channels(model, client).items()
            if name.removesuffix(".weight") in trained
        }
        sigma = deviation(self, client.training)
        if self.noise_norm is not None:
            weights = sum(update[name][chosen].numel() for name, chosen in noised.items())
            sigma = factor_for_norm(self.noise_norm, weights, self.name)
        defended = dict(update)
        for name, chosen in noised.items():
            shape = [len(chosen), *update[name].shape[1:]]
            noise = torch.randn(shape, generator=client.generator, dtype=torch.float32)
            scale = sigma / client.training.learning_rate
            defended[name] = defended[name].index_add(
                0, chosen, noise.to(update[name]), alpha=-scale
            )
        return defended

    def noised_channels(self, model: nn.Module, client: Client) -> dict[str, Tensor]:
        """Return for the weight of every convolution the indices of the channels that are noised.

        ``[noised channels]`` by the name of each weight.
        """
        protected: list[str] = []
        if not self.every_channel:
            protected = last_of_blocks(model) or last_of_stages(model, client.images[0])
        clean = important_channels(model, protected, client, self.kept)
        noised = {}
        for name, layer in convolutions(model).items():
            flags = clean.get(name, torch.zeros(layer.out_channels, dtype=torch.bool))
            noised[f"{name}.weight"] = (~flags).nonzero().flatten()
        return noised

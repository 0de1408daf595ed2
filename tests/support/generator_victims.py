"""A small staged generator, trained; victims that it made itself, and victims that it did not."""

import functools

import torch
from torch import Tensor
from victims import SIDE, observed, smooth

from gradsiege.attacks.knowledge import Knowledge
from gradsiege.priors.base import TrainedPrior
from gradsiege.priors.staged_gan import StagedGAN
from gradsiege.protocol.threat_model import ThreatModel

THREAT = ThreatModel(id="test", labels="given")


def patches(count: int) -> tuple[Tensor, Tensor]:
    """Smooth random images; class 0 is bright above, class 1 below."""
    labels = torch.arange(count) % 2
    ramp = torch.linspace(1, 0, SIDE)[:, None].expand(SIDE, SIDE)
    light = torch.where(labels[:, None, None] == 0, ramp, ramp.flip(0))
    return 0.6 * smooth(count) + 0.4 * light[:, None], labels


@functools.cache
def trained_prior() -> TrainedPrior:
    """The generator after 150 steps; trained once per process."""
    learner = StagedGAN(
        latent=6,
        width=8,
        discriminator_width=8,
        steps=150,
        batch_size=16,
        learning_rate=1e-3,
        averaging=0.98,
    )
    generator = torch.Generator().manual_seed(0)
    return TrainedPrior("staged_gan", *learner.train(*patches(200), generator))


def planted_victims(prior: TrainedPrior) -> tuple[Knowledge, Tensor]:
    """Three victims of one image, which the generator makes itself from known latents."""
    network = StagedGAN.load(prior.weights)
    labels = torch.tensor([[0], [1], [0]])
    z = torch.randn(3, network.latent, generator=torch.Generator().manual_seed(5))
    truth = network(z, labels[:, 0])[:, None]
    return Knowledge(observed(truth, labels, 2), THREAT, (prior,)), truth


def natural_victims(prior: TrainedPrior) -> tuple[Knowledge, Tensor]:
    """Two victims of two images that the generator did not make."""
    images, labels = patches(204)
    truth, labels = images[200:].view(2, 2, 3, SIDE, SIDE), labels[200:].view(2, 2)
    return Knowledge(observed(truth, labels, 2), THREAT, (prior,)), truth


def errors(images: Tensor, truth: Tensor) -> Tensor:
    return (images - truth).square().flatten(1).mean(1)

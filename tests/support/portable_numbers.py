"""Small trainings, priors and attacks, hashed; run as a program of its own, since libraries choose instructions once."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from gradsiege import arithmetic

arithmetic.make_portable()

import torch  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.nn.functional import interpolate  # noqa: E402

import gradsiege as gs  # noqa: E402
from gradsiege.models import ModelSpec, build  # noqa: E402
from gradsiege.priors import TrainedPrior  # noqa: E402
from gradsiege.protocol.local_update import LocalTraining, local_update, split_state  # noqa: E402


def sha256(tensors: dict[str, Tensor]) -> str:
    """Hash the bytes of all tensors, by name; the first 16 digits."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def small_training() -> dict[str, Tensor]:
    """Train a convnet of width 8 for two epochs of FedAvg on sixteen made-up images of 16 px."""
    generator = torch.Generator().manual_seed(0)
    model = build(ModelSpec("convnet", {"width": 8}, 4, 3, 16), generator)
    images = torch.rand(16, 3, 16, 16, generator=generator)
    labels = torch.arange(16) % 4
    training = LocalTraining("fedavg", 16, 8, 2, 0.05, "train")
    update, buffers = local_update(model, *split_state(model), images, labels, training)
    return {**update, **{f"buffer {name}": value for name, value in buffers.items()}}


def received(images: Tensor, labels: Tensor) -> gs.Observation:
    """What a server gets of clients with an image of 16 px each and an untrained convnet of width 8."""
    model = build(ModelSpec("convnet", {"width": 8}, 4, 3, 16), torch.Generator().manual_seed(1))
    return gs.observe(model, images, labels)


def small_priors() -> dict[str, TrainedPrior]:
    """Train every prior that an optimizer trains, on thirty-two images of smooth noise."""
    images = torch.rand(32, 3, 4, 4, generator=torch.Generator().manual_seed(2))
    images = interpolate(images, scale_factor=4, mode="bilinear")
    labels = torch.arange(32) % 4
    budgets = [
        gs.priors.Autoencoder(epochs=4),
        gs.priors.ClassConditionalGaussian(),
        gs.priors.Denoiser(width=8, steps=4),
        gs.priors.ShadowGenerator(latent=8, epochs=4),
        gs.priors.StagedGAN(latent=8, width=4, discriminator_width=4, steps=4),
    ]
    return {prior.name: prior.fit(images, labels) for prior in budgets}


def small_attacks(priors: dict[str, TrainedPrior]) -> dict[str, Tensor]:
    """Attack two clients with signed steps as published, with plain Adam, and with priors."""
    seen = received(
        torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(3)), torch.tensor([1, 3])
    )
    attacks = {
        "signed": gs.attacks.InvertingGradients(iterations=20),
        "unsigned": gs.attacks.InvertingGradients(iterations=20, signed=False),
        "gi_pip": gs.attacks.GiPip(iterations=20),
        "gradinversion": gs.attacks.Gradinversion(iterations=20),
        "maximum_a_posteriori": gs.attacks.MaximumAPosteriori(iterations=20),
    }
    given = {"gi_pip": "autoencoder", "maximum_a_posteriori": "class_conditional_gaussian"}
    return {
        name: attack(seen, priors=priors[given[name]] if name in given else ()).images
        for name, attack in attacks.items()
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    numbers: dict[str, Any] = {
        "torch": torch.__version__.partition("+")[0],
        "arithmetic": arithmetic.describe(),
        "training": sha256(small_training()),
    }
    priors = small_priors()
    numbers |= {f"prior {name}": sha256(prior.weights) for name, prior in priors.items()}
    attacked = small_attacks(priors)
    numbers |= {f"attack {name}": sha256({"images": images}) for name, images in attacked.items()}
    print(json.dumps(numbers))

"""The denoising autoencoder: removes noise, where the plain one of the same shape gives it back."""

import torch

from gradsiege.priors import autoencoder
from gradsiege.priors.autoencoder import Autoencoder
from gradsiege.priors.denoising_autoencoder import DenoisingAutoencoder

torch.set_num_threads(1)


def smooth_images(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 5, 5, generator=generator)
    return torch.nn.functional.interpolate(coarse, (16, 16), mode="bilinear")


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_removes_noise_better_than_the_plain_autoencoder() -> None:
    images, none = smooth_images(300, 0), torch.zeros(300)
    budget = {"epochs": 30, "batch_size": 16, "learning_rate": 5e-3}
    plain, _ = Autoencoder(**budget).train(images, none, seeded())
    weights, card = DenoisingAutoencoder(**budget, noise=0.7).train(images, none, seeded())
    clean = smooth_images(60, 1)
    noisy = clean + 0.7 * torch.randn(clean.shape, generator=seeded())
    left = {
        "plain": (Autoencoder.load(plain)(noisy) - clean).square().mean(),
        "denoising": (DenoisingAutoencoder.load(weights)(noisy) - clean).square().mean(),
    }
    assert left["denoising"] < 0.9 * left["plain"]
    assert left["denoising"] < 0.3 * (noisy - clean).square().mean()
    assert card["held_out_noise_left"] < 0.3


def test_without_noise_it_is_the_plain_autoencoder() -> None:
    images, none = smooth_images(20, 0), torch.zeros(20)
    plain, card = Autoencoder(epochs=1).train(images, none, seeded())
    prior = DenoisingAutoencoder(epochs=1, noise=0.0)
    weights, other = prior.train(images, none, seeded())
    assert all(torch.equal(plain[name], weights[name]) for name in plain)
    assert other["held_out_error_mean"] == card["held_out_error_mean"]
    assert other["parameters"] == card["parameters"]


def test_its_typical_error_is_that_on_clean_images() -> None:
    images = smooth_images(40, 0)
    prior = DenoisingAutoencoder(epochs=2, noise=0.5)
    weights, card = prior.train(images, torch.zeros(40), seeded())
    held_out, _ = autoencoder.split(images, 1.0, seeded())
    errors = autoencoder.reconstruction_error(DenoisingAutoencoder.load(weights), held_out)
    assert abs(float(errors.mean()) - card["held_out_error_mean"]) < 1e-7

"""GI-PIP's autoencoder: the published shape, what it learns, and what its score means."""

import torch

from gradsiege.attacks.objectives.regularizers import Candidate, anomaly_score
from gradsiege.priors.autoencoder import Autoencoder, AutoencoderNetwork, reconstruction_error

torch.set_num_threads(1)


def smooth_images(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 3, 3, generator=generator)
    return torch.nn.functional.interpolate(coarse, (16, 16), mode="bilinear")


def test_code_is_a_quarter_of_the_image() -> None:
    network = AutoencoderNetwork()
    assert network.encoder(torch.rand(1, 3, 32, 32)).shape == (1, 48, 4, 4)
    assert network(torch.rand(1, 3, 64, 64)).shape == (1, 3, 64, 64)


def test_learns_its_images_and_finds_noise_anomalous() -> None:
    prior = Autoencoder(epochs=60, batch_size=32, learning_rate=3e-3)
    weights, card = prior.train(
        smooth_images(300, 0), torch.zeros(300), torch.Generator().manual_seed(0)
    )
    network = Autoencoder.load(weights)
    with torch.no_grad():
        unseen = reconstruction_error(network, smooth_images(50, 1)).mean()
        noise = reconstruction_error(network, torch.rand(50, 3, 16, 16)).mean()
    assert card["held_out_error_mean"] < 0.5 * card["mean_image_error"]
    assert 0.3 < unseen / card["held_out_error_mean"] < 3
    assert noise > 5 * unseen


def test_same_generator_gives_the_same_weights() -> None:
    prior = Autoencoder(epochs=1)
    first, _ = prior.train(smooth_images(20, 0), torch.zeros(20), torch.Generator().manual_seed(0))
    again, _ = prior.train(smooth_images(20, 0), torch.zeros(20), torch.Generator().manual_seed(0))
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_fraction_limits_what_is_seen() -> None:
    prior = Autoencoder(epochs=1, fraction=0.1)
    _, card = prior.train(smooth_images(100, 0), torch.zeros(100), torch.Generator().manual_seed(0))
    assert card["trained_on"] + card["held_out"] == 10


class Brightness(torch.nn.Module):
    """Reconstructs black: the error of an image is its mean square."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(images)


def test_easy_and_hard_images_cancel_as_released_but_not_per_image() -> None:
    images = torch.stack([torch.zeros(1, 2, 2), torch.ones(1, 2, 2)])
    candidate = Candidate(images, images, torch.zeros(2), {})
    assert anomaly_score(Brightness(), 0.5, per_image=False)(candidate).item() == 0.0
    assert anomaly_score(Brightness(), 0.5, per_image=True)(candidate).item() == 0.5

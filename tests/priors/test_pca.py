"""Principal components as a prior: those of an independent library, as many numbers as the autoencoder has."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from gradsiege.errors import StudyError
from gradsiege.priors import autoencoder, pca
from gradsiege.priors.autoencoder import AutoencoderNetwork

torch.set_num_threads(1)


def smooth_images(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 3, 3, generator=generator)
    return torch.nn.functional.interpolate(coarse, (16, 16), mode="bilinear")


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def trained(images: torch.Tensor, **parameters: float) -> tuple[pca.PrincipalComponents, dict]:
    weights, card = pca.PCA(**parameters).train(images, torch.zeros(len(images)), seeded())
    return pca.PCA.load(weights), card


def test_projects_as_an_independent_library_does() -> None:
    images = smooth_images(80, 0)
    network, card = trained(images, components=9)
    _, training = autoencoder.split(images, 1.0, seeded())
    both = torch.cat([training, training.flip(3)]).flatten(1).double().numpy()
    reference = PCA(9, svd_solver="full").fit(both)
    unseen = smooth_images(10, 1)
    rows = unseen.flatten(1).double().numpy()
    expected = reference.inverse_transform(reference.transform(rows))
    np.testing.assert_allclose(network(unseen).flatten(1).numpy(), expected, atol=2e-5)
    explained = reference.explained_variance_ratio_.sum()
    assert card["explained_variance"] == pytest.approx(explained, rel=1e-4)
    torch.testing.assert_close(network.components @ network.components.T, torch.eye(9))


def test_a_projection_changes_nothing_the_second_time() -> None:
    network, _ = trained(smooth_images(60, 0), components=5)
    once = network(torch.rand(4, 3, 16, 16, generator=seeded()))
    torch.testing.assert_close(network(once), once, atol=1e-5, rtol=0)


@pytest.mark.parametrize("side", [32, 64, 96])
def test_has_about_as_many_numbers_as_the_autoencoder(side: int) -> None:
    budget = sum(value.numel() for value in AutoencoderNetwork().parameters())
    numbers = (pca.equal_components(3, side) + 1) * 3 * side**2
    assert numbers <= budget or pca.equal_components(3, side) == 1
    assert numbers + 3 * side**2 > budget


def test_learns_its_images_and_finds_noise_anomalous() -> None:
    network, card = trained(smooth_images(300, 0), components=20)
    unseen = autoencoder.reconstruction_error(network, smooth_images(50, 1)).mean()
    noise = autoencoder.reconstruction_error(network, torch.rand(50, 3, 16, 16)).mean()
    assert card["held_out_error_mean"] < 0.5 * card["mean_image_error"]
    assert 0.3 < unseen / card["held_out_error_mean"] < 3
    assert noise > 5 * unseen


def test_few_images_allow_few_components() -> None:
    _, card = trained(smooth_images(5, 0))
    assert card["components"] == 7
    with pytest.raises(StudyError, match="allow 1 to 7 components, not 8"):
        trained(smooth_images(5, 0), components=8)
    with pytest.raises(ValueError, match=r"components must be .* not 0"):
        trained(smooth_images(5, 0), components=0)


def test_same_generator_gives_the_same_weights() -> None:
    (first, _), (again, _) = (trained(smooth_images(40, 0), components=6) for _ in range(2))
    assert torch.equal(first.components, again.components)

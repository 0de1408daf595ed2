"""The mapping classifier: learns the generator's classes, says how well, and can be hardened against poor images."""

import pytest
import torch
from scipy.ndimage import gaussian_filter

from gradsiege.priors import mapping_classifier
from gradsiege.priors.mapping_classifier import MappingClassifier, degrade

torch.set_num_threads(1)
SMALL = MappingClassifier(width=4, epochs=4, batch_size=32)


def patterns(count: int, seed: int, contrast: float = 0.3) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy stripes: across in class 0, along in class 1, both in class 2."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    wave = torch.sin(torch.arange(16.0) * 1.6 + 6.3 * torch.rand(count, 1, generator=generator))
    across, along = wave[:, None, :].expand(-1, 16, -1), wave[:, :, None].expand(-1, -1, 16)
    choice = labels[:, None, None]
    images = torch.where(choice == 0, across, torch.where(choice == 1, along, across * along))
    noise = 0.05 * torch.randn(count, 3, 16, 16, generator=generator)
    return (0.5 + contrast * images[:, None] + noise).clamp(0, 1), labels


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_learns_classes_and_reports_top1_on_images_it_did_not_see() -> None:
    images, labels = patterns(300, 0)
    weights, card = SMALL.train(images, labels, seeded())
    assert (card["trained_on"], card["held_out"], card["classes"]) == (270, 30, 3)
    assert card["held_out_top1"] > 0.9
    assert card["held_out_top1_most_frequent"] < 0.6
    unseen, true = patterns(90, 1)
    assert (MappingClassifier.load(weights)(unseen).argmax(1) == true).float().mean() > 0.9


def test_meaningless_labels_are_reported_as_not_learned() -> None:
    images, _ = patterns(200, 0)
    labels = torch.randint(3, (200,), generator=seeded())
    _, card = SMALL.train(images, labels, seeded())
    assert card["held_out_top1"] < 0.7


def test_same_generator_gives_the_same_weights_and_card() -> None:
    images, labels = patterns(40, 0)
    prior = MappingClassifier(width=4, epochs=1, batch_size=16, noise=0.1, blur=1.0)
    first = prior.train(images, labels, seeded())
    torch.manual_seed(99)
    again = prior.train(images, labels, seeded())
    assert first[1] == again[1]
    assert all(torch.equal(first[0][name], again[0][name]) for name in first[0])


@pytest.mark.parametrize(("channels", "size"), [(1, 16), (3, 32)])
def test_shape_is_read_back_from_the_weights(channels: int, size: int) -> None:
    images = torch.rand(12, channels, size, size, generator=seeded())
    labels = torch.arange(12) % 4
    weights, _ = MappingClassifier(width=4, epochs=1).train(images, labels, seeded())
    network = MappingClassifier.load(weights)
    assert network(images).shape == (12, 4)
    assert not any(value.requires_grad for value in network.parameters())
    alone = network(images[:1])
    torch.testing.assert_close(alone, network(images)[:1])


def test_the_network_is_trained_on_degraded_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images that degradation turns black teach the same network as black images."""
    images, labels = patterns(60, 0)
    prior = MappingClassifier(width=2, epochs=2, batch_size=16)
    black, _ = prior.train(images * 0, labels, seeded())
    plain, _ = prior.train(images, labels, seeded())
    with monkeypatch.context() as patch:
        patch.setattr(mapping_classifier, "degrade", lambda batch, *how: batch * 0)
        degraded, _ = prior.train(images, labels, seeded())
    assert all(torch.equal(degraded[name], value) for name, value in black.items())
    assert not all(torch.equal(degraded[name], value) for name, value in plain.items())


def test_blur_is_gaussian_with_a_width_of_its_own_for_every_image() -> None:
    images = torch.rand(3, 2, 16, 16, generator=seeded())
    blurred = degrade(images, 0.0, 1.5, torch.Generator().manual_seed(7))
    sigmas = 1.5 * torch.rand((3, 1), generator=torch.Generator().manual_seed(7))
    assert len(sigmas.unique()) == 3
    for image, after, sigma in zip(images, blurred, sigmas, strict=True):
        for channel, blurred_channel in zip(image, after, strict=True):
            reference = gaussian_filter(
                channel.double().numpy(), float(sigma), mode="nearest", radius=5
            )
            torch.testing.assert_close(
                blurred_channel.double(), torch.from_numpy(reference), atol=1e-5, rtol=0
            )


def test_noise_has_a_deviation_of_its_own_for_every_image() -> None:
    grey = torch.full((4, 3, 32, 32), 0.5)
    noisy = degrade(grey, 0.1, 0.0, torch.Generator().manual_seed(7))
    deviations = 0.1 * torch.rand((4,), generator=torch.Generator().manual_seed(7))
    torch.testing.assert_close((noisy - 0.5).flatten(1).std(1), deviations, rtol=0.1, atol=0)
    assert torch.equal(degrade(grey, 0.0, 0.0, seeded()), grey)


def test_too_few_images_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 4"):
        SMALL.train(*patterns(3, 0), seeded())

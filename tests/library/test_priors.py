"""Priors in Python: trained in a line, handed to an attack, refused in one sentence where they do not fit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_classifiers import ATTACK, small
from torch import Tensor, nn

import gradsiege as gs
from gradsiege.errors import ModelError, ThreatModelError, UsageError


def public() -> tuple[Tensor, Tensor]:
    """Twelve images that an attacker has."""
    return torch.rand(12, 3, 16, 16, generator=torch.Generator().manual_seed(1)), torch.arange(
        12
    ) % 5


def test_a_prior_is_trained_in_a_line_and_handed_over_alone_or_in_a_list() -> None:
    images, labels = public()
    prior = gs.priors.PCA(components=3).fit(images, labels, seed=1)
    assert isinstance(prior, gs.priors.TrainedPrior)
    again = gs.priors.PCA(components=3).fit(images.double().numpy(), labels.tolist(), seed=1)
    assert torch.allclose(prior.weights["components"], again.weights["components"], atol=1e-6)
    assert prior.card["held_out"] == 1
    seen = gs.observe(small(), torch.rand(1, 3, 16, 16), torch.tensor([0]))
    attack = gs.attacks.GiPip(iterations=2)
    alone, listed = attack(seen, priors=prior), attack(seen, priors=[prior])
    assert torch.equal(alone.images, listed.images)


@pytest.mark.parametrize(
    ("attack", "priors", "message"),
    [
        (gs.attacks.GiPip(), lambda p: gs.priors.PCA(), "pca is not trained: give what PCA"),
        (gs.attacks.GiPip(), lambda p: p.weights, "dict is not a trained prior"),
        (gs.attacks.GiPip(), lambda p: [], r"priors=gradsiege.priors.Autoencoder\(\).fit\(images"),
        (gs.attacks.Ggl(), lambda p: p, "has no use for the prior pca: it uses staged_gan or"),
        (gs.attacks.Dlg(), lambda p: p, "dlg has no use for the prior pca: it uses none"),
        (gs.attacks.GiPip(), lambda p: p, r"pca does not take images of shape \[3, 20, 20\]"),
    ],
)
def test_priors_that_do_not_fit_are_one_sentence(attack: Any, priors: Any, message: str) -> None:
    trained = gs.priors.PCA(components=2).fit(*public())
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 20 * 20, 5))
    seen = gs.observe(network, torch.rand(1, 3, 20, 20), torch.tensor([0]))
    with pytest.raises((ThreatModelError, UsageError), match=message):
        attack(seen, priors=priors(trained))


@pytest.mark.parametrize(
    ("prior", "change", "message"),
    [
        (gs.priors.PCA(), lambda x, y: (x[0], y), r"pca: images have shape \[3, 16, 16\]"),
        (gs.priors.PCA(), lambda x, y: (x * 255, y), "outside \\[0, 1\\]"),
        (gs.priors.PCA(), lambda x, y: (x, y[:3]), r"labels have shape \[3\]"),
        (gs.priors.PCA(), lambda x, y: (x, None), "labels is NoneType"),
        (gs.priors.PCA(), lambda x, y: (x[:1], y[:1]), "1 images are too few, at least 2"),
        (gs.priors.PCA(fraction=0.1), lambda x, y: (x, y), "1 images are too few"),
        (gs.priors.StagedGAN(), lambda x, y: (x[..., :15], y), "staged_gan needs"),
    ],
)
def test_images_that_a_prior_cannot_learn_from_are_one_sentence(
    prior: Any, change: Any, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        prior.fit(*change(*public()))


def test_attacks_with_priors_are_evaluated_and_simulate_their_own_clients() -> None:
    known = public()
    priors = [
        gs.priors.PCA(components=2).fit(*known),
        gs.priors.AuxiliaryImages().fit(*known),
        gs.priors.StagedGAN(latent=4, width=4, discriminator_width=4, steps=1, batch_size=4).fit(
            *known
        ),
    ]
    attacks = [
        gs.attacks.GiPip(iterations=1),
        gs.attacks.Gias(iterations=2),
        gs.attacks.Ggl(iterations=1, population=4),
        gs.attacks.Gifd(iterations=4),
        gs.attacks.LearnedInversion(iterations=2, updates=6),
        ATTACK,
    ]
    image, label = torch.rand(1, 3, 16, 16), torch.tensor([0])
    defenses, informed = [None, gs.defenses.Gaussian()], gs.ThreatModel(disclosure=True)
    more = {"knows": informed, "adaptive": False, "device": "cpu"}
    rows = gs.evaluate(small(), image, label, defenses, attacks, priors=priors, **more)
    assert rows.reason.tolist() == [""] * 12
    assert rows.psnr.notna().all()
    with pytest.raises(UsageError, match="no attack uses the prior pca"):
        gs.evaluate(small(), image, label, defenses, [ATTACK], priors=priors[0])


@pytest.mark.parametrize(
    "prior",
    [
        gs.priors.ShadowGenerator(),
        gs.priors.StagedGAN(),
        gs.priors.Denoiser(),
        gs.priors.BigGAN(),
        gs.priors.StyleGAN2(),
    ],
    ids=lambda prior: prior.name,
)
def test_priors_of_square_images_refuse_others_before_the_training(prior: Any) -> None:
    images, labels = torch.rand(20, 3, 16, 24), torch.arange(20) % 3
    with pytest.raises(ModelError, match=f"{prior.name}: images have 16 x 24 pixels.*square"):
        prior.fit(images, labels)


def test_both_sides_of_an_image_must_fit_a_prior() -> None:
    images, labels = torch.rand(20, 3, 12, 16), torch.arange(20) % 3
    with pytest.raises(ModelError, match="multiple of 8, not 12 px"):
        gs.priors.Autoencoder().fit(images, labels)


@pytest.mark.parametrize("side", [(16, 24), (17, 17), (4, 4)])
def test_the_deep_image_prior_refuses_images_that_its_network_cannot_make(
    side: tuple[int, int],
) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * side[0] * side[1], 5))
    seen = gs.observe(network, torch.rand(1, 3, *side), [0])
    message = f"deep_image_prior: images have {side[0]} x {side[1]} pixels.*InvertingGradients"
    with pytest.raises(ModelError, match=message):
        gs.attacks.DeepImagePrior(iterations=1)(seen)
    assert gs.attacks.InvertingGradients(iterations=1)(seen).images.shape == (1, 3, *side)

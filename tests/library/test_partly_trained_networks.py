"""Networks that are frozen in part, of float64, tied, or without convolutions: what defenses and counters do with them.

Defenses that bring a network of their own are in `test_defenses_with_networks`.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_classifiers import ATTACK
from torch import Tensor, nn

import gradsiege as gs
from gradsiege.errors import GradSiegeError, ModelError, StudyError

IMAGES = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
D = gs.defenses
# Clipping leaves the gradient alone, so that only noise differs.
NOISING = {"clip": 1e6}


def convolutional(*frozen: str, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Two convolutions and a linear head, some parameters frozen."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2), nn.Sigmoid(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(100, 5)
    ).to(dtype)
    for name in frozen:
        model.get_parameter(name).requires_grad_(False)
    return model


class Tied(nn.Module):
    """Two convolutions that share one weight."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3)
        self.second.weight = self.first.weight
        self.head = nn.Linear(3 * 12 * 12, 5)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.second(torch.sigmoid(self.first(x)))
        logits: Tensor = self.head(hidden.flatten(1))
        return logits


def noise_of(model: nn.Module, defense: Any) -> dict[str, Tensor]:
    """Return the noise that a defense adds to the update."""
    images = IMAGES.to(next(model.parameters()))
    clean = gs.observe(model, images, [3]).update
    noised = gs.observe(model, images, [3], defense=defense).update
    return {name: noised[name] - value for name, value in clean.items()}


@pytest.mark.parametrize("defense", [D.Tip(**NOISING), D.Agp(**NOISING)])
def test_only_convolutions_that_clients_train_are_noised(defense: Any) -> None:
    noise = noise_of(convolutional("0.weight"), defense)
    assert "body.0.weight" not in noise
    assert {name for name, value in noise.items() if value.any()} == {"body.2.weight"}


@pytest.mark.parametrize("defense", [D.Tip(**NOISING), D.Agp(**NOISING)])
def test_float64_networks_get_the_noise_of_float32_ones(defense: Any) -> None:
    single = noise_of(convolutional(), defense)
    double = noise_of(convolutional(dtype=torch.float64), defense)
    assert single["body.2.weight"].any()
    for name, value in double.items():
        assert value.dtype == torch.float64
        torch.testing.assert_close(value.float(), single[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("defense", [D.Tip(**NOISING), D.Agp(**NOISING)])
def test_a_tied_weight_is_noised_once(defense: Any) -> None:
    noise = noise_of(Tied(), defense)
    assert {name for name, value in noise.items() if value.any()} == {"body.first.weight"}


MLP = nn.Sequential(nn.Flatten(), nn.Linear(768, 5))
OBLONG = nn.Sequential(nn.Conv2d(3, 2, (1, 3)), nn.Flatten(), nn.Linear(2 * 16 * 14, 5))
REFUSED: list[tuple[nn.Module, Any, type[GradSiegeError], str]] = [
    (MLP, D.Tip(), ModelError, "tip noises .* Sequential has none; choose a network with"),
    (MLP, D.Agp(), ModelError, "agp noises .* Sequential has none; choose a network with"),
    (OBLONG, D.Tip(), ModelError, "square kernels, and those of '0.weight' are 1 x 3"),
    (
        convolutional("0.weight", "2.weight"),
        D.Tip(),
        ModelError,
        "clients train none of them .the first is '0.weight'.; set requires_grad",
    ),
    (
        convolutional("4.weight"),
        D.Soteria(),
        StudyError,
        "soteria reads the update of '4.weight', which is not in the update here: train",
    ),
]


@pytest.mark.parametrize(("model", "defense", "error", "message"), REFUSED)
def test_a_defense_without_its_tensor_says_which(
    model: nn.Module, defense: Any, error: type[GradSiegeError], message: str
) -> None:
    with pytest.raises(error, match=message):
        gs.observe(model, IMAGES, [3], defense=defense)


def reasons_of(labels: Any, *frozen: str) -> dict[str, str]:
    """Why each counter fails on a network frozen in part; empty if it does not."""
    defenses = [D.Gaussian(), D.Laplace(), D.TipDp(), D.Censor()]
    knows = gs.ThreatModel(labels=labels, disclosure=True)
    rows = gs.evaluate(convolutional(*frozen), IMAGES, [3], defenses, [ATTACK], knows=knows)
    return {
        counter: reason
        for counter, reason in zip(rows.counter, rows.reason, strict=True)
        if counter and counter != "censor.null_space"
    }


def test_counters_of_a_frozen_bias_need_it_only_for_labels() -> None:
    assert not any(reasons_of("given", "4.bias").values())
    reasons = {name: reason for name, reason in reasons_of("inferred", "4.bias").items() if reason}
    assert set(reasons) == {"censor.norms_and_orthogonality", "censor.likelihood"}
    assert all(
        "censor.norms_and_orthogonality reads the update of '4.bias'" in reason
        for reason in reasons.values()
    )


def test_counters_of_a_frozen_head_give_reasons_in_sentences() -> None:
    reasons = reasons_of("given", "4.weight", "4.bias")
    refused = {name for name, reason in reasons.items() if reason}
    assert refused == {
        "gaussian.estimated_likelihood",
        "laplace.estimated_likelihood",
        "tip_dp.likelihood",
    }
    assert all("reads the update of '4.weight'" in reasons[name] for name in refused)


def test_labels_are_read_off_the_weight_of_a_head_whose_bias_is_frozen() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.Sigmoid(), nn.Flatten(), nn.Linear(196, 5))
    model[3].bias.requires_grad_(False)
    assert ATTACK(gs.observe(model, IMAGES, [3])).labels.tolist() == [3]


def test_a_counter_without_channels_to_compare_says_so() -> None:
    first = [value[0] for value in gs.observe(MLP, IMAGES, [3]).update.values()]
    observed = gs.Observation.of(MLP, first, (3, 16, 16), disclosure=D.Agp().disclosure())
    attack = gs.attacks.InvertingGradients(iterations=1, counter="agp.drop_flagged_channels")
    with pytest.raises(GradSiegeError, match="compares the channels of convolutions"):
        attack(observed, knows=gs.ThreatModel(disclosure=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_another_default_type_is_refused_in_a_sentence(dtype: torch.dtype) -> None:
    model = convolutional(dtype=dtype)
    torch.set_default_dtype(torch.float64)
    try:
        with pytest.raises(ModelError, match=r"call torch.set_default_dtype\(torch.float32\)"):
            gs.observe(model, IMAGES, [3])
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_clients_are_simulated_in_the_type_of_the_network(dtype: torch.dtype) -> None:
    public = torch.rand(12, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    prior = gs.priors.AuxiliaryImages().fit(public, torch.arange(12) % 5)
    knows = gs.ThreatModel(labels="given", disclosure=True)
    attack = gs.attacks.LearnedInversion(updates=40)
    model = convolutional(dtype=dtype)
    rows = gs.evaluate(model, IMAGES, [3], attacks=[attack], priors=prior, knows=knows)
    assert rows.reason.tolist() == [""]

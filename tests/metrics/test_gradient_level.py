"""Cosines by channel against flat ones, the AUC against scikit-learn, and TIP's planted channels on a ResNet-18."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.metrics import roc_auc_score

from gradsiege.attacks.counters.plan import kept_channels
from gradsiege.attacks.counters.tip import channel_norms, flagged
from gradsiege.federated.diagnostics import products
from gradsiege.metrics.gradient_level import area_under_roc, cosine, gradient_level
from gradsiege.protocol.local_update import Tensors


def updates() -> tuple[Tensors, Tensors]:
    generator = torch.Generator().manual_seed(0)
    true = {
        "conv.weight": torch.randn(8, 3, 3, 3, generator=generator, dtype=torch.float64),
        "head.bias": torch.randn(5, generator=generator, dtype=torch.float64),
    }
    received = {name: value.clone() for name, value in true.items()}
    noise = torch.randn(2, 3, 3, 3, generator=generator, dtype=torch.float64)
    received["conv.weight"][[1, 6]] += 40 * (noise - noise.mean((-2, -1), keepdim=True))
    return true, received


def flat(update: Tensors) -> torch.Tensor:
    return torch.cat([value.flatten() for value in update.values()])


def test_cosines_are_those_of_the_whole_tensors() -> None:
    true, received = updates()
    held = {n.removeprefix("products."): v for n, v in products(true, received).items()}
    whole, energy = cosine(held, {})
    assert whole == pytest.approx(
        float(torch.cosine_similarity(flat(true), flat(received), 0)), abs=1e-6
    )
    assert energy == 1
    kept = torch.ones(8, dtype=torch.bool)
    kept[[1, 2, 6]] = False
    left, energy = cosine(held, {"conv.weight": kept})
    share = {**true, "conv.weight": true["conv.weight"][kept]}
    assert left == pytest.approx(1.0)
    assert energy == pytest.approx(float(flat(share).square().sum() / flat(true).square().sum()))


def test_the_area_is_that_of_an_independent_library() -> None:
    generator = torch.Generator().manual_seed(1)
    scores = torch.randint(0, 5, (40,), generator=generator).float()
    positive = torch.rand(40, generator=generator) < 0.3
    assert area_under_roc(scores, positive) == pytest.approx(roc_auc_score(positive, scores))
    assert math.isnan(area_under_roc(scores, torch.zeros(40, dtype=torch.bool)))


def test_dropping_planted_channels_brings_the_cosine_back() -> None:
    true, received = updates()
    flags = flagged(channel_norms(received["conv.weight"]), 2, 1)
    assert flags.nonzero().flatten().tolist() == [1, 6]
    matched = dict(received)
    matched["conv.weight"] = received["conv.weight"].masked_fill(flags[:, None, None, None], 0)
    stacked = ({name: value[None] for name, value in one.items()} for one in (received, matched))
    kept = kept_channels(*stacked)
    change = (received["conv.weight"] - true["conv.weight"]).flatten(1).norm(dim=1)
    explained = products(true, received) | {"change.conv": change}
    found = gradient_level({n: v[None] for n, v in explained.items()}, kept, victims=2, images=1)
    assert found["cosine_received"][0] < 0.3
    assert found["cosine_matched"][0] == pytest.approx(1.0)
    assert found["energy_kept"][0] < 1
    assert found["detection_auc"][0] == 1
    # The second victim was not explained.
    assert all(math.isnan(values[1]) for values in found.values())

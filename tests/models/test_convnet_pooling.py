"""The convnet's head: every feature, or the mean of each channel; kept cells stay."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

import gradsiege as gs
from gradsiege.attacks.recipes.inverting_gradients import InvertingGradients
from gradsiege.errors import StudyError
from gradsiege.models import ModelSpec, build
from gradsiege.models.head import head_of
from gradsiege.pipeline.cells import cells, digest, settings
from gradsiege.protocol.local_update import split_state
from gradsiege.study import parse


def network(pooling: str | None = None, width: int = 4, size: int = 16) -> torch.nn.Module:
    parameters: dict[str, Any] = {"width": width} | ({"pooling": pooling} if pooling else {})
    spec = ModelSpec("convnet", parameters, 7, 3, size)
    return build(spec, torch.Generator().manual_seed(3))


@pytest.mark.parametrize("size", [16, 18, 32])
def test_the_head_sees_the_mean_of_every_channel(size: int) -> None:
    pooled = network("global_average", size=size)
    images = torch.rand(5, 3, size, size)
    body = pooled.body
    assert body.head.weight.shape == (7, 16)
    features = body.features(pooled.normalisation(images))
    expected = F.linear(
        F.adaptive_avg_pool2d(features, 1).flatten(1), body.head.weight, body.head.bias
    )
    torch.testing.assert_close(pooled(images), expected)


def test_by_default_every_feature_is_seen_and_nothing_has_changed() -> None:
    default, flat = network(), network("flatten")
    assert default.body.head.weight.shape == (7, 16 * 16)
    assert all(
        torch.equal(value, flat.state_dict()[name]) for name, value in default.state_dict().items()
    )
    # The convolutions start alike, whatever the head.
    pooled = network("global_average").state_dict()
    first = "body.features.0.weight"
    assert pooled[first].equal(default.state_dict()[first])


def test_the_head_is_found_and_the_attack_works_on_it() -> None:
    pooled = network("global_average")
    parameters, buffers = split_state(pooled)
    spec = ModelSpec("convnet", {"width": 4, "pooling": "global_average"}, 7, 3, 16)
    head = head_of(spec, {**parameters, **buffers})
    assert parameters[head.weight].shape == (7, 16)
    images, labels = torch.rand(3, 3, 16, 16), torch.tensor([1, 4, 6])
    seen = gs.observe(pooled, images, labels)
    found = {
        engine: InvertingGradients(iterations=3)(seen, engine=engine)
        for engine in ("loop", "factored", "vmap")
    }
    assert found["loop"].labels.flatten().tolist() == [1, 4, 6]
    for result in found.values():
        torch.testing.assert_close(result.images, found["loop"].images, atol=1e-3, rtol=0)


def test_no_kept_cell_moves_and_a_pooled_one_is_another(tiny_raw: dict[str, Any]) -> None:
    digests = []
    for parameters in ({}, {"pooling": "flatten"}, {"pooling": "global_average"}):
        tiny_raw["models"] = [{"name": "convnet", "parameters": {"width": 4, **parameters}}]
        study = parse(tiny_raw)
        cell = cells(study)["federate"][0]
        digests.append(digest(cell, study))
        written = settings(cell, study)["model"]["parameters"]
        assert ("pooling" in written) == (parameters.get("pooling") == "global_average")
    assert digests[0] == digests[1] != digests[2]


def test_another_pooling_is_refused(tiny_raw: dict[str, Any]) -> None:
    tiny_raw["models"] = [{"name": "convnet", "parameters": {"pooling": "max"}}]
    with pytest.raises(StudyError, match="one of flatten, global_average, not 'max'"):
        parse(tiny_raw)

"""A defense of the user's own: its outputs are checked, and it cannot spoil the observed model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from small_classifiers import small
from torch import Tensor

import gradsiege as gs
from gradsiege.defenses.base import Defense
from gradsiege.errors import ModelError
from gradsiege.protocol.local_update import Tensors


@dataclass(frozen=True)
class Returning(Defense):
    """Makes of an update what `make` makes of it, and spoils the global model in passing."""

    make: Any = None

    def __post_init__(self) -> None:
        """Take any function."""

    def transform_update(self, update: Tensors, client: Any) -> Any:
        for value in client.parameters.values():
            value.zero_()
        return self.make(update)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda update: None, "transform_update returns NoneType"),
        (lambda update: list(update.values()), "returns list"),
        (lambda update: dict(list(update.items())[1:]), "returns no 'body.0.weight'"),
        (
            lambda update: {**update, "more": torch.ones(1)},
            "returns 'more', which it was not given",
        ),
        (
            lambda update: {**update, "body.3.bias": torch.ones(4)},
            "returns \\[4\\] for 'body.3.bias'; return a tensor of shape \\[5\\]",
        ),
        (lambda update: {**update, "body.3.bias": 0.0}, "returns float for 'body.3.bias'"),
    ],
)
def test_an_output_of_a_defense_that_does_not_fit_is_one_sentence(make: Any, message: str) -> None:
    with pytest.raises(ModelError, match=f"Returning.*{message}"):
        gs.observe(small(), torch.rand(1, 3, 16, 16), torch.tensor([1]), Returning(make))


def test_a_batch_of_a_defense_that_does_not_fit_is_one_sentence() -> None:
    class Fewer(Defense):
        def transform_batch(self, images: Tensor, labels: Tensor, step: Any, client: Any) -> Any:
            return images, labels[1:]

    with pytest.raises(ModelError, match=r"Fewer\.transform_batch .* two tensors of equal length"):
        gs.observe(small(), torch.rand(1, 3, 16, 16), torch.tensor([1]), Fewer())


def test_a_defense_that_writes_into_its_copy_of_the_model_leaves_the_observed_one() -> None:
    network = small()
    defense = Returning(lambda update: update)
    seen = gs.observe(network, torch.rand(2, 3, 16, 16), torch.tensor([1, 2]), defense)
    for name, value in network.named_parameters():
        assert torch.equal(seen.parameters[f"body.{name}"], value)

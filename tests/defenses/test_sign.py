"""Sign keeps one bit per coordinate and one length per tensor."""

from collections.abc import Callable

import torch

from gradsiege import defenses
from gradsiege.defenses.base import Client


def test_signs_are_scaled_by_the_mean_magnitude_of_their_tensor(
    bystander: Callable[[int], Client],
) -> None:
    update = {"a": torch.tensor([[1.0, -3.0], [0.0, 4.0]]), "b": torch.tensor([-0.5])}
    signs = defenses.build("sign", {}).transform_update(update, bystander(0))
    assert signs["a"].tolist() == [[2, -2], [0, 2]]
    assert signs["b"].tolist() == [-0.5]


def test_plain_signs_are_those_of_signsgd(bystander: Callable[[int], Client]) -> None:
    update = {"a": torch.tensor([0.01, -300.0, 0.0])}
    signs = defenses.build("sign", {"scale": "one"}).transform_update(update, bystander(0))
    assert signs["a"].tolist() == [1, -1, 0]


def test_no_multiple_of_the_signs_is_closer_to_the_update(
    bystander: Callable[[int], Client],
) -> None:
    """The mean magnitude is the least-squares scale."""
    update = {"a": torch.randn(500, generator=torch.Generator().manual_seed(0))}
    scaled = defenses.build("sign", {}).transform_update(update, bystander(0))["a"]
    errors = [float((update["a"] - factor * scaled).norm()) for factor in (0.99, 1.0, 1.01)]
    assert errors[1] < min(errors[0], errors[2])

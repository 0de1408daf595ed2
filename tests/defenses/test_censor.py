"""CENSOR: the faithful arm is orthogonal to the update and picks by loss; the released one is and does not always."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gradsiege import defenses
from gradsiege.defenses.base import Client
from gradsiege.defenses.censor import orthogonal, released
from gradsiege.federated.client import run_client
from gradsiege.protocol.local_update import Tensors, apply_update, loss


def cosine(left: torch.Tensor, right: torch.Tensor) -> float:
    a, b = left.flatten().double(), right.flatten().double()
    return float(a @ b / (a.norm() * b.norm()))


def pair(seed: int, size: int, length: float) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    value = torch.randn(size, generator=generator)
    return value / value.norm() * length, torch.randn(size, generator=generator)


@settings(max_examples=60)
@given(st.integers(0, 999), st.integers(2, 60), st.floats(1e-4, 1e3))
def test_faithful_directions_are_orthogonal_and_as_long_as_the_gradient(
    seed: int, size: int, length: float
) -> None:
    value, direction = pair(seed, size, length)
    found = orthogonal(value, direction)
    assert abs(cosine(found, value)) < 1e-6
    assert float(found.norm()) == pytest.approx(float(value.norm()), rel=1e-5)


def test_a_direction_that_is_orthogonal_already_is_only_rescaled() -> None:
    found = orthogonal(torch.tensor([0.0, 5.0, 0.0]), torch.tensor([2.0, 0.0, 0.0]))
    assert found.tolist() == [5, 0, 0]


def test_zeros_and_single_coordinates_have_no_orthogonal_direction() -> None:
    assert torch.equal(orthogonal(torch.zeros(4), torch.ones(4)), torch.zeros(4))
    assert torch.equal(orthogonal(torch.tensor([3.0]), torch.tensor([0.7])), torch.zeros(1))


@pytest.mark.parametrize("length", [0.2, 1.0, 4.0])
def test_released_directions_are_orthogonal_to_unit_gradients_alone(length: float) -> None:
    value, direction = pair(7, 30, length)
    found = released(value, direction)
    assert float(found.norm()) == pytest.approx(length, rel=1e-5)
    # By hand: u = p g^ + q, so u - (u.g / |g|) g = p (1 - |g|) g^ + q with |q|^2 = 1 - p^2.
    p = cosine(direction, value)
    along = p * (1 - length)
    assert cosine(found, value) == pytest.approx(along / (along**2 + 1 - p**2) ** 0.5, abs=1e-6)
    assert (abs(cosine(found, value)) < 1e-6) == (length == 1.0)


def updates(
    party: Callable[..., Client], arm: str, trials: int, seed: int = 0
) -> tuple[Client, Tensors, Tensors]:
    clean, _ = run_client(party(), defenses.build("none", {}))
    defense = defenses.build("censor", {"trials": trials}, arm)
    defended, _ = run_client(party(seed=seed), defense)
    return party(), clean, defended


def loss_after(client: Client, update: Tensors, step: float = 1e-4) -> float:
    model = client.model.double()
    parameters = {name: value.double() for name, value in client.parameters.items()}
    buffers = {name: value.double() for name, value in client.buffers.items()}
    moved = apply_update(parameters, update, step)
    return float(loss(model, moved, buffers, client.images.double(), client.labels)[0])


def test_every_faithful_tensor_is_orthogonal_to_the_true_one(party: Callable[..., Client]) -> None:
    _, clean, defended = updates(party, "faithful", 20)
    for name, value in clean.items():
        assert abs(cosine(defended[name], value)) < 1e-6, name
        assert float(defended[name].norm()) == pytest.approx(float(value.norm()), rel=1e-5)


def test_the_upload_is_the_candidate_of_least_loss(party: Callable[..., Client]) -> None:
    generator = torch.Generator().manual_seed(3)
    client, clean, defended = updates(party, "faithful", 6, seed=3)
    losses = []
    for _ in range(6):
        candidate = {
            name: orthogonal(value, torch.randn(value.shape, generator=generator))
            for name, value in clean.items()
        }
        losses.append(loss_after(client, candidate))
        assert (losses[-1] == loss_after(client, defended)) == all(
            torch.equal(candidate[name], defended[name]) for name in clean
        )
    assert loss_after(client, defended) == min(losses)
    assert len(set(losses)) == 6, "the differences are resolved"


def test_the_release_uploads_the_true_update_if_no_sample_lowers_the_loss(
    party: Callable[..., Client],
) -> None:
    client, clean, _ = updates(party, "as_released", 1)
    before = loss_after(client, clean, step=0.0)
    outcomes = []
    for seed in range(12):
        _, _, defended = updates(party, "as_released", 1, seed)
        true = all(torch.equal(defended[name], clean[name]) for name in clean)
        outcomes.append(true)
        assert true or loss_after(client, defended) < before
    assert True in outcomes
    assert False in outcomes
    for seed in range(3):
        _, _, faithful = updates(party, "faithful", 1, seed)
        assert not any(torch.equal(faithful[name], clean[name]) for name in clean)


def test_the_release_defends_the_first_ten_rounds_and_the_faithful_arm_all(
    party: Callable[..., Client],
) -> None:
    clean, _ = run_client(party(), defenses.build("none", {}))
    name = "body.head.weight"
    for arm, later in (("as_released", True), ("faithful", False)):
        defense = defenses.build("censor", {"trials": 20}, arm)
        for number, undefended in ((9, False), (10, later)):
            found, _ = run_client(replace(party(), round=number), defense)
            assert torch.equal(found[name], clean[name]) == undefended, (arm, number)
    assert defenses.build("censor", {}, "as_released").disclosure()["rounds"] == 10


def test_the_released_choice_prefers_what_is_left_of_the_gradient(
    party: Callable[..., Client],
) -> None:
    _, clean, defended = updates(party, "as_released", 20)
    inner = sum(float((defended[name] * clean[name]).sum()) for name in clean)
    assert inner > 0


def test_no_trial_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match=r"trials must be a whole number from 1 to .*, not 0"):
        defenses.build("censor", {"trials": 0})

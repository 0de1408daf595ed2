"""DP-SGD against a loop, against Opacus, and against the exact curve of the Gaussian mechanism."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from scipy import optimize, stats

from gradsiege import defenses
from gradsiege.defenses.base import Client
from gradsiege.defenses.dp_sgd import epsilon, per_sample_gradients
from gradsiege.errors import StudyError
from gradsiege.federated.client import run_client
from gradsiege.models import ModelSpec
from gradsiege.protocol.local_update import Step, Tensors, gradient, norm

CONVNET = ModelSpec("convnet", {"width": 4}, 5, 3, 16)
LENET = ModelSpec("lenet", {"channels": 4, "initial_range": 0.5}, 5, 3, 16)


def private_update(client: Client, **parameters: float) -> Tensors:
    return run_client(client, defenses.build("dp_sgd", parameters))[0]


def step_of(client: Client) -> Step:
    return Step(client.model, client.parameters, client.buffers, client.images, client.labels)


def in_a_loop(client: Client) -> list[Tensors]:
    return [
        gradient(client.model, client.parameters, client.buffers, image[None], label[None])[0]
        for image, label in zip(client.images, client.labels, strict=True)
    ]


@pytest.mark.parametrize("spec", [LENET, CONVNET])
def test_per_sample_gradients_equal_those_of_a_loop(
    party: Callable[..., Client], spec: ModelSpec
) -> None:
    client = party(spec=spec)
    found = per_sample_gradients(step_of(client), client.images, client.labels)
    for index, expected in enumerate(in_a_loop(client)):
        for name, value in expected.items():
            torch.testing.assert_close(found[name][index], value, rtol=1e-4, atol=1e-6)


def test_per_sample_gradients_equal_those_of_opacus(party: Callable[..., Client]) -> None:
    from opacus.grad_sample import GradSampleModule

    client = party()
    found = per_sample_gradients(step_of(client), client.images, client.labels)
    wrapped = GradSampleModule(client.model, loss_reduction="sum")
    logits = wrapped.train()(client.images)
    torch.nn.functional.cross_entropy(logits, client.labels, reduction="sum").backward()
    for name, parameter in client.model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad_sample, rtol=1e-4, atol=1e-6)


def test_without_noise_it_is_the_mean_of_the_clipped_gradients(
    party: Callable[..., Client],
) -> None:
    client = party()
    alone = in_a_loop(client)
    lengths = sorted(float(norm(one)) for one in alone)
    bound = (lengths[1] + lengths[2]) / 2  # two images are clipped, two are not
    expected = {
        name: torch.stack([one[name] * min(1, bound / float(norm(one))) for one in alone]).mean(0)
        for name in client.parameters
    }
    found = private_update(party(), bound=bound, noise_multiplier=0.0)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)
    unclipped = private_update(party(), bound=1e6, noise_multiplier=0.0)
    clean, _ = run_client(party(), defenses.build("none", {}))
    for name, value in clean.items():
        torch.testing.assert_close(unclipped[name], value, rtol=1e-4, atol=1e-6)


def test_more_images_than_are_held_at_once_give_the_same_sum(
    party: Callable[..., Client],
) -> None:
    client = party()
    many = replace(
        client,
        images=client.images.repeat(5, 1, 1, 1),
        labels=client.labels.repeat(5),
        training=replace(client.training, images=20, batch_size=20),
    )
    once = private_update(client, noise_multiplier=0.0)
    repeated = private_update(many, noise_multiplier=0.0)
    for name, value in once.items():
        torch.testing.assert_close(repeated[name], value, rtol=1e-4, atol=1e-6)


def test_the_noise_has_deviation_sigma_c_over_n(party: Callable[..., Client]) -> None:
    clipped = private_update(party(), bound=0.5, noise_multiplier=0.0)
    noisy = private_update(party(), bound=0.5, noise_multiplier=3.0)
    noise = torch.cat([(noisy[name] - clipped[name]).flatten() for name in clipped])
    expected = 3.0 * 0.5 / 4
    assert abs(float(noise.std()) / expected - 1) < 4 / math.sqrt(2 * len(noise))
    assert abs(float(noise.mean())) < 4 * expected / math.sqrt(len(noise))


def test_one_image_moves_the_sum_by_no_more_than_the_bound(party: Callable[..., Client]) -> None:
    client, bound = party(), 0.3
    fewer = replace(
        client,
        images=client.images[:3],
        labels=client.labels[:3],
        training=replace(client.training, images=3, batch_size=3),
    )
    whole = private_update(client, bound=bound, noise_multiplier=0.0)
    part = private_update(fewer, bound=bound, noise_multiplier=0.0)
    difference = {name: 4 * whole[name] - 3 * part[name] for name in whole}
    assert float(norm(difference)) <= bound * (1 + 1e-5)


def test_batch_norm_in_train_mode_is_refused_by_name(party: Callable[..., Client]) -> None:
    with pytest.raises(StudyError, match=r"'body\.features\.1' is in train mode.*lenet, vit_small"):
        private_update(party(spec=CONVNET, mode="train"))
    private_update(party(spec=CONVNET, mode="eval"))
    private_update(party(mode="train"))


def exact_epsilon(sigma: float, delta: float) -> float:
    """Epsilon of one Gaussian mechanism (Balle and Wang, ICML 2018, theorem 8), solved for."""

    def excess(value: float) -> float:
        left = stats.norm.cdf(0.5 / sigma - value * sigma)
        return float(left - math.exp(value) * stats.norm.cdf(-0.5 / sigma - value * sigma) - delta)

    return float(optimize.brentq(excess, 0, 60))


@pytest.mark.parametrize("sigma", [0.7, 1.0, 3.0])
def test_one_full_batch_costs_the_epsilon_of_the_gaussian_mechanism(sigma: float) -> None:
    exact = exact_epsilon(sigma, 1e-5)
    assert exact <= epsilon(sigma, 1.0, 1, 1e-5) <= 1.15 * exact
    assert epsilon(sigma, 1.0, 1, 1e-5, "prv") == pytest.approx(exact, abs=0.05)


def test_the_account_is_that_of_opacus() -> None:
    from opacus.accountants import RDPAccountant

    theirs = RDPAccountant()
    for _ in range(300):
        theirs.step(noise_multiplier=1.1, sample_rate=0.02)
    ours = epsilon(1.1, 0.02, 300, 1e-5)
    # More orders can only tighten the bound.
    assert 0.97 * theirs.get_epsilon(1e-5) < ours <= theirs.get_epsilon(1e-5)
    assert epsilon(1.1, 0.02, 300, 1e-5, "prv") < ours


def test_disclosure_states_the_epsilon_of_one_step_or_that_there_is_none() -> None:
    stated = defenses.build("dp_sgd", {"noise_multiplier": 2.0}).disclosure()
    assert stated["epsilon_of_one_step"] == epsilon(2.0, 1.0, 1, 1e-5)
    control = defenses.build("dp_sgd", {"noise_multiplier": 0.0}).disclosure()
    assert control["epsilon_of_one_step"] is None
    assert epsilon(0.0, 1.0, 1, 1e-5) == math.inf

"""The shadow's five-term loss: what it vanishes on, and that a few steps lower it."""

from dataclasses import replace

import pytest
import torch
from shadow_party import generator_weights, make_client

from gradsiege.defenses import shadow as shadow_module
from gradsiege.defenses.shadow import loss as shadow_loss
from gradsiege.priors.shadow_generator import ShadowGenerator
from gradsiege.protocol.local_update import Tensors, gradient

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def weights() -> Tensors:
    return generator_weights()


def make_target(mode: str = "eval") -> shadow_loss.Target:
    client = make_client()
    client.model.train(mode == "train")
    found, after = gradient(
        client.model, client.parameters, client.buffers, client.images, client.labels
    )
    return shadow_loss.Target(
        model=client.model.eval(),
        parameters=client.parameters,
        buffers=client.buffers,
        gradient=found,
        statistics=shadow_loss.latest_statistics(client.model, client.buffers, after),
        images=shadow_loss.normalise(client.images, client.buffers),
        labels=client.labels,
    )


def test_the_true_batch_has_no_gradient_statistics_or_error_term() -> None:
    target = make_target()
    _, statistics = shadow_loss.forward_with_statistics(
        target.model, {**target.parameters, **target.buffers}, make_client().images
    )
    terms = shadow_loss.five_terms(make_client().images, replace(target, statistics=statistics))
    assert terms["gradient"].item() == pytest.approx(0, abs=1e-4)
    assert terms["statistics"].item() == pytest.approx(0, abs=1e-5)
    assert terms["error"].item() == 0
    assert terms["variation"] > 0
    assert terms["norm"] > 0


def test_statistics_of_one_training_step_are_recovered_exactly() -> None:
    target = make_target("train")
    normalised = shadow_loss.normalise(make_client().images, target.buffers)
    features = torch.nn.functional.conv2d(
        normalised,
        target.parameters["body.features.0.weight"],
        target.parameters["body.features.0.bias"],
        padding=1,
    )
    mean, variance = target.statistics["body.features.1"]
    assert torch.allclose(mean, features.mean((0, 2, 3)), atol=1e-5)
    assert torch.allclose(variance, features.var((0, 2, 3)), atol=1e-4)


def test_shadow_steps_lower_the_loss_and_leave_the_old_weights(weights: Tensors) -> None:
    target, latents = make_target("train"), torch.zeros(4, 8)
    generator = ShadowGenerator.load(weights)
    before = {name: value.clone() for name, value in weights.items()}
    coefficients = shadow_module.COEFFICIENTS

    def loss(values: Tensors) -> float:
        fake = torch.func.functional_call(generator, values, (latents,))
        terms = shadow_loss.five_terms(fake, target)
        return sum(coefficients[name] * term.item() for name, term in terms.items())

    new = shadow_loss.update_generator(generator, weights, latents, target, coefficients, 5, 1e-2)
    assert loss(new) < 0.99 * loss(weights)
    assert all(torch.equal(weights[name], value) for name, value in before.items())
    assert not any(value.requires_grad for value in new.values())

"""Opacus: what an engine was asked for is read off, and the simulated upload is that of a real private step."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.utils.data import DataLoader, TensorDataset

import gradsiege as gs
from gradsiege.errors import UsageError
from gradsiege.integrations.opacus import PrivateTraining, private_training

pytest.importorskip("opacus", reason="Opacus is not installed")

from opacus import PrivacyEngine
from opacus.optimizers import DistributedDPOptimizer, FSDPOptimizerFastGradientClipping
from opacus.utils.adaptive_clipping.adaptive_clipping_utils import PrivacyEngineAdaptiveClipping

RATE, COUNT, BATCH = 0.1, 12, 4
ADAPTIVE = {
    "target_unclipped_quantile": 0.5,
    "clipbound_learning_rate": 0.2,
    "max_clipbound": 1.0,
    "min_clipbound": 1e-3,
}


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.Sigmoid(), nn.Flatten(), nn.Linear(144, 5)
    )


def pictures() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(COUNT, 1, 8, 8, generator=generator), torch.arange(COUNT) % 5


def made(
    noise: float = 0.8,
    bound: Any = 0.05,
    optimizer: Callable[..., Any] = torch.optim.SGD,
    batch: int = BATCH,
    **options: Any,
) -> tuple[Any, Any, Any, PrivacyEngine]:
    """Return the network, optimiser and loader that an engine makes, and the engine."""
    settings = {"clipping": "flat", "poisson_sampling": True, "loss_reduction": "mean"} | options
    of_optimizer = {"lr": RATE} | settings.pop("optimizer_options", {})
    net = network().train()
    engine = PrivacyEngine()
    loader = DataLoader(TensorDataset(*pictures()), batch_size=batch)
    private = engine.make_private(
        module=net,
        optimizer=optimizer(net.parameters(), **of_optimizer),
        data_loader=loader,
        noise_multiplier=noise,
        max_grad_norm=bound,
        **settings,
    )
    return *private, engine


def stepped(model: Any, optimizer: Any, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """(theta_t - theta_local) / learning rate after one real private step."""
    before = copy.deepcopy(model._module.state_dict())
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(images), labels).backward()
    optimizer.step()
    after = model._module.state_dict()
    return {name: (value - after[name]) / RATE for name, value in before.items()}


def test_every_number_is_the_engines() -> None:
    model, optimizer, loader, engine = made()
    private = private_training(model, optimizer, loader, engine, delta=1e-4)
    assert private.defense == gs.defenses.DpSgd(bound=0.05, noise_multiplier=0.8, delta=1e-4)
    assert private.training == gs.LocalTraining("fedsgd", BATCH, BATCH, 1, RATE, "train")
    assert private.sample_rate == pytest.approx(BATCH / COUNT)
    assert private.epsilon_spent == 0.0
    assert any("noise multiplier 0.8" in note for note in private.notes)
    assert any("Poisson" in note for note in private.notes)
    assert set(private.arguments()) == {"model", "training", "defenses", "remarks"}


def test_epsilon_is_that_of_the_engines_own_account() -> None:
    model, optimizer, loader, engine = made()
    images, labels = pictures()
    for _ in range(3):
        stepped(model, optimizer, images[:BATCH], labels[:BATCH])
    private = private_training(model, optimizer, loader, engine, delta=1e-3)
    assert private.epsilon_spent == pytest.approx(engine.get_epsilon(1e-3))
    assert private.epsilon_spent > 0
    assert 0 < private.epsilon_per_round < private.epsilon_spent
    assert math.isinf(private_training(*made(noise=0.0)).epsilon_per_round)


def both(noise: float) -> tuple[PrivateTraining, gs.Observation, dict[str, Tensor]]:
    """Return what was read of an engine, the upload that is simulated from it, and a real step of Opacus on the same batch."""
    model, optimizer, loader, engine = made(noise=noise)
    images, labels = (part[:BATCH] for part in pictures())
    private = private_training(model, optimizer, loader, engine)
    seen = gs.observe(private.model, images, labels, private.defense, training=private.training)
    return private, seen, stepped(model, optimizer, images, labels)


def test_without_noise_the_simulated_upload_is_that_of_opacus() -> None:
    private, seen, real = both(noise=0.0)
    images, labels = (part[:BATCH] for part in pictures())
    clean = gs.observe(private.model, images, labels, training=private.training)
    for name, value in real.items():
        torch.testing.assert_close(seen.update[f"body.{name}"][0], value, rtol=1e-3, atol=1e-6)
    lengths = [
        float(torch.cat([part.flatten() for part in one.update.values()]).norm())
        for one in (seen, clean)
    ]
    assert lengths[0] < 0.9 * lengths[1], "the bound must have clipped something"


def test_the_noise_has_the_deviation_that_opacus_adds() -> None:
    """sigma C / n in every coordinate, of the simulated upload and of the real one."""
    _, seen, real = both(noise=50.0)
    expected = 50.0 * 0.05 / BATCH
    for upload in (real.values(), seen.update.values()):
        noise = torch.cat([value.flatten() for value in upload])
        assert float(noise.std()) == pytest.approx(expected, rel=0.1)


def test_the_network_is_a_plain_copy() -> None:
    model, optimizer, loader, engine = made()
    private = private_training(model, optimizer, loader, engine)
    images, _ = pictures()
    assert list(private.model.state_dict()) == list(network().state_dict())
    assert not any(part._forward_hooks for part in private.model.modules())
    torch.testing.assert_close(private.model(images), network()(images))
    assert any(part._forward_hooks for part in model.modules()), "Opacus' own still has its hooks"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"clipping": "per_layer", "bound": [0.1] * 6}, "clipping='flat'"),
        ({"clipping": "adaptive", **ADAPTIVE, "unclipped_num_std": 1.0}, "clipping='flat'"),
        ({"loss_reduction": "sum"}, "loss_reduction is 'sum'"),
    ],
)
def test_what_is_not_simulated_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        private_training(*made(**options))


def test_ghost_clipping_with_a_bound_that_moves_is_refused() -> None:
    """Opacus' adaptive ghost clipping sets bound and noise anew in every step, on an optimiser of a class that clips by a fixed one."""
    net = network().train()
    engine = PrivacyEngineAdaptiveClipping()
    loader = DataLoader(TensorDataset(*pictures()), batch_size=BATCH)
    model, optimizer, criterion, loader = engine.make_private(
        module=net,
        optimizer=torch.optim.SGD(net.parameters(), lr=RATE),
        criterion=nn.CrossEntropyLoss(),
        data_loader=loader,
        noise_multiplier=0.3,
        max_grad_norm=0.05,
        grad_sample_mode="ghost",
        **ADAPTIVE,
    )
    with pytest.raises(UsageError, match="one fixed norm"):
        private_training(model, optimizer, loader, engine)
    images, labels = pictures()
    criterion(model(images[:BATCH]), labels[:BATCH]).backward()
    # The optimiser alone tells it after a step, whatever the engine is called.
    with pytest.raises(UsageError, match="one fixed norm"):
        private_training(model, optimizer, loader, PrivacyEngine())


def test_a_batch_that_is_spread_over_processes_is_refused() -> None:
    model, optimizer, loader, engine = made()
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        for kind in (DistributedDPOptimizer, FSDPOptimizerFastGradientClipping):
            spread = kind(
                optimizer.original_optimizer,
                noise_multiplier=0.8,
                max_grad_norm=0.05,
                expected_batch_size=BATCH,
            )
            with pytest.raises(UsageError, match="several processes"):
                private_training(model, spread, loader, engine)
    finally:
        distributed.destroy_process_group()


def test_several_learning_rates_are_refused() -> None:
    model, optimizer, loader, engine = made()
    optimizer.param_groups.append({**optimizer.param_groups[0], "params": [], "lr": 2 * RATE})
    with pytest.raises(UsageError, match=r"learning rates \[0.1, 0.2\]"):
        private_training(model, optimizer, loader, engine)


def test_several_steps_say_that_opacus_draws_anew() -> None:
    engines = made()
    several = private_training(*engines, local_steps=3)
    assert several.training.steps == 3
    assert any("new batch in every step" in note for note in several.notes)
    assert not any("new batch" in note for note in private_training(*engines).notes)


def test_what_no_engine_made_is_refused() -> None:
    net = network()
    with pytest.raises(UsageError, match="make_private"):
        private_training(net, torch.optim.SGD(net.parameters(), lr=RATE), None, None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"optimizer_options": {"momentum": 0.9}}, "momentum"),
        ({"optimizer": torch.optim.Adam}, "Adam"),
    ],
)
def test_steps_that_are_not_plain_are_said(options: dict[str, Any], words: str) -> None:
    notes = private_training(*made(**options)).notes
    assert any(words in note and "simulated" in note for note in notes)


def test_an_audit_judges_the_engines_defense() -> None:
    private = private_training(*made(batch=1))
    images, labels = pictures()
    budget = gs.Budget("tiny", 1e6, pictures=3, iterations=2, rank=0, distractors=2, trials=1)
    found = gs.audit(
        images=images, labels=labels, budget=budget, aux=images.flip(3), **private.arguments()
    )
    assert found.worst.situation.name.startswith("dp_sgd (bound 0.05, noise_multiplier 0.8")
    assert any("epsilon" in remark for remark in found.about["remarks"])

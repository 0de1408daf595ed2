"""Soteria hides the right columns: planted networks whose ranking is known, and a loop over all features."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gradsiege import defenses
from gradsiege.defenses.base import Client, Defense
from gradsiege.defenses.magnitudes import below_percentile
from gradsiege.defenses.soteria import estimated_norms, feature_gradients, representation
from gradsiege.federated.client import run_client
from gradsiege.protocol.local_update import LocalTraining, Tensors, split_state


class Planted(nn.Module):
    """Features r = W x of a two by two image, and a linear head."""

    def __init__(self, rows: list[list[float]]) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.tensor(rows))
        self.head = nn.Linear(len(rows), 3)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(images.flatten(1) @ self.rows.T)
        return logits


def planted(rows: list[list[float]], image: list[float]) -> Client:
    torch.manual_seed(0)
    model = Planted(rows)
    images = torch.tensor(image).view(1, 1, 2, 2)
    training = LocalTraining("fedsgd", 1, 1, 1, 0.1, "eval")
    generator = torch.Generator().manual_seed(0)
    return Client(model, *split_state(model), images, torch.tensor([1]), training, generator)


def zero_columns(client: Client, defense: Defense) -> list[int]:
    update, _ = run_client(client, defense)
    name = next(name for name in reversed(list(update)) if name.endswith("head.weight"))
    return (~update[name].any(0)).nonzero().flatten().tolist()


# |row| is 1, 2, 3, 4 and r is 0.5, 0.2, 1.2, 3.2, so |row| / r is 2, 10, 2.5, 1.25.
DIAGONAL = [[1.0, 0, 0, 0], [0, 2.0, 0, 0], [0, 0, 3.0, 0], [0, 0, 0, 4.0]]
PIXELS = [0.5, 0.1, 0.4, 0.8]


@pytest.mark.parametrize("rule", ["approximation", "jacobian"])
@pytest.mark.parametrize(("prune", "expected"), [(30, [3]), (60, [0, 3]), (90, [0, 2, 3])])
def test_features_that_do_not_overlap_are_ranked_alike_by_both_rules(
    rule: str, prune: float, expected: list[int]
) -> None:
    defense = defenses.build("soteria", {"prune": prune, "rule": rule, "constant": 1e-10})
    assert zero_columns(planted(DIAGONAL, PIXELS), defense) == expected


def test_the_rules_differ_where_features_overlap() -> None:
    """Two nearly parallel features: either is removed only by a long way in the direction that tells them apart."""
    rows = [[1.0, 0, 0, 0], [1.0, 0.01, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]]
    pixels = [0.5, 0.5, 1.0, 0.9]
    # The ratio |row| / r is 2, 1.98, 1, 1.1: the large features go. The columns of the pseudo-inverse are 100 long.
    approximate = defenses.build("soteria", {"prune": 60.0, "constant": 1e-10})
    exact = defenses.build("soteria", {"prune": 60.0, "rule": "jacobian"})
    assert zero_columns(planted(rows, pixels), approximate) == [2, 3]
    assert zero_columns(planted(rows, pixels), exact) == [0, 1]


def test_the_constant_decides_about_weak_features() -> None:
    # |row| / (r + c) is 0.01 / 0.001 and 1 / 0.9 without c, about 0.01 / 0.101 and 1 / 1 with the released one.
    rows, pixels = [[0.01, 0, 0, 0], [0, 1.0, 0, 0]], [0.1, 0.9, 0.5, 0.5]
    ports = defenses.build("soteria", {"prune": 50.0, "constant": 1e-10})
    release = defenses.build("soteria", {"prune": 50.0})
    assert zero_columns(planted(rows, pixels), ports) == [1]
    assert zero_columns(planted(rows, pixels), release) == [0]


@pytest.mark.parametrize("prune", [1, 60, 80])
def test_the_columns_are_those_of_the_released_rule_and_nothing_else_changes(
    party: Callable[..., Client], prune: float
) -> None:
    clean, _ = run_client(party(), defenses.build("none", {}))
    defense = defenses.build("soteria", {"prune": prune})
    defended, _ = run_client(party(), defense)
    client = party()
    state = {**client.parameters, **client.buffers}
    images = client.images.requires_grad_(True)
    features = representation(client.model, state, images, "body.head")
    ratios = []
    for index in range(features.shape[1]):
        (found,) = torch.autograd.grad(features[:, index].sum(), images, retain_graph=True)
        ratios.append(found.flatten(1).norm(dim=1) / (features[:, index] + 0.1))
    score = torch.stack(ratios, 1).sum(0).detach().numpy()
    pruned = score < np.percentile(score, prune)
    assert pruned.sum() == below_percentile(len(score), prune)
    for name, value in clean.items():
        expected = value.clone()
        if name == "body.head.weight":
            expected[:, torch.from_numpy(pruned)] = 0
        assert torch.equal(defended[name], expected), name


def test_estimated_norms_converge_to_the_exact_ones(party: Callable[..., Client]) -> None:
    client = party()
    state = {**client.parameters, **client.buffers}
    represent = partial(representation, client.model, state, layer="body.head")
    _, gradients = feature_gradients(client.model, state, client.images, "body.head")
    exact = torch.cat([block.norm(dim=2) for block in gradients]).T
    for probes in (64, 1024):
        generator = torch.Generator().manual_seed(0)
        found = estimated_norms(represent, client.images, probes, generator)
        assert found.shape == exact.shape
        # (k / |g|^2) times the estimate squared has the chi-squared law of k degrees.
        ratio = (found / exact).square().detach()
        assert abs(float(ratio.mean()) - 1) < 0.1
        assert abs(float(ratio.std()) / (2 / probes) ** 0.5 - 1) < 0.3


def test_probes_choose_nearly_the_same_columns(party: Callable[..., Client]) -> None:
    exact = zero_columns(party(), defenses.build("soteria", {"prune": 60.0}))
    probed = zero_columns(party(), defenses.build("soteria", {"prune": 60.0, "probes": 2000}))
    assert len(exact) == len(probed) == below_percentile(64, 60.0)
    assert len(set(exact) & set(probed)) >= 0.9 * len(exact)


def test_ranking_neither_draws_nor_touches_the_model(party: Callable[..., Client]) -> None:
    client = party(mode="train")
    before = {name: value.clone() for name, value in client.model.state_dict().items()}
    position = client.generator.get_state()
    run_client(client, defenses.build("soteria", {}))
    assert client.model.training
    assert torch.equal(client.generator.get_state(), position)
    after: Tensors = client.model.state_dict()
    assert all(torch.equal(before[name], value) for name, value in after.items())


def test_a_percentage_above_one_hundred_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Soteria: prune must be a number from 0 to 100, not 101"):
        defenses.build("soteria", {"prune": 101.0})

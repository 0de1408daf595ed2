"""Partition, aggregation, the client loop and the federation as a whole."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gradsiege import defenses
from gradsiege.defenses.base import Client, Defense
from gradsiege.federated import server
from gradsiege.federated.client import run_client
from gradsiege.federated.partition import dirichlet, iid
from gradsiege.federated.server import evaluate, macro_f1, micro_f1, weighted_mean
from gradsiege.models import ModelSpec, build
from gradsiege.protocol.local_update import LocalTraining, Step, Tensors, split_state

torch.set_num_threads(1)


@settings(max_examples=30)
@given(
    st.integers(1, 12), st.integers(12, 200), st.integers(0, 5), st.sampled_from([0.05, 0.5, 50.0])
)
def test_every_image_goes_to_exactly_one_client(
    clients: int, images: int, seed: int, alpha: float
) -> None:
    labels = np.random.default_rng(seed).integers(0, 4, images)
    for shares in (
        iid(labels, clients, np.random.default_rng(seed)),
        dirichlet(labels, clients, alpha, np.random.default_rng(seed)),
    ):
        assert len(shares) == clients
        assert all(len(share) for share in shares)
        assert sorted(np.concatenate(shares)) == list(range(images))


def test_small_alpha_makes_clients_differ_more() -> None:
    labels = np.arange(2000) % 10

    def spread(alpha: float) -> float:
        shares = dirichlet(labels, 10, alpha, np.random.default_rng(0))
        counts = np.array([np.bincount(labels[share], minlength=10) for share in shares])
        return float((counts / counts.sum(1, keepdims=True)).std())

    assert spread(0.1) > 2 * spread(100.0)


def test_macro_f1_by_hand() -> None:
    truth, predicted = np.array([0, 0, 1, 2]), np.array([0, 1, 1, 1])
    assert macro_f1(truth, predicted) == pytest.approx((2 / 3 + 0.5 + 0) / 3)


@settings(max_examples=40)
@given(st.integers(1, 60), st.integers(1, 12), st.integers(0, 10**6))
def test_f1_is_that_of_scikit_learn_to_the_last_bit(images: int, classes: int, seed: int) -> None:
    """Tables that were written with scikit-learn's numbers stay valid; some classes are never guessed, others absent."""
    from sklearn.metrics import f1_score

    drawn = np.random.default_rng(seed).integers(0, classes, (2, images))
    truth, predicted = drawn[0], np.where(drawn[1] % 3 == 0, drawn[0], drawn[1])
    for ours, average in ((macro_f1, "macro"), (micro_f1, "micro")):
        assert ours(truth, predicted) == f1_score(
            truth, predicted, average=average, zero_division=0.0
        )


@pytest.mark.parametrize("name", ["convnet", "lenet"])
def test_the_parts_in_which_a_model_is_measured_change_no_bit(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables that were written with parts of 250 images stay valid."""
    model = build(ModelSpec(name, {}, 10, 3, 16), torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(260, 3, 16, 16, generator=generator)
    labels = torch.randint(10, (260,), generator=generator)
    seen: list[int] = []
    model.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    state = split_state(model)
    measured = []
    for at_once in (server.AT_ONCE, 250):
        monkeypatch.setattr(server, "AT_ONCE", at_once)
        measured.append(evaluate(model, *state, images, labels))
    assert measured[0] == measured[1]
    assert max(seen[:-2]) <= 50
    assert sum(seen) == 2 * len(images)


def test_aggregation_weighs_by_images_and_keeps_counters() -> None:
    two = [
        {"w": torch.tensor([0.0]), "n": torch.tensor(7)},
        {"w": torch.tensor([3.0]), "n": torch.tensor(7)},
    ]
    mean = weighted_mean(two, [1, 2])
    assert mean["w"].item() == 2.0
    assert mean["n"].item() == 7


class Recorder(Defense):
    """Writes down the order in which the client loop calls the hooks."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def transform_batch(
        self, images: torch.Tensor, labels: torch.Tensor, step: Step, client: Client
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self.calls.append("batch")
        return images, labels

    def transform_gradient(self, gradient: Tensors, step: Step, client: Client) -> Tensors:
        self.calls.append("gradient")
        return gradient

    def transform_buffers(self, buffers: Tensors, update: Tensors, client: Client) -> Tensors:
        self.calls.append("buffers")
        return buffers

    def transform_update(self, update: Tensors, client: Client) -> Tensors:
        self.calls.append("update")
        return update


def test_hooks_run_in_the_stated_order() -> None:
    model = build(ModelSpec("lenet", {"channels": 2, "initial_range": 0.5}, 3, 3, 16))
    training = LocalTraining("fedavg", 4, 2, 1, 0.1, "train")
    client = Client(
        model,
        *split_state(model),
        torch.rand(4, 3, 16, 16),
        torch.tensor([0, 1, 2, 0]),
        training,
        torch.Generator(),
    )
    recorder = Recorder()
    run_client(client, recorder)
    assert recorder.calls == ["batch", "gradient", "batch", "gradient", "buffers", "update"]


def test_evaluation_of_a_constant_model() -> None:
    model = build(ModelSpec("lenet", {"channels": 2, "initial_range": 0.5}, 3, 3, 16))
    parameters, buffers = split_state(model)
    parameters = {name: torch.zeros_like(value) for name, value in parameters.items()}
    parameters["body.head.bias"] = torch.tensor([0.0, 1.0, 0.0])
    measured = evaluate(
        model, parameters, buffers, torch.rand(4, 3, 16, 16), torch.tensor([1, 1, 0, 2])
    )
    assert measured["accuracy"] == 0.5
    assert measured["macro_f1"] == pytest.approx((2 / 3) / 3)


def test_no_defense_changes_nothing() -> None:
    model = build(ModelSpec("lenet", {"channels": 2, "initial_range": 0.5}, 3, 3, 16))
    training = LocalTraining("fedsgd", 2, 2, 1, 0.1, "eval")
    client = Client(
        model,
        *split_state(model),
        torch.rand(2, 3, 16, 16),
        torch.tensor([0, 1]),
        training,
        torch.Generator(),
    )
    update, _ = run_client(client, defenses.build("none", {}))
    model.zero_grad()
    torch.nn.functional.cross_entropy(model(client.images), client.labels).backward()
    for name, value in model.named_parameters():
        assert value.grad is not None
        torch.testing.assert_close(update[name], value.grad)


def test_batches_hold_distinct_labels_or_on_request_repeated_ones() -> None:
    from gradsiege.federated.victims import chosen_victims

    images, labels = torch.arange(40.0).view(40, 1, 1, 1), torch.arange(40) % 10
    apart, distinct = chosen_victims(images, labels, 4, 8, duplicates=False)
    together, repeated = chosen_victims(images, labels, 4, 8, duplicates=True)
    assert [len(set(row.tolist())) for row in distinct] == [8, 8, 8, 8]
    assert all(len(set(row.tolist())) <= 4 for row in repeated)
    assert sorted(apart.flatten().tolist()) == sorted(together.flatten().tolist())
    for pictures, classes in ((apart, distinct), (together, repeated)):
        assert torch.equal(pictures.flatten().long() % 10, classes.flatten())

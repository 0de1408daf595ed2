"""Flower in one process: what its server receives is recorded as it was, in both of its APIs, and can be attacked."""

from __future__ import annotations

import random
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import gradsiege as gs
from gradsiege.errors import ArtifactError, ModelError, UsageError

pytest.importorskip("flwr", reason="Flower is not installed; make test-integrations installs it")

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.common import FitIns, FitRes, Status, ndarrays_to_parameters
from flwr.server.client_manager import SimpleClientManager
from flwr.server.strategy import FedAvg as LegacyFedAvg
from flwr.serverapp.strategy import (
    DifferentialPrivacyClientSideFixedClipping,
    DifferentialPrivacyServerSideFixedClipping,
    FedAdam,
    FedAvg,
)
from local_grid import LocalGrid

from gradsiege.integrations.flower import SERVER_SIDE, TOO_LONG, own_update, record
from gradsiege.integrations.recordings import EQUAL, networks_by_round, recordings

RATE, CLIENTS, ROUNDS = 0.05, 3, 2
SHAPE = (1, 8, 8)


def network() -> nn.Module:
    torch.manual_seed(7)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Sigmoid(), nn.Flatten(), nn.Linear(144, 5)
    )


def picture(client: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(client)
    return torch.rand(1, *SHAPE, generator=generator), torch.tensor([client % 5])


def trained(state: dict[str, torch.Tensor], client: int) -> dict[str, torch.Tensor]:
    """One step of gradient descent in evaluation mode."""
    model = network().eval()
    model.load_state_dict(state)
    images, labels = picture(client)
    nn.functional.cross_entropy(model(images), labels).backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= RATE * parameter.grad
    return model.state_dict()


def app_of(mods: list[Any] | None = None, same: bool = False) -> ClientApp:
    app = ClientApp(mods=mods)

    @app.train()
    def train(message: Message, context: Context) -> Message:
        state = message.content["arrays"].to_torch_state_dict()
        client = 0 if same else int(context.node_config["client"])
        arrays = ArrayRecord(trained(state, client))
        metrics = MetricRecord({"num-examples": 1, "loss": 0.5})
        return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)

    return app


def run(strategy: Any, app: ClientApp, rounds: int = 2) -> Any:
    random.seed(0)  # the order in which Flower samples clients is that in which it adds them up
    return strategy.start(
        grid=LocalGrid(app, CLIENTS),
        initial_arrays=ArrayRecord(network().state_dict()),
        num_rounds=rounds,
    )


def fedavg(kind: type[Any] = FedAvg, **options: Any) -> Any:
    return kind(
        fraction_evaluate=0.0, min_train_nodes=CLIENTS, min_available_nodes=CLIENTS, **options
    )


@pytest.mark.parametrize("kind", [FedAvg, FedAdam])
def test_every_upload_is_recorded_as_it_was_and_the_federation_ends_alike(
    kind: type[Any], tmp_path: Path
) -> None:
    alone = run(fedavg(kind), app_of())
    strategy = fedavg(kind)
    assert record(strategy, tmp_path) is strategy
    assert type(strategy) is kind
    beside = run(strategy, app_of())
    for name, array in alone.arrays.items():
        np.testing.assert_array_equal(array.numpy(), beside.arrays[name].numpy())
    uploads = recordings(tmp_path)
    assert [upload.round for upload in uploads] == [1, 1, 1, 2, 2, 2]
    assert {upload.client for upload in uploads} == {str(2**63 + n) for n in range(CLIENTS)}
    for upload in uploads:
        expected = trained(upload.sent, int(upload.client) - 2**63)
        for name, value in expected.items():
            assert torch.equal(upload.received[name], value)
        assert (upload.images, upload.metrics["loss"]) == (1, 0.5)
        assert not upload.shared
        assert upload.notes == ()


def test_an_upload_is_the_clients_gradient_and_can_be_attacked(tmp_path: Path) -> None:
    run(record(fedavg(), tmp_path), app_of(), rounds=1)
    upload = recordings(tmp_path)[0]
    training = gs.LocalTraining("fedsgd", 1, 1, 1, RATE, "eval")
    seen = upload.observation(network(), SHAPE, training)
    model = network().eval()
    images, labels = picture(int(upload.client) - 2**63)
    nn.functional.cross_entropy(model(images), labels).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(
            seen.update[f"body.{name}"][0], parameter.grad, rtol=1e-3, atol=1e-5
        )
    result = gs.attacks.InvertingGradients(iterations=2)(seen)
    assert result.images.shape[-3:] == SHAPE


def test_the_networks_of_all_rounds_are_those_that_were_sent(tmp_path: Path) -> None:
    result = run(record(fedavg(), tmp_path), app_of(), rounds=3)
    uploads = recordings(tmp_path)
    networks = networks_by_round(uploads[::-1], network())
    assert list(networks) == ["round 1", "round 2", "round 3"]
    for name, value in network().state_dict().items():
        assert torch.equal(networks["round 1"].state_dict()[name], value)
    for number, model in enumerate(networks.values(), 1):
        (sent, *others) = (upload.sent for upload in uploads if upload.round == number)
        for name, value in model.state_dict().items():
            assert torch.equal(sent[name], value)
            assert all(torch.equal(other[name], value) for other in others)
    last = dict(result.arrays.items())["0.weight"].numpy()
    assert not np.array_equal(networks["round 3"].state_dict()["0.weight"].numpy(), last)


def test_recording_ends_after_so_many_uploads_and_files_are_private(tmp_path: Path) -> None:
    run(record(fedavg(), tmp_path / "uploads", most=4), app_of())
    assert len(recordings(tmp_path / "uploads")) == 4
    for path in [tmp_path / "uploads", *(tmp_path / "uploads").rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path


def test_equal_uploads_are_said_to_be_no_single_clients(tmp_path: Path) -> None:
    """What a server sees under secure aggregation: the same arrays for every client."""
    run(record(fedavg(), tmp_path), app_of(same=True), rounds=1)
    uploads = recordings(tmp_path)
    assert all(upload.shared and EQUAL in upload.notes for upload in uploads)
    with pytest.raises(ModelError, match="secure aggregation"):
        uploads[0].observation(network(), SHAPE, gs.LocalTraining("fedsgd", 1, 1, 1, RATE, "eval"))


def test_differential_privacy_is_read_and_what_it_does_not_do_is_said(tmp_path: Path) -> None:
    settings = {"noise_multiplier": 0.5, "clipping_norm": 1e-4, "num_sampled_clients": CLIENTS}
    for side, kind, note in (
        ("server", DifferentialPrivacyServerSideFixedClipping, SERVER_SIDE),
        ("client", DifferentialPrivacyClientSideFixedClipping, TOO_LONG),
    ):
        strategy = record(kind(fedavg(), **settings), tmp_path / side)
        run(strategy, app_of(), rounds=1)  # without the client's mod that clips
        for upload in recordings(tmp_path / side):
            assert upload.defense == {"side": side, **settings}
            assert upload.notes == (note,)
            assert upload.difference_norm() > 1e-4, "the server receives it unclipped"


def test_a_client_looks_at_its_own_update_and_may_keep_it(tmp_path: Path) -> None:
    seen: list[float] = []

    def check(recording: Any) -> None:
        seen.append(recording.difference_norm())
        if len(seen) == CLIENTS:
            raise RuntimeError("it leaks")

    received = tmp_path / "server"
    run(record(fedavg(), received), app_of([own_update(tmp_path / "own", check)]), rounds=1)
    assert len(seen) == CLIENTS
    assert min(seen) > 0
    assert len(recordings(tmp_path / "own")) == CLIENTS
    assert len(recordings(received)) == CLIENTS - 1, "one update stayed with its client"


def test_a_check_sees_every_upload_though_few_stay_on_disk(tmp_path: Path) -> None:
    seen: list[int] = []

    def check(recording: Any) -> None:
        seen.append(recording.round)
        if recording.round == ROUNDS:
            raise RuntimeError("it leaks")

    received = tmp_path / "server"
    mods = [own_update(tmp_path / "own", check, most=1)]
    run(record(fedavg(), received), app_of(mods), rounds=ROUNDS)
    assert sorted(seen) == [1] * CLIENTS + [ROUNDS] * CLIENTS
    assert len(recordings(tmp_path / "own")) == 1
    assert {upload.round for upload in recordings(received)} == {1}, "the others stayed"


def test_a_number_of_uploads_below_one_is_refused(tmp_path: Path) -> None:
    for ask in (record, own_update):
        with pytest.raises(UsageError, match="most is 0"):
            ask(*([fedavg()] if ask is record else []), tmp_path, most=0)


class Proxy:
    """A client of the older API, in this process: as much of a `ClientProxy` as a round of training asks for."""

    def __init__(self, cid: str) -> None:
        self.cid = cid

    def fit(self, ins: FitIns, timeout: Any = None, group_id: Any = None) -> FitRes:
        from flwr.common import parameters_to_ndarrays

        state = network().state_dict()
        arrays = parameters_to_ndarrays(ins.parameters)
        given = {name: torch.from_numpy(np.array(a)) for name, a in zip(state, arrays, strict=True)}
        back = [value.numpy() for value in trained(given, int(self.cid)).values()]
        return FitRes(Status(0, ""), ndarrays_to_parameters(back), 1, {"loss": 0.5})


def test_the_older_api_is_recorded_by_place(tmp_path: Path) -> None:
    strategy = record(LegacyFedAvg(min_fit_clients=2, min_available_clients=2), tmp_path)
    manager = SimpleClientManager()
    for client in range(2):
        manager.register(Proxy(str(client)))
    start = ndarrays_to_parameters([value.numpy() for value in network().state_dict().values()])
    tasks = strategy.configure_fit(1, start, manager)
    results = [(proxy, proxy.fit(instructions)) for proxy, instructions in tasks]
    parameters, _ = strategy.aggregate_fit(1, results, [])
    assert parameters is not None
    uploads = recordings(tmp_path)
    assert len(uploads) == 2
    training = gs.LocalTraining("fedsgd", 1, 1, 1, RATE, "eval")
    seen = uploads[0].observation(network(), SHAPE, training)
    assert set(seen.update) == {f"body.{name}" for name, _ in network().named_parameters()}


def test_what_is_no_strategy_or_recording_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a strategy of Flower"):
        record(object(), tmp_path)
    strategy = record(fedavg(), tmp_path)
    with pytest.raises(UsageError, match="recorded already"):
        record(strategy, tmp_path)
    with pytest.raises(UsageError, match="most is 0"):
        record(fedavg(), tmp_path, most=0)
    with pytest.raises(ArtifactError, match="holds no recorded upload"):
        recordings(tmp_path)
    run(strategy, app_of(), rounds=1)
    upload = recordings(tmp_path)[0]
    with pytest.raises(ModelError, match="give the network that the federation trains"):
        upload.observation(
            nn.Sequential(nn.Flatten(), nn.Linear(64, 5)),
            SHAPE,
            gs.LocalTraining("fedsgd", 1, 1, 1, RATE, "eval"),
        )
    with pytest.raises(ModelError, match="images=1"):
        upload.observation(network(), SHAPE, gs.LocalTraining("fedsgd", 4, 4, 1, RATE, "eval"))
    file = next(tmp_path.glob("round-*/client-*"))
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(ArtifactError, match=file.name):
        recordings(tmp_path)

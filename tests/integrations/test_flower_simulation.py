"""The tutorial of docs/FEDERATIONS.md in Flower's own simulation: Ray runs every client in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import gradsiege as gs
from gradsiege.integrations.recordings import networks_by_round, recordings

pytest.importorskip(
    "ray", reason="Flower's simulation is not installed; make test-integrations installs it"
)

SCRIPT = Path(__file__).parents[2] / "examples" / "flower" / "audit_federation.py"
# The script as it is printed, but for the budget of its audit.
RUN = f"""
import runpy
import gradsiege as gs
script = runpy.run_path({str(SCRIPT)!r})
from flwr.simulation import run_simulation
run_simulation(script["server_app"], script["client_app"], num_supernodes=3)
script["audit"](gs.Budget("tiny", 1e6, pictures=3, iterations=2, rank=0, distractors=2, trials=1))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the tutorial ran."""
    place = tmp_path_factory.mktemp("simulation")
    private = {"RAY_USAGE_STATS_ENABLED": "0", "FLWR_TELEMETRY_ENABLED": "0"}
    subprocess.run(
        [sys.executable, "-c", RUN], cwd=place, env=os.environ | private, check=True, timeout=1200
    )
    return place


def network() -> torch.nn.Module:
    """The tutorial's network, with weights of its own."""
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, 2), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(8 * 49, 5)
    )


def test_every_client_was_recorded_in_every_round(folder: Path) -> None:
    uploads = recordings(folder / "uploads")
    assert [upload.round for upload in uploads] == [1, 1, 1, 2, 2, 2]
    assert len({upload.client for upload in uploads}) == 3


def test_the_server_sends_what_the_uploads_average_to(folder: Path) -> None:
    """Clients of equal size: FedAvg's next network is the mean of what the recordings hold."""
    uploads = recordings(folder / "uploads")
    first, second = networks_by_round(uploads, network()).values()
    clients = [upload.difference(network())[1] for upload in uploads if upload.round == 1]
    for name, sent in first.named_parameters():
        mean = torch.stack([moved[name] for moved in clients]).mean(0)
        torch.testing.assert_close(second.get_parameter(name), sent + mean, atol=1e-6, rtol=1e-5)


def test_a_recorded_upload_is_the_gradient_of_its_picture(folder: Path) -> None:
    """One of the tutorial's three pictures explains an upload of another process, and each client has its own."""
    uploads = [upload for upload in recordings(folder / "uploads") if upload.round == 1]
    pictures = torch.rand(2, 12, 3, 16, 16, generator=torch.Generator().manual_seed(0))[0, :3]
    training = gs.LocalTraining("fedsgd", 1, 1, 1, 0.1, "eval")
    nearest = []
    for upload in uploads:
        model, difference = upload.difference(network())
        distances = []
        for own in range(3):
            seen = gs.observe(model, pictures[own, None], torch.tensor([own]), training=training)
            gaps = [
                (difference[name] + 0.1 * seen.update[f"body.{name}"][0]).norm()
                for name in difference
            ]
            distances.append(float(torch.stack(gaps).norm()))
        nearest.append(min(range(3), key=distances.__getitem__))
        assert min(distances) < 1e-5 < 1e-3 < sorted(distances)[1]
    assert sorted(nearest) == [0, 1, 2]


def test_the_page_is_written(folder: Path) -> None:
    assert "Stage round 2: " in (folder / "audit" / "index.html").read_text()

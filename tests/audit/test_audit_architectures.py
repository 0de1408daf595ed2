"""Ten public architectures from end to end, each with the fewest pictures and iterations that show something."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

import gradsiege as gs
from gradsiege.auditing.budget import Budget
from gradsiege.auditing.inputs.networks import network_named
from gradsiege.auditing.inputs.normalisation import of_library

LEAST = Budget("least", 1e6, pictures=1, iterations=1, rank=0, distractors=2, trials=1)

# With random weights and running statistics their logits hardly depend on the picture, so that updates are alike.
CONSTANT = {"torchvision:efficientnet_b0"}
# Architecture, and the side of its pictures.
ARCHITECTURES = [
    ("torchvision:densenet121", 32),
    ("torchvision:efficientnet_b0", 32),
    ("torchvision:googlenet", 32),
    ("torchvision:mnasnet0_5", 32),
    ("torchvision:mobilenet_v3_small", 32),
    ("torchvision:regnet_y_400mf", 32),
    ("torchvision:resnet18", 32),
    ("torchvision:shufflenet_v2_x0_5", 32),
    ("torchvision:squeezenet1_1", 32),
    ("torchvision:swin_t", 32),
]


@pytest.mark.parametrize(("name", "side"), ARCHITECTURES)
def test_an_architecture_is_audited_from_end_to_end(name: str, side: int, tmp_path: Path) -> None:
    network = network_named(name, 5, (3, side, side)).eval()
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(4, 3, side, side, generator=generator)
    found = gs.audit(
        network,
        images,
        torch.tensor([2, 0, 1, 3]),
        budget=LEAST,
        aux=torch.rand(8, 3, side, side, generator=generator),
        normalisation=of_library(name, network, 3),
        name=name,
    )
    (finding,) = found.findings
    assert finding.failed == 0, found.scores.table["reason"].unique()
    assert math.isfinite(finding.psnr.estimate)
    assert name in CONSTANT or finding.identified.estimate == 1.0
    found.save(tmp_path / "out")
    assert json.loads((tmp_path / "out" / "audit.json").read_text())["about"]["network"] == name

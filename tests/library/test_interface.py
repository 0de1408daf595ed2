"""What `import gradsiege` offers: names, metrics, resumed attacks, and no heavy library before one is used."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_classifiers import ATTACK, small
from torch import Tensor

import gradsiege as gs
from gradsiege.attacks.progress import LoopCheckpointer
from gradsiege.errors import ArtifactError


def test_a_run_that_was_left_goes_on_with_the_same_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = gs.observe(small(), torch.rand(2, 3, 16, 16), torch.tensor([0, 1]))
    attack = replace(ATTACK, iterations=12)
    whole = attack(seen, engine="loop")
    monkeypatch.setattr("gradsiege.attacks.progress.SECONDS_BETWEEN_SAVES", 0.0)
    pause = LoopCheckpointer.pause

    def leave(self: LoopCheckpointer, state: Any) -> None:
        pause(self, state)
        if state.iteration == 7:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LoopCheckpointer, "pause", leave)
        with pytest.raises(KeyboardInterrupt):
            attack(seen, engine="loop", resume=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(ArtifactError, match="the progress of another attack"):
        attack(seen, engine="loop", seed=1, resume=tmp_path)
    resumed = attack(seen, engine="loop", resume=tmp_path)
    assert torch.equal(resumed.images, whole.images)
    assert not list(tmp_path.iterdir())
    assert {"iteration", "victim", "restart", "matching_loss"} == set(whole.trace().columns)


def test_what_calls_return_says_what_it_is_without_its_numbers() -> None:
    images, labels = torch.rand(2, 3, 16, 16), torch.tensor([0, 1])
    seen = gs.observe(small(), images, labels, gs.defenses.Gaussian(sigma=0.5))
    prior = gs.priors.AuxiliaryImages().fit(images, labels)
    for value, parts in (
        (seen, ("updates=2", "tensors=4", "(3, 16, 16)", "'sigma': 0.5", "with labels")),
        (ATTACK(seen), ("clients=2", "images_per_client=1", "failures={}")),
        (prior, ("name='auxiliary_images'", "numbers=")),
    ):
        text = repr(value)
        assert "tensor(" not in text
        assert len(text) < 400
        assert all(part in text for part in parts), text


OFFERED = {
    "metrics": {"table"},
    "priors": {"PCA", "TrainedPrior"},
    "models": {"LeNet"},
    "datasets": {"CIFAR10"},
    "attacks": {"Dlg"},
    "defenses": {"TopK"},
}


@pytest.mark.parametrize("package", OFFERED)
def test_dir_lists_what_is_offered(package: str) -> None:
    assert package in dir(gs)
    module = getattr(gs, package)
    names = dir(module)
    assert set(names) >= OFFERED[package]
    assert not {"Any", "annotations", "catalogue"} & set(names)
    assert all(getattr(module, name).__module__.startswith("gradsiege") for name in names)


def test_metrics_table_is_the_function_whatever_was_imported_before() -> None:
    image = torch.rand(1, 3, 16, 16)
    for _ in range(2):
        assert gs.evaluate
        assert gs.metrics.table(image, image).mse[0] == 0


@pytest.mark.parametrize(
    "kind", [Tensor.numpy, Tensor.tolist, Tensor.double, Tensor.half, lambda image: image]
)
def test_metrics_take_every_kind_of_images_that_observe_takes(kind: Any) -> None:
    image = torch.full((1, 3, 16, 16), 0.5)
    gs.observe(small(), kind(image), [1])
    assert gs.metrics.table(image + 0.25, kind(image)).mse[0] == 0.0625
    assert gs.metrics.table(kind(image), image + 0.25).mse[0] == 0.0625


def test_importing_the_package_loads_no_heavy_library() -> None:
    code = "import sys, gradsiege as gs; gs.attacks; gs.defenses; gs.metrics; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

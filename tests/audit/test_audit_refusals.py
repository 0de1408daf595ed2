"""Nonsense gets one sentence that says what to change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import Verb
from small_audits import arguments, pictures
from torch import nn

import gradsiege as gs
from gradsiege.auditing.budget import budget_named
from gradsiege.auditing.situations import local_training
from gradsiege.errors import GradSiegeError, ModelError, UsageError
from gradsiege.protocol.local_update import LocalTraining


class Two(nn.Module):
    """A network with two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(768, 5)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits twice."""
        logits = self.layer(images.flatten(1))
        return logits, logits


def wrong(**changed: Any) -> Callable[[], dict[str, Any]]:
    return lambda: arguments(**changed)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (wrong(images=torch.rand(4, 3, 20, 20)), "does not take images of 3 x 20 x 20"),
        (wrong(labels=torch.arange(12)), "labels range from 0 to 11, and the network has 5 classes"),
        (wrong(labels=torch.zeros(3, dtype=torch.int64)), "12 pictures and 3 labels"),
        (wrong(labels=torch.rand(12)), "give one whole number per picture"),
        (wrong(model=Two()), "returns tuple, but a classifier returns logits"),
        (wrong(model={}), "there is no network"),
        (wrong(images=torch.rand(0, 3, 16, 16), labels=torch.zeros(0, dtype=torch.int64)), "no picture"),
        (wrong(images=torch.full((12, 3, 16, 16), torch.nan)), "not finite"),
        (wrong(images=2 * torch.ones(12, 3, 16, 16)), "give pixels in [0, 1]"),
        (wrong(budget="quickly"), "did you mean 'quick'?"),
        (wrong(device="tpu"), "device 'tpu' is not there"),
        (wrong(defenses=[gs.defenses.Gaussian]), "give None or a defense"),
        (wrong(defenses=[gs.defenses.Gaussian(), gs.defenses.Gaussian()]), "asked for twice"),
        (wrong(aux=torch.rand(4, 3, 8, 8)), "resize them"),
        (wrong(aux=pictures(12)[0], aux_labels=None), "aux holds 12 of the 12 private pictures, number 0 first"),
        (wrong(aux=torch.full((12, 3, 16, 16), torch.nan)), "aux holds no picture, or a number that is not in [0, 1]"),
        (wrong(aux=torch.rand(12, 3, 16, 16), aux_labels=[1]), "aux_labels has shape [1] and type torch.int64; give one whole number per picture, [12]"),
        (wrong(aux=torch.rand(2, 3, 16, 16), aux_labels=[0, 5]), "aux_labels range from 0 to 5; give classes of the network, from 0 to 4"),
        (wrong(aux=None, aux_labels=[1]), "aux_labels are given without aux"),
        (wrong(groups=[1, 2]), "groups has shape [2] and type torch.int64; give one whole number per picture, [12]"),
        (wrong(groups="scenes"), "groups is 'scenes'; give one whole number per picture"),
        (wrong(training="fedavg"), "training is 'fedavg'; give a gradsiege.LocalTraining"),
        (wrong(defenses=gs.defenses.TopK()), "give a list, such as [TopK("),
        (wrong(images=torch.rand(12, 4, 16, 16), model=nn.Sequential(nn.Flatten(), nn.Linear(1024, 5))), "defined for 1 or 3"),
        (wrong(training=LocalTraining("fedsgd", 99, 99, 1, 1.0, "eval")), "a client holds 99 pictures, and there are 12"),
    ],
)  # fmt: skip
def test_an_argument_that_does_not_fit_is_named(
    given: Callable[[], dict[str, Any]], words: str
) -> None:
    with pytest.raises(GradSiegeError) as refusal:
        gs.audit(**given())
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value).strip()


@pytest.mark.parametrize(
    ("batch", "steps", "held", "words"),
    [(4, 1, 2, "lower --batch-size"), (2, 3, 4, "give a multiple")],
)
def test_steps_that_do_not_fill_a_pass_are_refused(
    batch: int, steps: int, held: int, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        local_training(batch, steps, held, 0.1, "eval")


def test_budgets_have_names() -> None:
    assert [budget_named(name).rank for name in ("quick", "standard", "thorough")] == [1, 2, 3]


def test_an_update_that_is_not_finite_is_refused() -> None:
    from small_classifiers import small

    network = small()
    updates = {
        name: torch.full_like(value, torch.nan) for name, value in network.named_parameters()
    }
    with pytest.raises(ModelError, match="not finite"):
        gs.audit_updates(network, updates, (3, 16, 16))


def saved_network(folder: Path) -> Path:
    """Weights of the small classifier, and a module whose factory makes it."""
    from safetensors.torch import save_file
    from small_classifiers import small

    (folder / "mine.py").write_text(
        "from torch import nn\n\n"
        "def net():\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 49, 5))\n\n"
        "def number():\n    return 3\n\n"
        "def broken():\n    raise KeyError('x')\n"
    )
    save_file(small().state_dict(), folder / "small.safetensors")
    save_file({"other.weight": torch.zeros(2, 2)}, folder / "other.safetensors")
    torch.save({"state": print}, folder / "code.pt")
    (folder / "torn.safetensors").write_bytes(b"\x08")
    images, labels = pictures(4)
    np.savez(folder / "four.npz", images=images.numpy(), labels=labels.numpy())
    np.savez(folder / "wide.npz", images=images.numpy(), labels=labels.numpy() + 7)
    np.savez(folder / "objects.npz", images=np.array([{}], dtype=object))
    np.savez(folder / "other.npz", numbers=np.zeros(3))
    update = {
        name: np.full(tuple(value.shape), np.nan, np.float32)
        for name, value in small().named_parameters()
    }
    np.savez(folder / "nan.npz", **update)
    (folder / "empty").mkdir()
    return folder


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("--images four.npz --updates nan.npz", 2, "one of both"),
        ("", 2, "one of both"),
        ("--images four.npz --budget hasty", 2, "budget is 'hasty'"),
        ("--images four.npz --fail-above loud", 2, "give a number of decibels"),
        ("--images gone/", 2, "does not exist"),
        ("--images empty", 2, "it holds no picture"),
        ("--images other.npz", 2, "name the pictures `images`"),
        ("--images objects.npz", 4, "is refused"),
        ("--images wide.npz", 2, "labels range from 7 to"),
        ("--images four.npz --weights other.safetensors", 2, "weights of another network than Sequential"),
        ("--images four.npz --weights code.pt", 4, "could run code"),
        ("--images four.npz --weights torn.safetensors", 4, "not a sound safetensors file"),
        ("--images four.npz --weights gone.pt", 2, "is not a file"),
        ("--images four.npz --normalisation x", 2, "--normalisation is 'x'"),
        ("--images four.npz --defense gausian", 2, "did you mean 'gaussian'?"),
        ("--images four.npz --defense gaussian:sigma=-1", 3, "sigma"),
        ("--images four.npz --defense mine:net", 2, "derive it from"),
        ("--images four.npz --batch-norm sometimes", 2, "give eval or train"),
        ("--images four.npz --head nowhere", 2, "head 'nowhere'"),
        ("--updates nan.npz --size 16 --weights small.safetensors", 2, "NaN or infinity"),
        ("--updates nan.npz --weights small.safetensors", 2, "needs --size"),
        ("--updates nan.npz --size 16", 2, "exactly one --weights"),
        ("--updates nan.npz --fail-above 20dB", 2, "compares with the truth"),
    ],
)  # fmt: skip
def test_an_option_that_does_not_fit_is_named(
    words: str,
    code: int,
    message: str,
    verb: Verb,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(saved_network(tmp_path))
    assert verb("audit", "--model", "mine:net", "--out", "out", *words.split()) == code
    told = capsys.readouterr().err
    assert message in " ".join(told.split())
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("model", "code", "message"),
    [
        ("resnet81", 2, "did you mean 'resnet18'?"),
        ("torchvision:resnet81", 2, "did you mean"),
        ("mine:nett", 2, "did you mean 'net'?"),
        ("mine:number", 2, "return a torch.nn.Module"),
        ("mine:broken", 2, "calling it without arguments fails"),
        ("nobodys.module:net", 2, "there is no module"),
        ("lenet:units=3", 3, "has no parameter 'units'"),
    ],
)
def test_a_network_that_is_not_there_is_named(
    model: str,
    code: int,
    message: str,
    verb: Verb,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(saved_network(tmp_path))
    assert verb("audit", "--model", model, "--out", "out", "--images", "four.npz") == code
    assert message in " ".join(capsys.readouterr().err.split())

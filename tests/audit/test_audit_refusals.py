"""Nonsense gets one sentence that says what to change."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import Verb
from PIL import Image
from small_audits import arguments, audited, pictures
from small_classifiers import small
from torch import nn

import gradsiege as gs
from gradsiege.auditing.budget import budget_named
from gradsiege.auditing.situations import local_training
from gradsiege.defenses.base import Client, Defense
from gradsiege.errors import GradSiegeError, ModelError, UsageError
from gradsiege.protocol.local_update import LocalTraining, Tensors


class Two(nn.Module):
    """A network with two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(768, 5)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits twice."""
        logits = self.layer(images.flatten(1))
        return logits, logits


class Own(Defense):
    """A defense of the user's own, whose upload is made by a function."""

    def __init__(self, upload: Callable[[Tensors], Any]) -> None:
        object.__setattr__(self, "upload", upload)

    def transform_update(self, update: Tensors, client: Client) -> Tensors:
        """Return what the function makes."""
        made: Tensors = self.upload(update)
        return made


def diverged() -> nn.Module:
    """The small classifier with one weight that is not a number."""
    network = small()
    with torch.no_grad():
        next(network.parameters()).view(-1)[0] = torch.nan
    return network


def wrong(**changed: Any) -> Callable[[], dict[str, Any]]:
    return lambda: arguments(**changed)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (wrong(images=torch.rand(4, 3, 20, 20)), "does not take images of 3 x 20 x 20"),
        (wrong(labels=torch.arange(12)), "labels range from 0 to 11, and the network has 5 classes"),
        (wrong(labels=torch.zeros(3, dtype=torch.int64)), "12 pictures and 3 labels"),
        (wrong(images=pictures(1)[0], labels=torch.zeros(3, dtype=torch.int64)), "there is 1 picture and 3 labels"),
        (wrong(images=pictures(1)[0], labels=[0], training=LocalTraining("fedsgd", 2, 2, 1, 1.0, "eval")), "holds 2 pictures, and there is 1;"),
        (wrong(names=["a.png"]), "there are 12 pictures and 1 name; give one name per picture"),
        (wrong(names=[*"abcdefghijk", 7]), "names holds 7; give one text per picture"),
        (wrong(labels=torch.rand(12)), "give one whole number per picture"),
        (wrong(model=Two()), "returns tuple, but a classifier returns logits"),
        (wrong(model={}), "there is no network"),
        (wrong(images=torch.rand(0, 3, 16, 16), labels=torch.zeros(0, dtype=torch.int64)), "which holds none; give at least one"),
        (wrong(images=torch.full((12, 3, 16, 16), torch.nan)), "not finite"),
        (wrong(images=2 * torch.ones(12, 3, 16, 16)), "give pixels in [0, 1]"),
        (wrong(budget="quickly"), "did you mean 'quick'?"),
        (wrong(device="tpu"), "device 'tpu' is not there"),
        (wrong(defenses=[gs.defenses.Gaussian]), "give None or a defense"),
        (wrong(defenses=[gs.defenses.Gaussian(), gs.defenses.Gaussian()]), "asked for twice"),
        (wrong(aux=torch.rand(4, 3, 8, 8)), "resize them"),
        (wrong(aux=pictures(12)[0], aux_labels=None), "aux holds 12 of the 12 private pictures, number 0 first"),
        (wrong(aux=torch.full((12, 3, 16, 16), torch.nan)), "aux hold a number that is not finite"),
        (wrong(aux=torch.rand(12, 3, 16, 16), aux_labels=[1]), "aux_labels has shape [1] and type torch.int64; give one whole number per picture, [12]"),
        (wrong(aux=torch.rand(2, 3, 16, 16), aux_labels=[0, 5]), "aux_labels range from 0 to 5; give classes of the network, from 0 to 4"),
        (wrong(aux=None, aux_labels=[1]), "aux_labels are given without aux"),
        (wrong(groups=[1, 2]), "groups has shape [2] and type torch.int64; give one whole number per picture, [12]"),
        (wrong(groups="scenes"), "groups is 'scenes'; give one whole number per picture"),
        (wrong(images=torch.rand(3, 16, 16)), "images have shape [3, 16, 16]; give [n, channels, height, width], one image as images[None]"),
        (wrong(images=[[1, 2], [3, 4]]), "images have shape [2, 2]; give [n, channels, height, width]"),
        (wrong(images=None), "images are None; give numbers [n, channels, height, width]"),
        (wrong(aux=torch.rand(16, 16)), "aux have shape [16, 16]; give [n, channels, height, width]"),
        (wrong(labels=["cat"] * 12), "give one whole number per image, the index of its class from 0"),
        (wrong(model=diverged()), "answers pictures with values that are not finite; look for NaN or infinity in its weights"),
        (wrong(defenses=[Own(lambda update: 1 / 0)]), "fails on the first client: ZeroDivisionError: division by zero; mend its code"),
        (wrong(defenses=[Own(lambda update: {name: value / 0 for name, value in update.items()})]), "is not finite on the first client"),
        (wrong(defenses=[Own(lambda update: sys.exit(0))]), "fails on the first client: SystemExit: 0; mend its code"),
        (wrong(defenses=[Own(lambda update: {name: value.sign().to(torch.int8) for name, value in update.items()})]), "is of the type torch.int8 on the first client; return its values as floating-point numbers"),
        (wrong(defenses=[Own(lambda update: None)]), "Own.transform_update returns NoneType"),
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


def test_probabilities_are_remarked_on() -> None:
    network = nn.Sequential(small(), nn.Softmax(1))
    (told,) = (one for one in audited(model=network).about["remarks"] if "probabilities" in one)
    assert "a softmax at its end should be left out" in told
    assert not any("probabilities" in one for one in audited().about["remarks"])


def test_budgets_have_names() -> None:
    assert [budget_named(name).rank for name in ("quick", "standard", "thorough")] == [1, 2, 3]


def test_an_update_that_is_not_finite_is_refused() -> None:

    network = small()
    updates = {
        name: torch.full_like(value, torch.nan) for name, value in network.named_parameters()
    }
    with pytest.raises(ModelError, match="not finite"):
        gs.audit_updates(network, updates, (3, 16, 16))


# Labels of four pictures, by the name of their table.
TABLES = {
    "below": ("0", "-1", "2", "3"),
    "decimal": ("0.0", "1.0", "2.0", "3.0"),
    "above": ("0", "1", "2", "5"),
}


def saved_network(folder: Path) -> Path:
    """Weights of the small classifier, and a module whose factory makes it."""
    from safetensors.torch import save_file

    (folder / "mine.py").write_text(
        "from torch import nn\n\n"
        "def net():\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 49, 5))\n\n"
        "def number():\n    return 3\n\n"
        "def broken():\n    raise KeyError('x')\n\n"
        "def leaving():\n    raise SystemExit(3)\n"
    )
    save_file(small().state_dict(), folder / "small.safetensors")
    endless = small().state_dict()
    endless["0.bias"] = torch.tensor([0.0, torch.inf, 0.0, 0.0])
    save_file(endless, folder / "endless.safetensors")
    whole = small().state_dict()
    save_file({**whole, "0.bias": whole["0.bias"].int()}, folder / "whole.safetensors")
    (folder / "folder" / "cat").mkdir(parents=True)
    save_file({"other.weight": torch.zeros(2, 2)}, folder / "other.safetensors")
    torch.save({"state": print}, folder / "code.pt")
    torch.save({**whole, "0.bias": whole["0.bias"].to_sparse()}, folder / "sparse.pt")
    (folder / "torn.safetensors").write_bytes(b"\x08")
    images, labels = pictures(4)
    np.savez(folder / "four.npz", images=images.numpy(), labels=labels.numpy())
    np.savez(folder / "wide.npz", images=images.numpy(), labels=labels.numpy() + 7)
    np.savez(folder / "low.npz", images=images.numpy(), labels=np.array([0, 1, -1, 2]))
    torn = images.numpy().copy()
    torn[2, 1, 0, 3], torn[3, 2, 5, 5] = np.nan, np.inf
    np.savez(folder / "torn.npz", images=torn, labels=labels.numpy())
    np.savez(folder / "unlabelled.npz", images=images.numpy(), labels=np.array([0, 1, np.nan, 2]))
    for number, image in enumerate(images):
        pixels = (image.permute(1, 2, 0).numpy() * 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    for name, written in TABLES.items():
        lines = [f"{number}.png,{label}" for number, label in enumerate(written)]
        (folder / f"{name}.csv").write_text("\n".join(["path,label", *lines, ""]))
    np.savez(folder / "objects.npz", images=np.array([{}], dtype=object))
    np.savez(folder / "words.npz", images=images.numpy(), labels=np.array(["cat"] * 4))
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
        ("--images objects.npz", 4, "objects.npz: images is refused"),
        ("--images words.npz", 4, "words.npz: labels holds <U3, which are not numbers; give numbers, and classes as whole numbers from 0"),
        ("--images wide.npz", 2, "and the network has 5 classes; give labels from 0 to 4"),
        ("--images low.npz", 2, "--images low.npz: picture 2 has the label -1, and the network has 5 classes"),
        ("--images below.csv", 2, "below.csv: 1.png has the label '-1'; labels that are numbers are the network's classes, so give whole numbers from 0 to 99999"),
        ("--images decimal.csv", 2, "decimal.csv: 0.png has the label '0.0'"),
        ("--images above.csv", 2, "--images above.csv: 3.png has the label 5, and the network has 5 classes"),
        ("--images four.npz --aux above.csv", 2, "--aux above.csv: 3.png has the label 5"),
        ("--images torn.npz", 2, "torn.npz: images[2, 1, 0, 3] is nan, the first of 2 numbers that are not finite"),
        ("--images unlabelled.npz", 2, "unlabelled.npz: labels[2] is nan, the only number that is not finite"),
        ("--images four.npz --size 64", 2, "does not take pictures of 64 x 64 pixels; give --size 16"),
        ("--images four.npz --classes 7", 2, "--classes is 7, and the network of --model mine:net has 5 outputs; change the network, or leave --classes out"),
        ("--images folder --out folder/cat/a", 2, "--out folder/cat/a lies in --images folder, where it would be taken for pictures"),
        ("--images four.npz --weights whole.safetensors", 2, "'0.bias' holds whole numbers (torch.int32), and the network's are torch.float32"),
        ("--images four.npz --defense gaussian:sigma=0.1,sigma=0.2", 2, "sigma is given twice; give it once"),
        ("--images four.npz --defense mine:leaving", 2, "calling it without arguments fails: SystemExit: 3"),
        ("--images four.npz --out four.npz", 2, "--out four.npz is a file; name a folder for the audit"),
        ("--images four.npz --out four.npz/a", 2, "--out four.npz/a lies below"),
        ("--images four.npz --defense gausian:sigma=0.1", 2, "did you mean 'gaussian'?"),
        ("--images four.npz --weights endless.safetensors", 2, "--weights endless.safetensors: '0.bias'[1] is inf, the only number that is not finite"),
        ("--updates nan.npz --size 16 --weights small.safetensors --classes 7", 2, "has 5 outputs"),
        ("--updates nan.npz --size 64 --weights small.safetensors", 2, "give --size 16"),
        ("--images four.npz --weights other.safetensors", 2, "--weights other.safetensors are not weights of mine:net: 4 of its tensors are missing"),
        ("--images four.npz --weights code.pt", 4, "could run code"),
        ("--images four.npz --weights sparse.pt", 4, "sparse.pt: '0.bias' is stored as torch.sparse_coo; save it by .to_dense()"),
        ("--images four.npz --weights torn.safetensors", 4, "not a sound safetensors file"),
        ("--images four.npz --weights gone.pt", 2, "is not a file"),
        ("--images four.npz --normalisation x", 2, "--normalisation is 'x'"),
        ("--images four.npz --defense gausian", 2, "did you mean 'gaussian'?"),
        ("--images four.npz --defense gaussian:sigma=-1", 3, "sigma"),
        ("--images four.npz --defense mine:net", 2, "derive it from"),
        ("--images four.npz --batch-norm sometimes", 2, "give eval or train"),
        ("--images four.npz --head nowhere", 2, "head 'nowhere'"),
        ("--updates nan.npz --size 16 --weights small.safetensors", 2, "'0.weight'[0, 0, 0, 0] is nan, the first of 108 numbers that are not finite"),
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
        ("torchvison:resnet18", 2, "did you mean 'torchvision'?"),
        ("lennet:channels=4", 2, "did you mean 'lenet'?"),
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

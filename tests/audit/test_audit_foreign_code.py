"""Networks, defenses and files of strangers that cannot be audited: each is refused in one sentence, before anything is planned."""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import Verb
from small_audits import BUDGET, pictures
from torch import Tensor, nn

import gradsiege as gs
from gradsiege.auditing.inputs.arrays import named_arrays, read_arrays
from gradsiege.defenses import is_user_defined
from gradsiege.defenses.base import Client, Defense
from gradsiege.errors import GradSiegeError
from gradsiege.protocol.local_update import Tensors


class Net(nn.Module):
    """A small classifier whose logits a test may change."""

    def __init__(self, change: Callable[[Tensor], Any] = lambda logits: logits) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 4, 3, stride=4)
        self.last = nn.Linear(4 * 16, 5)
        self.change = change

    def forward(self, x: Tensor) -> Any:
        return self.change(self.last(torch.sigmoid(self.first(x)).flatten(1)))


class InPlace(Net):
    def forward(self, x: Tensor) -> Any:
        hidden = torch.sigmoid(self.first(x))
        hidden *= 2
        return self.last(hidden.flatten(1))


class OfFew(Net):
    def forward(self, x: Tensor) -> Any:
        assert len(x) < 3, "one\nor two"
        return super().forward(x)


class Locked(Net):
    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


class Sparse(Net):
    def __init__(self) -> None:
        super().__init__()
        self.last.weight = nn.Parameter(self.last.weight.detach().to_sparse())


def refusal(**given: Any) -> str:
    images, labels = pictures(4)
    asked: dict[str, Any] = {"model": Net(), "images": images, "labels": labels, "budget": BUDGET}
    with pytest.raises(GradSiegeError) as caught:
        gs.audit(**asked | given, device="cpu")
    said = str(caught.value)
    assert "\n" not in said
    return said


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (InPlace(), "edits in place, such as `y *= 2`"),
        (OfFew(), "does not take 4 pictures at once: AssertionError: one or two"),
        (Locked(), "cannot be copied: TypeError"),
        (Locked(), "Take locks, files and generators out of it"),
        (Sparse(), "the weight last.weight is stored as torch.sparse_coo; hold it by .to_dense()"),
        (Net(lambda logits: logits.to(torch.complex64)), "logits are dense and real"),
        (Net(lambda logits: logits.to_sparse()), "logits are dense and real"),
    ],
)
def test_a_network_that_cannot_be_followed_is_refused(network: nn.Module, said: str) -> None:
    assert said in refusal(model=network)


@dataclass(frozen=True)
class CalledNone(Defense):
    name = "none"


@dataclass(frozen=True)
class CalledGaussian(Defense):
    name = "gaussian"

    def transform_update(self, update: Tensors, client: Client) -> Tensors:
        raise RuntimeError("not\nmine")


@dataclass(frozen=True)
class Untold(Defense):
    told: Any = None

    def disclosure(self) -> dict[str, Any]:
        if self.told is None:
            raise LookupError("nothing to tell")
        told: dict[str, Any] = self.told
        return told


@pytest.mark.parametrize(
    ("defense", "said"),
    [
        (CalledNone(), "has the name 'none', which stands for no defense"),
        (CalledGaussian(), "fails on the first client: RuntimeError: not mine; mend its code"),
        (Untold(), "the disclosure of the defense Untold fails: LookupError: nothing to tell"),
        (Untold("text"), "return its parameters by name"),
        (Untold({"mask": torch.zeros(2)}), "return its parameters by name"),
    ],
)
def test_a_defense_that_cannot_be_judged_is_refused(defense: Defense, said: str) -> None:
    assert said in refusal(defenses=[None, defense])


def test_a_class_under_a_known_name_is_the_user_s_own() -> None:
    assert is_user_defined(CalledGaussian())
    assert not is_user_defined(gs.defenses.Gaussian(sigma=0.1))


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: torch.zeros(3, dtype=torch.complex64), "'a' holds torch.complex64; save real"),
        (lambda: torch.zeros(3, device="meta"), "'a' holds no values"),
        (lambda: torch.zeros(3).to_sparse(), "'a' is stored as torch.sparse_coo"),
        (lambda: torch.zeros(3, dtype=torch.float8_e5m2), "'a' holds torch.float8_e5m2"),
    ],
)
def test_tensors_that_are_no_plain_numbers_are_named(
    tmp_path: Path, made: Callable[[], Tensor], said: str
) -> None:
    torch.save({"a": made()}, tmp_path / "u.pt")
    with pytest.raises(GradSiegeError, match=said):
        named_arrays(tmp_path / "u.pt", "--updates")


def packed(file: Path, change: Callable[[bytes], bytes]) -> Path:
    np.savez(file, a=np.zeros(3))
    file.write_bytes(change(file.read_bytes()))
    return file


def in_directory(offset: int, byte: int) -> Callable[[bytes], bytes]:
    """Change a byte of the entry in the archive's own directory."""

    def change(data: bytes) -> bytes:
        at = data.index(b"PK\x01\x02") + offset
        return data[:at] + bytes([byte]) + data[at + 1 :]

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.replace(b"{'descr'", b"{'des\x00r'"),
        lambda data: data.replace(b"'<f8'", b"'<f("),
        lambda data: data[:60],
        in_directory(8, 1),  # encrypted
        in_directory(10, 99),  # compressed by a method that nobody knows
    ],
)
def test_a_damaged_archive_is_refused_in_a_sentence(
    tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    file = packed(tmp_path / "u.npz", change)
    with pytest.raises(GradSiegeError, match=r"is refused: .*; save plain") as caught:
        named_arrays(file, "--updates")
    assert "\n" not in str(caught.value)


def test_an_array_that_stands_twice_is_named(tmp_path: Path) -> None:
    file = packed(tmp_path / "u.npz", bytes)
    with zipfile.ZipFile(file) as archive:
        data = archive.read("a.npy")
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(file, "a") as archive:
        archive.writestr("a.npy", data)
    with pytest.raises(GradSiegeError, match=r"holds 'a\.npy' twice"):
        named_arrays(file, "--updates")


@pytest.mark.parametrize("label", [2**64 - 1, 100_000])
def test_a_label_that_is_a_slip_is_told(tmp_path: Path, label: int) -> None:
    labels = np.array([0, label], dtype=np.uint64)
    np.savez(tmp_path / "p.npz", images=np.zeros((2, 3, 8, 8)), labels=labels)
    with pytest.raises(GradSiegeError, match=f"labels range from 0 to {label}; give whole numbers"):
        read_arrays(tmp_path / "p.npz", 10, "--images")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with pictures, and networks of the user's own."""
    images, labels = pictures(4)
    np.savez(tmp_path / "four.npz", images=images.numpy(), labels=labels.numpy())
    np.savez(tmp_path / "updates.npz", **{"1.weight": np.ones((5, 3 * 16 * 16), "float32")})
    (tmp_path / "strange_nets.py").write_text(
        "import sys\nimport torch\nfrom torch import nn\n\n\n"
        "def single():\n    return nn.Sequential(nn.Flatten(), nn.Linear(768, 1))\n\n\n"
        "def headless():\n    return nn.Sequential(nn.Flatten(), nn.Linear(768, 8), nn.Sigmoid(), nn.Linear(8, 5))\n\n\n"
        "class Leaves(nn.Sequential):\n    def forward(self, x):\n        sys.exit(0)\n\n\n"
        "def leaves():\n    return Leaves(nn.Flatten(), nn.Linear(768, 5))\n"
    )
    torch.save(nn.Sequential(nn.Flatten(), nn.Linear(768, 5)).state_dict(), tmp_path / "w.pt")
    network = nn.Sequential(nn.Flatten(), nn.Linear(768, 8), nn.Sigmoid(), nn.Linear(8, 5))
    torch.save(network.state_dict(), tmp_path / "h.pt")
    np.savez(tmp_path / "first.npz", **{"1.weight": np.ones((8, 768), "float32")})
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("--model strange_nets:leaves --updates updates.npz --weights w.pt --size 16", 2, "ends the program"),
        ("--model strange_nets:leaves --images four.npz", 2, "ends the program"),
        ("--model strange_nets:headless --updates first.npz --weights h.pt --size 16", 2, "no labels can be read off these updates"),
        ("--model strange_nets:headless --updates first.npz --weights h.pt --size 16", 2, "which is not matched here. Record every parameter"),
        ("--model strange_nets:single --images four.npz", 2, "returns 1 logit per picture"),
        ("--model lenet --images four.npz --unit gradient", 2, "--unit says what --updates hold; leave it out"),
        ("--model lenet --images huge.csv", 2, "has the label '999999999999999999999999'; labels that are numbers"),
    ],
)  # fmt: skip
def test_a_request_of_nonsense_is_refused(
    place: Path, verb: Verb, words: str, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "huge.csv").write_text(f"path,label\na.png,{'9' * 24}\n")
    (place / "a.png").write_bytes(b"")
    assert verb("audit", *words.split(), "--out", "out") == code
    assert said in " ".join(capsys.readouterr().err.split())

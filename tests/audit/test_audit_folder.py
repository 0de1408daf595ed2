"""The folder of an audit: nothing of others is touched, two audits never share it, and what changes in code is another audit."""

from __future__ import annotations

import errno
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

import gradsiege as gs
from gradsiege import artifacts
from gradsiege.auditing.private import held, private_folder
from gradsiege.defenses.base import Defense
from gradsiege.errors import ArtifactError, UsageError

BUDGET = gs.Budget("least", 1e6, pictures=1, iterations=1, rank=0, distractors=2, trials=1)


class Small(nn.Module):
    """Two layers; what stands between them is a matter of its code."""

    between: ClassVar[Any] = torch.sigmoid

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.first, self.last = nn.Linear(3 * 16 * 16, 8), nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(type(self).between(self.first(images.flatten(1))))


@dataclass(frozen=True)
class Scaled(Defense):
    """A defense without fields, whose factor is a matter of its code."""

    name = "scaled"
    factor: ClassVar[float] = 0.5

    def transform_update(self, update: dict[str, Tensor], client: Any) -> dict[str, Tensor]:
        return {name: value * type(self).factor for name, value in update.items()}


def pictures() -> tuple[Tensor, Tensor]:
    return torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 3


def audited(folder: Path, **changes: Any) -> Any:
    images, labels = pictures()
    own = {"aux": images[3:] / 2, "aux_labels": labels[3:], "budget": BUDGET, "resume": folder}
    return gs.audit(Small(), images[:2], labels[:2], **(own | changes))


def test_other_code_of_the_network_is_another_audit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audited(tmp_path / "audit")
    audited(tmp_path / "audit")
    monkeypatch.setattr(Small, "between", torch.tanh)
    with pytest.raises(ArtifactError, match="its updates of the first client differ"):
        audited(tmp_path / "audit")


def test_other_code_of_a_defense_is_another_audit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audited(tmp_path / "audit", defenses=[Scaled()])
    audited(tmp_path / "audit", defenses=[Scaled()])
    monkeypatch.setattr(Scaled, "factor", 0.25)
    with pytest.raises(ArtifactError, match="its updates of the first client differ"):
        audited(tmp_path / "audit", defenses=[Scaled()])


def test_recorded_updates_of_other_pictures_are_another_audit(tmp_path: Path) -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    images, labels = pictures()
    seen = gs.observe(network, images[:2], labels[:2])
    for size in (16, 16):
        gs.audit_updates(
            network, seen.update, (3, size, size), budget=BUDGET, resume=tmp_path / "a"
        )
    with pytest.raises(ArtifactError, match="size of the pictures"):
        gs.audit_updates(network, seen.update, (3, 12, 12), budget=BUDGET, resume=tmp_path / "a")


@pytest.mark.parametrize(
    "name", ["index.html", "parts/part.stl", "tables/own.csv", ".env", ".git/config"]
)
def test_files_of_others_are_neither_replaced_nor_locked_up(name: str, tmp_path: Path) -> None:
    own = tmp_path / "site" / name
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    own.chmod(0o755)
    with pytest.raises(UsageError, match="which no audit wrote there"):
        private_folder(tmp_path / "site")
    assert own.read_text() == "mine"
    assert stat.S_IMODE(own.stat().st_mode) == 0o755


def test_a_place_that_takes_no_folder_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(folder: Path) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(folder))

    monkeypatch.setattr(artifacts, "make_folder", refused)
    with pytest.raises(ArtifactError, match="audit: Read-only file system"):
        private_folder(tmp_path / "audit")


def test_what_a_killed_write_left_is_no_obstacle(tmp_path: Path) -> None:
    folder = private_folder(tmp_path / "audit")
    (folder / ".plan.json.abc.part").write_text("{")
    (folder / ".DS_Store").write_text("")
    assert private_folder(folder) == folder


def test_an_audit_of_other_rounds_stays_out(tmp_path: Path) -> None:
    folder = private_folder(tmp_path / "audit", ["round-0001"])
    private_folder(folder / "round-0001")
    for rounds in ([], ["round-0002"]):
        with pytest.raises(UsageError, match="holds 'round-0001' of another audit"):
            private_folder(folder, rounds)
    private_folder(folder, ["round-0001", "round-0002"])


def test_two_audits_do_not_share_a_folder(tmp_path: Path) -> None:
    folder = private_folder(tmp_path / "audit")
    with held(folder), pytest.raises(UsageError, match="another audit is running in"):
        audited(folder)
    audit = audited(folder)
    with held(folder), pytest.raises(UsageError, match="another audit is running in"):
        audit.save(folder, pictures=False)
    audit.save(folder, pictures=False)
    assert not (folder / "parts").exists()

"""Uploads of several rounds: what matches is shown by round, an aggregate is called one, and no truth is claimed."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from command_line import Verb
from page_outline import outlined
from small_audits import BUDGET, pictures
from small_classifiers import small

import gradsiege as gs
from gradsiege.auditing import budget
from gradsiege.auditing.page.rounds import by_round
from gradsiege.auditing.rounds import RoundsAudit
from gradsiege.errors import UsageError
from gradsiege.integrations.recordings import Recording, write

RATE = 0.1
TRAINING = gs.LocalTraining("fedsgd", 1, 1, 1, RATE, "eval")
LEAST = replace(BUDGET, rank=0, iterations=3, pictures=2)


def uploads(rounds: int = 2, clients: int = 2, aggregate: int | None = None) -> list[Recording]:
    """What a server receives: every round starts from the mean of the last one; round `aggregate` hides its clients."""
    network, listed = small(), []
    images, labels = pictures(rounds * clients)
    for number in range(1, rounds + 1):
        sent = {name: value.clone() for name, value in network.state_dict().items()}
        received = []
        for client in range(clients):
            place = (number - 1) * clients + client
            seen = gs.observe(network, images[place, None], labels[place, None], training=TRAINING)
            gradient = {name: seen.update[f"body.{name}"][0] for name in sent}
            received.append({name: sent[name] - RATE * gradient[name] for name in sent})
        mean = {name: torch.stack([one[name] for one in received]).mean(0) for name in sent}
        hidden = number == aggregate
        listed += [
            Recording(
                number, f"{client}", sent, mean if hidden else received[client], shared=hidden
            )
            for client in range(clients)
        ]
        network.load_state_dict(mean)
    return listed


@pytest.fixture(scope="module")
def found() -> RoundsAudit:
    recorded = uploads(rounds=3, aggregate=3)
    audit: RoundsAudit = gs.audit_rounds(recorded, small(), (3, 16, 16), TRAINING, LEAST)
    return audit


def test_every_round_is_attacked_from_the_network_that_was_sent(found: RoundsAudit) -> None:
    assert list(found.rounds) == [1, 2, 3]
    _, labels = pictures(6)
    told = [found.rounds[number].labels for number in (1, 2)]
    assert [one.flatten().tolist() for one in told if one is not None] == [
        labels[:2].tolist(),
        labels[2:4].tolist(),
    ]
    # Labels are read off a gradient in the unit of one, so that the norm is the gradient's, not the difference's.
    images, _ = pictures(6)
    seen = gs.observe(small(), images[:2], labels[:2], training=TRAINING)
    squares = sum(value.flatten(1).square().sum(1) for value in seen.update.values())
    torch.testing.assert_close(
        found.rounds[1].norms, torch.as_tensor(squares).sqrt(), rtol=1e-3, atol=0
    )


def test_a_round_of_equal_uploads_is_called_an_aggregate(found: RoundsAudit) -> None:
    assert [one.equal for one in found.rounds.values()] == [False, False, True]
    cells = [row[2] for row in by_round(found).table.rows]
    assert cells == ["single clients'", "single clients'", "aggregate"]


def test_the_drawing_holds_the_median_match_of_every_round(found: RoundsAudit) -> None:
    drawn = by_round(found)
    assert [point.label for point in drawn.points] == ["1", "2", "3"]
    for point, audit in zip(drawn.points, found.rounds.values(), strict=True):
        match = next(one for one in audit.matches if one.attacker == "inverting_gradients")
        assert f"{float(match.loss.median()):.3f}" in point.value
        assert point.y is not None
        assert point.low is not None
        assert point.high is not None
        assert point.high <= point.y <= point.low, "y grows downwards"


def test_pages_stand_alone_and_are_their_owners_alone(found: RoundsAudit, tmp_path: Path) -> None:
    page = found.save(tmp_path / "out")
    text = page.read_text()
    outline = outlined(text)
    assert "https://" not in text
    assert "Private picture" not in text
    assert len(outline.attributes("main")) == 1
    assert "Round 2: " in text
    data = json.loads((page.parent / "audit.json").read_text())
    assert [one["round"] for one in data["rounds"]] == [1, 2, 3]
    assert "psnr" not in json.dumps(data)
    for number in (1, 2, 3):
        assert (page.parent / f"round-{number:04d}" / "index.html").is_file()
    for path in page.parent.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    found.save(tmp_path / "out", pictures=False)
    assert "<img" not in page.read_text()


def test_rounds_share_the_time_and_go_on_in_folders_of_their_own(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    arguments = (uploads(), small(), (3, 16, 16), TRAINING, LEAST)
    first = gs.audit_rounds(*arguments, resume=folder)
    seconds = [one.plan.budget.seconds for one in first.rounds.values()]
    assert sum(seconds) == pytest.approx(LEAST.seconds)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("manifest.json")}
    assert {path.relative_to(folder).parts[0] for path in before} == {"round-0001", "round-0002"}
    again = gs.audit_rounds(*arguments, resume=folder)
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("manifest.json")}
    for number, audit in first.rounds.items():
        for ours, theirs in zip(audit.matches, again.rounds[number].matches, strict=True):
            torch.testing.assert_close(ours.loss, theirs.loss)


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of recordings beside a module with the network; the quick budget is tiny there."""
    for upload in uploads():
        arrays = (
            {name: value.numpy() for name, value in side.items()}
            for side in (upload.sent, upload.received)
        )
        write(tmp_path / "uploads", upload.round, upload.client, *arrays)
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n\n"
        "def net():\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 49, 5))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(budget.BUDGETS, "quick", LEAST)
    return tmp_path


def test_the_command_takes_a_folder_of_recordings(recorded: Path, verb: Verb) -> None:
    words = "--model mine:net --updates uploads --size 16 --learning-rate 0.1 --out out"
    assert verb("audit", *words.split()) == 0
    data = json.loads((recorded / "out" / "audit.json").read_text())
    assert [one["round"] for one in data["rounds"]] == [1, 2]
    assert [one["labels"] for one in data["rounds"]] == [[[0], [1]], [[2], [3]]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--updates uploads", "needs --size"),
        ("--updates uploads --size 16 --weights gone.pt", "leave --weights out"),
        ("--updates uploads --size 16 --local-steps 1 --local-steps 2", "one local training"),
    ],
)
def test_an_option_that_a_folder_contradicts_is_named(
    recorded: Path, verb: Verb, words: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verb("audit", "--model", "mine:net", "--out", "out", *words.split()) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_nothing_recorded_is_one_sentence() -> None:
    with pytest.raises(UsageError, match="at least one recording"):
        gs.audit_rounds([], small(), (3, 16, 16), TRAINING)

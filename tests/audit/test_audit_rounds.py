"""Uploads of several rounds: what matches is shown by round, an aggregate is called one, and no truth is claimed."""

from __future__ import annotations

import json
import re
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
from gradsiege.auditing.inputs.request import Request
from gradsiege.auditing.inputs.rounds import rounds
from gradsiege.auditing.page.images import address
from gradsiege.auditing.page.rounds import by_round, context, render_rounds
from gradsiege.auditing.rounds import RoundsAudit
from gradsiege.errors import ModelError, UsageError
from gradsiege.integrations.recordings import Recording, write

RATE = 0.1
TRAINING = gs.LocalTraining("fedsgd", 1, 1, 1, RATE, "eval")
LEAST = replace(BUDGET, rank=0, iterations=3, pictures=2)


def uploads(rounds: int = 2, clients: int = 2, aggregate: int | None = None) -> list[Recording]:
    """Return the uploads that a server receives: every round starts from the mean of the last one; round `aggregate` hides its clients."""
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


def test_recordings_of_a_library_s_network_say_which_normalisation_is_assumed(
    tmp_path: Path,
) -> None:
    from torchvision.models import shufflenet_v2_x0_5

    state = shufflenet_v2_x0_5(num_classes=5).state_dict()
    arrays = {name: value.numpy() for name, value in state.items()}
    write(tmp_path, 1, "a", arrays, arrays)
    request = Request(model="torchvision:shufflenet_v2_x0_5", classes=5, size=32)
    given = rounds(request, tmp_path)
    assert given["normalisation"] is not None
    (remark,) = given["remarks"]
    assert "normalised as the library publishes it: mean [0.485" in remark


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
        ("--updates uploads --size 16 --unit difference", "leave --unit out"),
        ("--updates uploads --size 16 --local-steps 1 --local-steps 2", "one local training"),
    ],
)
def test_an_option_that_a_folder_contradicts_is_named(
    recorded: Path, verb: Verb, words: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verb("audit", "--model", "mine:net", "--out", "out", *words.split()) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def audited(listed: list[Recording], **changed: object) -> RoundsAudit:
    """An audit of uploads with the least attacks."""
    given = {"training": TRAINING, "budget": LEAST} | changed
    audit: RoundsAudit = gs.audit_rounds(listed, small(), (3, 16, 16), **given)
    return audit


def test_the_gallery_shows_what_the_drawing_quotes(found: RoundsAudit) -> None:
    strips = context(found, pictures=True)["gallery"]
    assert [strip.title for strip in strips.values()] == ["Inverting Gradients"] * 3
    for number, audit in found.rounds.items():
        match = next(one for one in audit.matches if one.attacker == "inverting_gradients")
        assert strips[number].pairs[0][0].source == address(match.images[0, 0])


def test_a_round_says_with_how_many_iterations_it_was_attacked(found: RoundsAudit) -> None:
    table = by_round(found).table
    place = table.headings.index("Iterations")
    assert [row[place] for row in table.rows] == ["3", "3", "3"]
    cut = replace(found.rounds[2].plan.size, notes=("2 pictures instead of 4",))
    short = replace(found.rounds[2], plan=replace(found.rounds[2].plan, size=cut))
    page = render_rounds(RoundsAudit({**found.rounds, 2: short}))
    assert "2 pictures instead of 4 (round 2)" in page


def test_all_uploads_are_looked_at_and_the_first_ones_attacked() -> None:
    """Two of three uploads are equal, and time holds two: the third tells that nothing was aggregated."""
    one, other = uploads(rounds=1)
    same = replace(one, shared=True)
    audit = audited([same, replace(same, client="2"), replace(other, client="3")])
    (round_,) = audit.rounds.values()
    assert by_round(audit).table.rows[0][2] == "single clients'"
    assert "aggregate" not in round_.sentence()
    assert (round_.attacked, len(round_.norms)) == (2, 3)
    assert {len(match.loss) for match in round_.matches} == {2}
    assert not round_.equal
    assert round_.labels is not None
    assert round_.labels.flatten().tolist() == [0, 0, 1]
    assert by_round(audit).table.rows[0][1] == "2 of 3"
    assert "2 of 3 updates" in audit.sentence()
    assert "2 of 3 updates" in round_.sentence()
    assert round_.document()["attacked"] == 2


def test_what_the_recorder_saw_of_uploads_that_it_did_not_keep_counts() -> None:
    (kept, _) = uploads(rounds=1)
    audit = audited([replace(kept, shared=True)])
    assert by_round(audit).table.rows[0][2] == "aggregate"
    assert "aggregate" in audit.rounds[1].sentence()


def test_without_the_attack_of_the_drawing_the_page_says_so(found: RoundsAudit) -> None:
    rounds = {
        number: replace(
            one, matches=[match for match in one.matches if match.attacker != "inverting_gradients"]
        )
        for number, one in found.rounds.items()
    }
    assert all(one.matches for one in rounds.values()), "other attacks have finished"
    page = render_rounds(RoundsAudit(rounds))
    assert "Inverting Gradients, the attack of the drawing, finished in no round." in page
    assert "finished in no round" not in render_rounds(found)


def test_an_upload_of_a_later_round_is_refused_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "gradsiege.auditing.rounds.audit_updates",
        lambda *given, **named: pytest.fail("a round was attacked"),
    )
    *sound, last = uploads()
    with pytest.raises(ModelError, match="round 2, client 1: the client trained on 3 images"):
        audited([*sound, replace(last, images=3)])


def test_notes_and_privacy_of_uploads_stand_on_the_pages(tmp_path: Path) -> None:
    first, second, *later = uploads()
    listed = [
        replace(first, notes=("The update is longer than the norm.",)),
        replace(second, defense={"side": "client", "noise_multiplier": 0.5}),
        *later,
    ]
    audit = audited(listed, remarks="Faces of volunteers.")
    assert audit.rounds[2].about["remarks"] == ["Faces of volunteers."]
    page = audit.save(tmp_path / "out")
    text = page.read_text()
    assert text.count("Faces of volunteers.") == 1
    assert "The update is longer than the norm (1 of 2 uploads) (round 1)." in text
    assert "noise_multiplier 0.5 (1 of 2 uploads) (round 1)." in text
    of_round = (page.parent / "round-0001" / "index.html").read_text()
    assert "noise_multiplier 0.5 (1 of 2 uploads)." in of_round
    assert ".." not in re.sub(r"data:image[^\"]*", "", text + of_round)


def test_an_upload_that_does_not_fit_is_refused() -> None:
    one, other = uploads(rounds=1)
    few = {name: value for name, value in one.received.items() if name != "3.bias"}
    flat = {**one.received, "3.bias": torch.zeros(7)}
    moved = {**other.sent, "3.bias": other.sent["3.bias"] + 1}
    sick = {**one.sent, "3.bias": one.sent["3.bias"] * torch.nan}
    for wrong, words in (
        (replace(other, images=3), "client 1: the client trained on 3 images"),
        (replace(other, received=few), "client 1: .* lacks 3.bias"),
        (replace(other, received=flat), "client 1: .* lacks 3.bias, or holds it in another shape"),
        (replace(other, sent=moved), "clients 0 and 1 were sent different networks"),
    ):
        with pytest.raises(ModelError, match=words):
            audited([one, wrong])
    with pytest.raises(ModelError, match=r"client 0: the model .* not finite in 3\.bias"):
        audited([replace(one, sent=sick), replace(other, sent=sick)])


def test_a_parameter_that_was_not_sent_is_named() -> None:
    """Statistics of a normalisation make up for the number of tensors, and not for the parameter."""
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.BatchNorm2d(2))
    sent = {name: value for name, value in network.state_dict().items() if name != "0.bias"}
    with pytest.raises(ModelError, match=r"0\.bias is missing"):
        Recording(1, "0", sent, sent).difference(network)


def test_nothing_recorded_is_one_sentence() -> None:
    with pytest.raises(UsageError, match="at least one recording"):
        gs.audit_rounds([], small(), (3, 16, 16), TRAINING)

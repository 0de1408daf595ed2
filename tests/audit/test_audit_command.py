"""`gradsiege audit` from a folder of pictures to a page, and its exit codes."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from command_line import Verb
from PIL import Image
from small_audits import BUDGET, pictures

from gradsiege.auditing import budget
from gradsiege.auditing.result import Result


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with pictures by class, a network of the user's own and its weights; the quick budget is tiny there."""
    from safetensors.torch import save_file
    from small_classifiers import small

    images, labels = pictures(10)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = tmp_path / "pictures" / f"class{int(label)}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = (image.permute(1, 2, 0).numpy() * 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (tmp_path / "mine.py").write_text(
        "from dataclasses import dataclass\n"
        "from torch import nn\n"
        "from gradsiege.defenses.base import Defense\n\n"
        "def net():\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 49, 5))\n\n"
        "@dataclass(frozen=True)\n"
        "class Half(Defense):\n"
        "    def transform_update(self, update, client):\n"
        "        return {name: value / 2 for name, value in update.items()}\n"
    )
    aux, aux_labels = pictures(20, seed=1)
    np.savez(tmp_path / "public.npz", images=aux.numpy(), labels=aux_labels.numpy())
    save_file(small().state_dict(), tmp_path / "late.safetensors")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(budget.BUDGETS, "quick", BUDGET)
    return tmp_path


def test_from_pictures_to_a_page(
    place: Path, verb: Verb, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "--model mine:net --weights late.safetensors --images pictures --defense mine:Half --out out"
    assert verb("audit", *words.split()) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1] == str(Path("out") / "index.html")
    first, *following = printed.err.splitlines()
    assert first == (
        "reading --model mine:net and --images pictures; a short trial then measures this machine"
    )
    assert any("0 is class0, 1 is class1" in line for line in following)
    assert "on this machine" in printed.err
    data = json.loads((place / "out" / "audit.json").read_text())
    assert [found["defense"] for found in data["situations"]] == ["none", "Half"]
    assert [found["stage"] for found in data["situations"]] == ["late", "late"]
    assert data["about"]["network"] == "mine:net"
    assert re.search(
        r"<figcaption>pictures/class\d/\d\.png</figcaption>",
        (place / "out" / "index.html").read_text(),
    )
    assert any("alphabetical" in remark for remark in data["about"]["remarks"])
    assert "scikit-image" in data["about"]["auxiliary"]
    # Half the update says as much as all of it: the cosine does not change.
    bare, half = data["situations"]
    assert half["verdict"] in ("does not survive", "undecided")
    assert bare["identified"] == 1.0


def test_ctrl_c_says_that_attacks_are_kept(
    place: Path, verb: Verb, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*inputs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gradsiege.auditing.inputs.request.audited", interrupt)
    before = signal.getsignal(signal.SIGTERM)
    assert verb("audit", *["--model", "mine:net", "--images", "pictures", "--out", "out"]) == 130
    assert signal.getsignal(signal.SIGTERM) is before
    assert capsys.readouterr().err.splitlines()[-1] == (
        "gradsiege: interrupted; finished attacks are kept. Run the same command again to go on"
    )


@pytest.mark.parametrize(("limit", "code"), [("1dB", 9), ("99", 0)])
def test_a_limit_decides_the_exit_code(
    place: Path, verb: Verb, limit: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    words = f"--model mine:net --weights late.safetensors --images pictures --aux public.npz --fail-above {limit} --out out"
    assert verb("audit", *words.split()) == code
    assert (place / "out" / "index.html").is_file()
    assert ("above the limit" in capsys.readouterr().err) == (code == 9)


class NoNumber(Result):
    """An audit of which no attack has finished: the limit is `Result`'s own, the number is not there."""

    decibel = math.nan

    def __init__(self) -> None:
        """Nothing is measured."""


def test_an_audit_in_which_no_attack_finished_is_above_every_limit(
    place: Path, verb: Verb, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = NoNumber()
    assert math.isnan(nothing.decibel)
    monkeypatch.setattr("gradsiege.cli.auditing._of_pictures", lambda *inputs: nothing)
    words = "--model mine:net --images pictures --fail-above 20dB --out out"
    assert verb("audit", *words.split()) == 9
    assert "no attack finished" in capsys.readouterr().err


def test_recorded_updates_become_reconstructions(place: Path, verb: Verb) -> None:
    from small_classifiers import small

    import gradsiege as gs

    images, labels = pictures(3)
    seen = gs.observe(small(), images, labels)
    np.savez(
        place / "updates.npz",
        **{name.removeprefix("body."): value.numpy() for name, value in seen.update.items()},
    )
    words = "--model mine:net --weights late.safetensors --updates updates.npz --size 16 --out out --no-pictures"
    assert verb("audit", *words.split()) == 0
    data = json.loads((place / "out" / "audit.json").read_text())
    assert data["recorded"]
    assert data["labels"] == labels[:, None].tolist()
    assert {match["attacker"] for match in data["matches"]} == {
        "inverting_gradients", "label_lookup", "auxiliary_lookup", "maximum_a_posteriori",
    }  # fmt: skip
    assert "<img" not in (place / "out" / "index.html").read_text()


def test_help_loads_no_torch() -> None:
    code = (
        "import sys\n"
        "from gradsiege.cli import app\n"
        "try:\n    app(['audit', '--help'])\n"
        "except SystemExit:\n    pass\n"
        "assert 'torch' not in sys.modules and 'pandas' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "--fail-above" in done.stdout


def test_a_signal_ends_an_audit_which_then_goes_on(place: Path) -> None:
    """A real process gets SIGTERM in the middle; the second one finds the first one's finished parts."""
    code = (
        "import sys; sys.path[:0] = sys.argv[1:3]\n"
        "from gradsiege.auditing import budget\n"
        "from small_audits import BUDGET\n"
        "from dataclasses import replace\n"
        "budget.BUDGETS['quick'] = replace(BUDGET, iterations=40)\n"
        "from gradsiege.cli import main\n"
        "main('audit --model mine:net --weights late.safetensors --images pictures --aux public.npz --out out'.split())"
    )
    support = Path(__file__).parents[1] / "support"
    command = [sys.executable, "-c", code, str(support), str(place)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    first = subprocess.Popen(command, cwd=place, env=environment, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 120
    while not list(place.glob("out/parts/*/manifest.json")) and first.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.02)
    first.send_signal(signal.SIGTERM)
    _, told = first.communicate(timeout=60)
    finished = set(place.glob("out/parts/*/manifest.json"))
    assert finished
    # The first process may have been about to end when the signal came.
    assert first.returncode in (75, 0), told
    second = subprocess.run(
        command, cwd=place, env=environment, capture_output=True, text=True, timeout=120
    )
    assert second.returncode == 0, second.stderr
    assert (place / "out" / "index.html").is_file()
    assert finished <= set(place.glob("out/parts/*/manifest.json"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_stop_at_the_start_is_not_swallowed_by_what_is_being_imported(
    place: Path, number: int, code: int
) -> None:
    """The network's module catches every exception, as libraries do around what they may lack, and then goes on."""
    (place / "slow.py").write_text(
        "import pathlib, time\n"
        "pathlib.Path('reached').touch()\n"
        "try:\n    time.sleep(60)\nexcept BaseException:\n    pathlib.Path('swallowed').touch()\n"
    )
    # A suite that runs in the background is started with Ctrl-C ignored, and so would its processes be.
    program = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from gradsiege.cli import main; main(sys.argv[1:])"
    )
    words = "audit --model slow:net --images pictures --out out"
    process = subprocess.Popen(
        [sys.executable, "-c", program, *words.split()],
        cwd=place,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 60
    while not (place / "reached").exists() and process.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(number)
    _, told = process.communicate(timeout=30)
    assert process.returncode == code, told
    assert "before an attack began. Run the same command again to start" in told
    assert not (place / "swallowed").exists()
    assert not (place / "out").exists()

"""The benchmarks: what stands in docs/SPEED.md comes from the rows, and what is compared is the same attack."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks import breaching, comparison, engines, gpu, product, table, turns
from benchmarks.cases import Case
from benchmarks.clocks import processor_seconds
from benchmarks.markers import BEGIN, END
from gradsiege.attacks.engine import autotune
from gradsiege.attacks.engine.autotune import EngineChoice
from gradsiege.attacks.engine.engines import ENGINES
from gradsiege.attacks.engine.objective import Target
from gradsiege.attacks.variables import Variables
from gradsiege.programs import Programs

torch.set_num_threads(1)
TOY = Case("lenet", 2, {"channels": 4}, 16, iterations=6)


class FakeAttacker:
    """The documented interface of an attacker of `breaching`; it keeps what it was given and takes plain gradient steps."""

    def __init__(self, network: nn.Module, loss: nn.Module, settings: Any) -> None:
        self.network, self.loss, self.settings = network, loss, settings
        self.cosines: list[float] = []

    def reconstruct(
        self, payloads: list[Any], shared: list[Any], secrets: dict[str, Any], initial_data: Tensor
    ) -> None:
        with torch.no_grad():
            pairs = zip(self.network.parameters(), payloads[0]["parameters"], strict=True)
            for parameter, value in pairs:
                parameter.copy_(value)
        for _ in range(self.settings["optim.max_iterations"]):
            loss = self.loss(self.network(initial_data), shared[0]["metadata"]["labels"])
            update = torch.autograd.grad(loss, list(self.network.parameters()))
            ours, theirs = (
                torch.cat([value.flatten() for value in values])
                for values in (update, shared[0]["gradients"])
            )
            self.cosines.append(torch.cosine_similarity(ours, theirs, 0).item())


def fake() -> tuple[Any, list[FakeAttacker]]:
    """Return a framework with the interface of `breaching`, and the attackers that it prepared."""
    attackers: list[FakeAttacker] = []

    def prepare(network: nn.Module, loss: nn.Module, settings: Any, setup: Any) -> FakeAttacker:
        attackers.append(FakeAttacker(network, loss, settings))
        return attackers[-1]

    def settings(name: str, overrides: list[str]) -> dict[str, float]:
        assert name == "invertinggradients"
        pairs = [text.split("=") for text in overrides]
        return {key: int(value) if value.isdigit() else float(value) for key, value in pairs}

    attacks = SimpleNamespace(prepare_attack=prepare)
    return SimpleNamespace(attacks=attacks, get_attack_config=settings), attackers


def test_the_tables_of_the_page_on_speed_are_written_from_the_rows() -> None:
    rows = [json.loads(line) for line in table.ROWS.read_text(encoding="utf-8").splitlines()]
    text = table.PAGE.read_text(encoding="utf-8")
    between = text.split(BEGIN)[1].split(END)[0]
    assert between == table.table(rows)


def test_a_comparison_stands_in_the_table_with_its_ratio_and_its_newest_row() -> None:
    def row(way: str, milliseconds: float, reached: int | None) -> dict[str, Any]:
        to_25 = None if reached is None else reached * milliseconds
        return {
            "model": "lenet",
            "victims": 2,
            "way": way,
            "milliseconds": milliseconds,
            "without set-up": 1.0,
            "iterations to 25 dB": reached,
            "milliseconds to 25 dB": to_25,
            "decibels at the end": 20.0,
        }

    old = {"device": "d", "compared": [row("breaching", 99.0, 1), row("gradsiege, loop", 99.0, 1)]}
    new = {
        "device": "d",
        "compared": [row("breaching", 9.0, None), row("gradsiege, compiled", 1.5, 40)],
    }
    lines = table.table([old, new]).splitlines()[-2:]
    assert lines == [
        "| d | lenet, 2 | breaching | 9.0 | 1.0 | 1.00x | not reached | 20.0 |",
        "| d | lenet, 2 | gradsiege, compiled | 1.5 | 1.0 | 6.00x | 60 (40) | 20.0 |",
    ]
    busy = table.table([old, new | {"load": 8.0}]).splitlines()[-1]
    assert busy.startswith("Beside other work: 8 to 8 processes")


def test_the_other_framework_is_given_the_same_network_victims_and_normalisation() -> None:
    """At the truth the gradient of what it was given is the update that it was given, for each victim; elsewhere it is not."""
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    problem, x, target = TOY.build(images=images)
    framework, attackers = fake()
    other = breaching.Breaching(framework, problem, target)
    space = problem.phase.space
    truth = (images - space.mean[:, None, None]) / space.deviation[:, None, None]
    for victim in range(2):
        other.reconstruct(victim, truth[victim : victim + 1], 1, None)
        other.reconstruct(victim, x["x"][victim], 1, None)
    near = [attackers[index].cosines[0] for index in (0, 2)]
    far = [attackers[index].cosines[0] for index in (1, 3)]
    assert min(near) > 0.999999
    assert max(far) < 0.999
    assert attackers[0].settings == {
        "optim.max_iterations": 1,
        "optim.step_size": TOY.rate,
        "regularization.total_variation.scale": TOY.variation,
    }


def test_a_watcher_sees_every_candidate_of_the_other_framework() -> None:
    problem, x, target = TOY.build()
    seen: list[Tensor] = []
    breaching.Breaching(fake()[0], problem, target).reconstruct(0, x["x"][0], 3, seen.append)
    assert len(seen) == 3
    assert torch.equal(seen[0], x["x"][0])


def test_both_are_compared_in_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "TURNS", 1)
    rows = comparison.compared(TOY, fake()[0], "cpu", tmp_path)
    assert [row["way"].split(",")[0] for row in rows] == ["breaching", "gradsiege"]
    theirs, ours = rows
    assert ours["milliseconds"] > ours["without set-up"] > 0
    # The fake never moves; our attack does.
    assert ours["decibels at the end"] > theirs["decibels at the end"]
    assert 0 < ours["same first step"] < 1


def test_set_up_is_spread_over_the_study_and_opening_over_the_cell() -> None:
    """A study of 10 cells of 4 iterations on 5 victims: (100 + 10 (2 + 5 * 3)) / 200 seconds."""
    chosen = product.Product(EngineChoice("loop", 1), lambda x, target: (x, x["x"]), 100.0, 2.0)
    assert chosen.amortised(3.0, 4, 5, cells=10) == pytest.approx((100 + 10 * 17) / 200)


def test_quality_is_the_mean_psnr_of_decoded_pixels() -> None:
    problem, _, _ = TOY.build()
    space = problem.phase.space
    truth = torch.full((2, 3, 16, 16), 0.5)
    errors = torch.tensor([0.1, 0.01]).view(2, 1, 1, 1)
    pixels = (truth + errors - space.mean[:, None, None]) / space.deviation[:, None, None]
    assert comparison.decibels(space, pixels, truth) == pytest.approx(30, abs=1e-3)


def test_a_folder_that_holds_no_checkout_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(breaching.VARIABLE, raising=False)
    assert breaching.checkout() is None
    monkeypatch.setenv(breaching.VARIABLE, str(tmp_path))
    with pytest.raises(SystemExit, match="no package `breaching`"):
        breaching.checkout()
    (tmp_path / "breaching").mkdir()
    (tmp_path / "breaching" / "__init__.py").write_text("NAME = 'planted'\n")
    assert breaching.checkout() == tmp_path
    monkeypatch.delitem(sys.modules, "breaching", raising=False)
    assert breaching.load(tmp_path).NAME == "planted"
    monkeypatch.delitem(sys.modules, "breaching")


def test_processor_time_counts_work_and_not_waiting() -> None:
    begin = processor_seconds()
    time.sleep(0.2)
    assert processor_seconds() - begin < 0.1


def test_the_gpu_path_measures_a_toy_on_the_cpu_and_says_what_found_no_time() -> None:
    short, long = (gpu.EngineRun(TOY, minutes, seconds=0) for minutes in (0, 9))
    rows, left_out = gpu.measure([short, long], "cpu", time.monotonic() + 1)
    assert [row["engine"] for row in rows] == ["textbook loop", "factored", "loop", "vmap"]
    assert all(row["victims"] == 2 and row["milliseconds"] > 0 for row in rows)
    assert left_out == ["engines on lenet (channels 4, 16 px), 2 victims: no time left"]


def test_an_engine_that_cannot_run_is_a_row_with_its_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(x: Variables, target: Target) -> Any:
        raise RuntimeError("planted\nmore")

    monkeypatch.setitem(ENGINES, "vmap", lambda problem: broken)
    rows = engines.rows_of(TOY, "cpu", 0)
    assert [row["engine"] for row in rows if "failed" not in row] == [
        "textbook loop",
        "factored",
        "loop",
    ]
    failed = next(row for row in rows if "failed" in row)
    record = {"device": "d", "threads": 1, "engines": rows}
    assert failed["failed"] == "planted"
    assert "| d, 1 threads | lenet (channels 4, 16 px), 2 | vmap | not run: planted" in table.table(
        [record]
    )


def test_an_engine_that_computes_something_else_is_not_timed() -> None:
    problem, x, target = TOY.build()
    expected = engines.textbook(problem)(x, target)
    engines.check(expected, {"loop": ENGINES["loop"](problem)}, x, target)
    wrong = {"x": -expected}
    with pytest.raises(SystemExit, match="disagree"):
        engines.check(expected, {"loop": lambda x, target: (wrong, expected)}, x, target)


def test_the_plan_needs_no_gpu_and_fits_its_minutes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("sys.argv", ["gpu", "--plan"])
    gpu.main()
    shown = capsys.readouterr().out
    assert "GPU: none" in shown
    minutes = [float(line.split(" min")[0]) for line in shown.splitlines()[1:]]
    assert len(minutes) == len(gpu.RUNS) + 1
    assert sum(minutes) == gpu.MINUTES < 25
    assert min(minutes) > 0
    monkeypatch.setattr("sys.argv", ["gpu"])
    with pytest.raises(SystemExit, match="no GPU"):
        gpu.main()


def test_a_study_ends_when_the_time_is_up_and_its_finished_attacks_count(tmp_path: Path) -> None:
    (tmp_path / "cell").mkdir()
    (tmp_path / "cell" / "reconstructions.safetensors").touch()
    slow = [sys.executable, "-c", "import time; time.sleep(60)"]
    stopped = gpu.study(slow, time.monotonic() + 0.5, tmp_path)
    assert (stopped["ended"], stopped["exit"], stopped["attacks"]) == (False, None, 1)
    assert stopped["seconds"] < 20
    done = gpu.study([sys.executable, "-c", ""], time.monotonic() + 60, tmp_path / "none")
    assert (done["ended"], done["exit"], done["attacks"]) == (True, 0, 0)


def test_a_study_of_many_cells_compiles_once_and_keeps_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The benchmark's study counts a hundred cells, and its programs are in the folder that it names."""
    problem, x, target = TOY.build()
    compiled: list[Path] = []

    class Recorded:
        """An engine that notes where it would keep its program, and computes by the plain loop."""

        def __init__(self, problem: Any, reference: Any, programs: Programs | None) -> None:
            assert programs is not None
            compiled.append(programs.folder)
            self.reference = reference

        def __call__(self, x: Variables, target: Target) -> Any:
            return self.reference(x, target)

    planted = {"loop": 9.0, "factored": 8.0, "vmap": 8.0, "compiled": 1.0}
    calls: list[str] = []

    def clock(evaluate: Any, x: Variables, target: Target) -> float:
        evaluate(x, target)
        return planted[calls[-1]]

    def engine(name: str, problem: Any, programs: Programs | None) -> Any:
        evaluate = (
            Recorded(problem, ENGINES["loop"](problem), programs)
            if name == "compiled"
            else ENGINES[name](problem)
        )

        def named(x: Variables, target: Target) -> Any:
            calls.append(name)
            return evaluate(x, target)

        return named

    monkeypatch.setattr(autotune, "clock", clock)
    monkeypatch.setattr(autotune, "engine", engine)
    monkeypatch.setattr(product, "engine", engine)
    chosen = product.product(problem, x, target, Programs(tmp_path), processor_seconds)
    assert chosen.choice.engine == "compiled"
    assert compiled == [tmp_path, tmp_path], "one for the choice, one for a later cell"
    # Work of one cell alone is too short to compile for: 2 elements, 7 evaluations, 8 seconds.
    calls.clear()
    alone = autotune.choose(autotune.EnginePolicy(programs=Programs(tmp_path)), problem, x, target)
    assert "compiled" not in alone.seconds

"""The tutorial of docs/FEDERATIONS.md as it is printed: a federation in one process, its recordings, and the page."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

import gradsiege as gs

pytest.importorskip("flwr", reason="Flower is not installed; make test-integrations installs it")

from flwr.app import Context, RecordDict
from local_grid import LocalGrid

SCRIPT = Path(__file__).parents[2] / "examples" / "flower" / "audit_federation.py"
BUDGET = gs.Budget("tiny", 1e6, pictures=3, iterations=2, rank=0, distractors=2, trials=1)


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The folder in which the tutorial ran, and its result."""
    folder = tmp_path_factory.mktemp("tutorial")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        script = runpy.run_path(str(SCRIPT))
        script["server_app"](
            LocalGrid(script["client_app"], 3), Context(1, 1, {}, RecordDict(), {})
        )
        return folder, script["audit"](budget=BUDGET)


def test_the_server_recorded_both_rounds(tutorial: tuple[Path, Any]) -> None:
    folder, _ = tutorial
    files = [path.parent.name for path in sorted(folder.glob("uploads/*/client-*"))]
    assert files == ["round-0001"] * 3 + ["round-0002"] * 3


def test_the_page_shows_leakage_by_round(tutorial: tuple[Path, Any]) -> None:
    folder, result = tutorial
    assert [one.situation.stage for one in result.findings] == ["round 1", "round 2"]
    page = (folder / "audit" / "index.html").read_text()
    assert "<h3>By stage of training</h3>" in page
    assert "Stage round 2: " in page
    data = json.loads((folder / "audit" / "audit.json").read_text())
    assert data["worst_case"]["psnr"] == pytest.approx(result.decibel)
    # A picture in the gradient of a small network is told from all others.
    assert result.findings[0].identified.estimate == 1.0

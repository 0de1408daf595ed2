"""A study whose data set was not supplied completes without it, says so, and takes it up when it comes."""

from __future__ import annotations

import pytest
from published import picture

pytestmark = pytest.mark.pipeline


def test_absent_data_are_left_out_and_taken_up_when_they_come(clone, tmp_path):
    workspace = clone.copy(tmp_path / "gradsiege")
    workspace.environment = {"GRADSIEGE_DATA": str(workspace.folder / "supplied")}
    own = "name: image_folder\n    parameters: {path: mine}\n"
    workspace.rewrite("config/tiny.yaml", "name: digits\n", own)
    workspace.rewrite("config/tiny.yaml", "figures: [utility_curve, table_attacks]", "figures: []")
    said = workspace.snakemake()
    assert "Left out: image_folder: data absent: mine/ (a folder)" in said
    report = (workspace.folder / "results/tiny/report.html").read_text()
    assert "data absent: mine/ (a folder)" in report
    assert "federate image_folder/convnet/none/seed0" in report
    assert str(workspace.folder) not in report
    for number in range(60):
        for name in ("ant", "bee"):
            picture(workspace.folder / f"supplied/mine/{name}/{number}.png", number, (16, 16))
    cells = {"fetch_cell": 1, "prior_cell": 1, "federate_cell": 1}
    cells |= dict.fromkeys(("observe_cell", "attack_cell", "score_cell"), 2)
    shards = dict.fromkeys(("fetch", "prior", "federate", "observe", "attack", "score"), 1)
    assert workspace.planned() == {**cells, **shards, "report": 1}

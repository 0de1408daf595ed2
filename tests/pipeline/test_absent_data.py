"""A study whose data set was not supplied completes without it, says so, and takes it up when it comes."""

from __future__ import annotations

import pytest
from published import picture

pytestmark = pytest.mark.pipeline
SECOND = """  - name: image_folder
    parameters: {path: mine}
    size: 16
    counts: {train: 40, test: 20, aux: 40, public: 4, tune: 4, victims: 3}
"""


def test_absent_data_are_left_out_and_taken_up_when_they_come(workspace):
    workspace.environment = {"GRADSIEGE_DATA": str(workspace.folder / "supplied")}
    workspace.rewrite("config/tiny.yaml", "models:\n", SECOND + "models:\n")
    said = workspace.snakemake("results/tiny/report.html")
    assert "Left out: image_folder: data absent: mine/ (a folder)" in said
    report = (workspace.folder / "results/tiny/report.html").read_text()
    assert "data absent: mine/ (a folder)" in report
    assert "image_folder/convnet/none" in report
    assert str(workspace.folder) not in report
    # Only what quotes the study file is new; a second run has nothing left to do.
    assert workspace.planned("results/tiny/report.html") == {}
    for number in range(60):
        for name in ("ant", "bee"):
            picture(workspace.folder / f"supplied/mine/{name}/{number}.png", number, (16, 16))
    planned = workspace.planned()
    assert planned["fetch"] == planned["federate"] == planned["prior"] == 1
    assert planned["attack"] == planned["score"] == 2

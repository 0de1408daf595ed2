"""The examples of config/README.md are read and planned: what stands below one is what it runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from gradsiege.pipeline.cells import attack_cells
from gradsiege.study import parse

TEXT = (Path(__file__).parents[2] / "config" / "README.md").read_text()
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```\n\n```text\n(.*?)^```$", TEXT, flags=re.M | re.S)


def test_no_example_is_passed_over() -> None:
    assert len(EXAMPLES) == TEXT.count("```yaml") == TEXT.count("```text") >= 5


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_runs_what_stands_below_it(number: int, tiny_raw: dict[str, Any]) -> None:
    written, listed = EXAMPLES[number]
    cells = list(attack_cells(parse(tiny_raw | yaml.safe_load(written))))
    attacked = [
        f"{cell.dataset}/{cell.defense}/{cell.threat_model}/{cell.attack}" for cell in cells
    ]
    assert list(dict.fromkeys(attacked)) == listed.split()

"""Files that a reader takes in at once: the stages that adapt the library to a study, and the study of informed attackers."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("file", "most"),
    [
        ("config/adaptive.yaml", 60),
        *((f"src/gradsiege/stages/{name}.py", 100) for name in ("attack", "federate", "score")),
    ],
)
def test_a_file_is_short(file: str, most: int) -> None:
    assert len((ROOT / file).read_text(encoding="utf-8").splitlines()) <= most

"""What figures are drawn from is refused by name where it is damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradsiege.errors import ArtifactError
from gradsiege.pipeline.cells import cells
from gradsiege.report.load import _memory, load_study
from gradsiege.study import Study


def test_memory_is_the_largest_measured_and_damage_is_named(tiny: Study, tmp_path: Path) -> None:
    cell = cells(tiny)["fetch"][0]
    assert _memory(cell, tiny, tmp_path) is None
    path = tmp_path / f"results/tiny/benchmarks/fetch/{cell.key}.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text('{"max_rss": 5.5}\n{"max_rss": "NA"}\n{"max_rss": 7}\n{}\n')
    assert _memory(cell, tiny, tmp_path) == 7.0
    for damaged in ('{"max_rss": 5', "[]\n", '{"max_rss": "x"}\n'):
        path.write_text(damaged)
        with pytest.raises(ArtifactError, match=rf"{path}.* is damaged .* Delete it"):
            _memory(cell, tiny, tmp_path)


def test_a_manifest_that_is_a_folder_is_damage_and_not_a_cell_that_was_not_run(
    study_copy: tuple[Study, Path],
) -> None:
    study, root = study_copy
    manifest = next((root / "results/tiny/score").rglob("manifest.json"))
    manifest.unlink()
    manifest.mkdir()
    with pytest.raises(ArtifactError, match=r"manifest\.json is not a file"):
        load_study(study, root)

"""Columns of a figure of another distribution: described, listed, and never a second meaning of ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from distributions import distribution

from gradsiege.catalogue import lookup
from gradsiege.errors import StudyError
from gradsiege.report.columns import check_columns, dictionary
from gradsiege.report.tidy import tidy


def figure(folder: Path, columns: str) -> None:
    """Add a table with these columns of its own to a folder of distributions."""
    source = f'"""A table."""\nVERSION = 1\nOWN_COLUMNS = {columns}\n'
    distribution(folder, "my-table", "added = added.method", source)
    points = next(folder.glob("*.dist-info")) / "entry_points.txt"
    points.write_text(points.read_text().replace("gradsiege.defenses", "gradsiege.figures"))


def test_columns_of_its_own_are_measured_and_listed(
    tmp_path: Path, install: Callable[[Path], None]
) -> None:
    figure(tmp_path, "{'gain': {'meaning': 'gained', 'unit': 'dB'}, 'way': {'meaning': 'how'}}")
    table = pd.DataFrame({"way": ["a"], "gain": [1.5]})
    with pytest.raises(ValueError, match="OWN_COLUMNS of the figure's module: way, gain"):
        tidy(table)
    install(tmp_path)
    long = tidy(table)
    assert long.loc[0, ["way", "quantity", "value", "unit"]].tolist() == ["a", "gain", 1.5, "dB"]
    assert ("gain", "quantity", "gained", "dB", "") in dictionary()
    assert ("way", "identifier", "how", "", "text") in dictionary()


@pytest.mark.parametrize("columns", ["['gain']", "{'gain': 'gained'}", "{'gain': {'unit': 'dB'}}"])
def test_columns_that_are_not_described_are_refused(
    tmp_path: Path, install: Callable[[Path], None], columns: str
) -> None:
    figure(tmp_path, columns)
    install(tmp_path)
    with pytest.raises(StudyError, match=r"my-table 1\.5 cannot be used: OWN_COLUMNS holds"):
        lookup("figures", "added", "here")


def test_a_column_of_ours_keeps_its_meaning(
    tmp_path: Path, install: Callable[[Path], None]
) -> None:
    figure(tmp_path, "{'psnr': {'meaning': 'another', 'unit': 'dB'}}")
    install(tmp_path)
    with pytest.raises(StudyError, match=r"my-table 1\.5: OWN_COLUMNS gives 'psnr' a meaning"):
        check_columns(lookup("figures", "added", "here"))
    assert "another" not in str(dictionary())

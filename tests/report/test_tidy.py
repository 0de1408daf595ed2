"""Wide tables made long: nothing is lost, nothing stands twice, and what the dictionary lacks is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gradsiege.report.columns import IDENTIFIERS, MEASUREMENT
from gradsiege.report.tidy import tidy

IDS = ["dataset", "defense", "attack", "seed"]


def planted() -> pd.DataFrame:
    """Two attacks on two defenses; one has no interval, one no value at all."""
    nothing = np.nan
    return pd.DataFrame(
        {
            "dataset": "photos",
            "defense": ["none", "none", "tip", "tip"],
            "attack": ["gifd", "dlg", "gifd", "dlg"],
            "seed": [0, 1, 0, 1],
            "psnr": [27.123456789012344, 20.0, 12.0, nothing],
            "psnr_low": [25.0, nothing, 11.0, nothing],
            "psnr_high": [29.0, nothing, 13.0, nothing],
            "victims": [8, 8, 7, 8],
            "identified": [1.0, 0.5, 0.0, 0.0],
            "status": ["complete", "complete", "complete", "failed"],
        }
    )


def widened(long: pd.DataFrame) -> pd.DataFrame:
    """One row per thing that was measured, as before `tidy`."""
    parts = []
    for name, rows in long.groupby("quantity", sort=False):
        kept = rows.set_index(IDS)
        words = kept["text"].ne("").any()
        part = {name: kept["text"] if words else kept["value"]}
        part |= {f"{name}_{end}": kept[end] for end in ("low", "high") if kept[end].notna().any()}
        parts.append(pd.DataFrame(part))
    return pd.concat(parts, axis=1).reset_index()


def test_wide_to_long_and_back_is_the_same_table() -> None:
    back = widened(tidy(planted()))
    pd.testing.assert_frame_equal(back, planted(), check_dtype=False)


def test_a_file_has_identifiers_and_then_the_same_columns_as_every_other() -> None:
    long = tidy(planted())
    assert [*long] == [*IDS, *MEASUREMENT]
    assert set(IDS) <= set(IDENTIFIERS)
    assert [*tidy(planted().iloc[:0])] == [*long]


def test_a_measurement_rests_on_its_count_and_has_its_unit() -> None:
    long = tidy(planted()).set_index(["defense", "attack", "quantity"])
    assert long.loc[("tip", "gifd", "psnr"), ["n", "unit"]].tolist() == [7, "dB"]
    assert long.loc[("tip", "gifd", "identified"), ["n", "unit"]].tolist() == [7, "1"]
    by_quantity = tidy(planted().assign(psnr_n=3)).set_index(["defense", "attack", "quantity"])
    assert by_quantity.loc[("tip", "gifd", "psnr"), "n"] == 3, (
        "its own count goes before that of the table"
    )
    assert by_quantity.loc[("tip", "gifd", "identified"), "n"] == 7


def test_a_missing_value_has_no_row_and_a_limit_alone_has_one() -> None:
    assert tidy(planted()).query("quantity == 'psnr'")["attack"].tolist() == ["gifd", "dlg", "gifd"]
    limit = pd.DataFrame({"defense": ["tip"], "psnr": [np.nan], "psnr_low": [1.5]})
    assert tidy(limit)["low"].tolist() == [1.5]


def test_what_no_attack_changes_stands_once_and_names_none() -> None:
    table = planted().assign(accuracy=[0.5, 0.5, 0.25, 0.25], seeds=3)
    accuracies = tidy(table).query("quantity == 'accuracy'")
    assert accuracies["value"].tolist() == [0.5, 0.25]
    assert accuracies["attack"].isna().all()
    assert accuracies["defense"].tolist() == ["none", "tip"]
    assert accuracies["n"].tolist() == [3, 3]


def test_counts_and_seeds_are_whole_numbers_where_some_rows_have_none() -> None:
    table = pd.concat([planted(), pd.DataFrame({"dataset": ["photos"], "psnr": [3.0]})])
    written = tidy(table).to_csv(index=False)
    assert "photos,none,gifd,0,psnr,27.123456789012344,25.0,29.0,8,dB,\n" in written
    assert "photos,,,,psnr,3.0,,,,dB,\n" in written


@pytest.mark.parametrize("column", ["Psnr", "psnr_lower", "gain"])
def test_a_column_without_an_entry_is_refused_by_name(column: str) -> None:
    with pytest.raises(ValueError, match=f"without an entry in report/columns.py .*: {column}$"):
        tidy(planted().assign(**{column: 1.0}))

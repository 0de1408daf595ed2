"""Wide tables into long ones: one row per measurement, the same columns in every file."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gradsiege.report.columns import MEASUREMENT, Quantity, identifiers, quantities

ENDS = ("low", "high", "n")
# Helper columns: rows of the wide table stay together, their quantities in the order of its columns.
_PLACES = ["_row", "_quantity"]


def tidy(wide: pd.DataFrame) -> pd.DataFrame:
    """Return the measurements of a table, one per row: identifiers, then quantity, value, low, high, n, unit, text.

    wide: one row per thing that was measured. Its columns are identifiers, quantities, and of a quantity `q` the limits
    `q_low` and `q_high` and the number of units `q_n`; without `q_n`, n is the count that the dictionary names. A
    measurement keeps the identifiers that it depends on and stands once; a missing value has no row.

    Raises ValueError for a column that neither the dictionary (`report/columns.py`) nor a figure's module declares.

    >>> table = pd.DataFrame({"defense": ["none"], "psnr": [27.5], "psnr_low": [25.0], "psnr_high": [29.0], "victims": [8]})
    >>> print(tidy(table).to_csv(index=False), end="")
    defense,quantity,value,low,high,n,unit,text
    none,psnr,27.5,25.0,29.0,8,dB,
    none,victims,8.0,,,,count,
    """
    known = quantities()
    ids = [name for name in identifiers() if name in wide]
    unknown = [str(name) for name in wide if name not in ids and not _known(str(name), known)]
    if unknown:
        raise ValueError(
            "columns without an entry in report/columns.py or in OWN_COLUMNS of the figure's module: "
            + ", ".join(unknown)
        )
    named = [str(name) for name in wide if name in known]
    parts = [_of(wide, ids, name, place, known[name]) for place, name in enumerate(named)]
    columns = [*ids, *MEASUREMENT]
    if not parts or wide.empty:
        return pd.DataFrame(columns=columns)
    long = pd.concat(parts, ignore_index=True).sort_values(_PLACES, kind="stable")
    numbers = ["value", "low", "high"]
    long = long[long[numbers].notna().any(axis=1) | (long["text"] != "")][columns]
    long = long.drop_duplicates(ignore_index=True)
    return long.astype({"n": "Int64"}) if len(long) else long


def _known(column: str, known: dict[str, Quantity]) -> bool:
    name, _, end = column.rpartition("_")
    return column in known or (name in known and end in ENDS)


def _of(wide: pd.DataFrame, ids: list[str], name: str, place: int, about: Quantity) -> pd.DataFrame:
    """The rows of one quantity, in the order of the table."""
    part = wide[ids].convert_dtypes()
    part[[other for other in ids if about.of and other not in about.of]] = pd.NA
    missing = pd.Series(np.nan, index=wide.index)
    limits = {end: wide.get(f"{name}_{end}", missing) for end in ENDS}
    counted = limits["n"] if f"{name}_n" in wide else wide.get(about.n, missing)
    return part.assign(
        quantity=name,
        value=missing if about.is_text else wide[name].astype("float64"),
        low=limits["low"].astype("float64"),
        high=limits["high"].astype("float64"),
        n=counted.astype("Float64"),
        unit=about.unit,
        text=wide[name].fillna("").astype(str) if about.is_text else "",
        _row=range(len(wide)),
        _quantity=place,
    )

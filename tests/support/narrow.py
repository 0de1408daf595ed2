"""How wide a table for people can become: data are long, tables are narrow."""

from __future__ import annotations

from types import ModuleType
from unittest import mock

from gradsiege.report.data import StudyData

MOST_COLUMNS = 9


def columns(table: ModuleType, data: StudyData) -> list[str]:
    """Headings of a table for people, those included that one value throughout would fold into its caption."""
    keep = mock.patch.object(
        table, "fold_constant", lambda shown, columns: (shown, ""), create=True
    )
    with keep:
        drawn = table.draw(data)
    return list(drawn.shown)

"""The public data sets to download: those that a person names, or those that a study needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradsiege.datasets import obtained
from gradsiege.datasets.sources.download import WEIGHTS
from gradsiege.errors import StudyError, nearest

if TYPE_CHECKING:
    from gradsiege.study import Study


def chosen(names: list[str], study: Study | None) -> list[tuple[str, dict[str, Any]]]:
    """Return name and parameters of the data sets to download: the named ones, and the public ones that a study needs.

    `WEIGHTS` is also a valid name.

    Raises:
        StudyError: there is nothing to download, or a name is not that of a public data set.
    """
    public, downloads = obtained("downloaded"), list[tuple[str, dict[str, Any]]]()
    for name in names:
        if name not in (*public, WEIGHTS):
            raise StudyError(
                f"{name!r} is not a public data set; {nearest(name, [*public, WEIGHTS])}"
            )
        downloads.append((name, {}))
    for item in study.datasets if study else ():
        if item.name in public:
            downloads.append((item.name, item.parameters))
    if not downloads:
        raise StudyError(
            f"nothing to download; name a data set ({', '.join(public)}), {WEIGHTS} or a --study"
        )
    return downloads

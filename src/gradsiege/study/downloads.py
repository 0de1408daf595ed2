"""Which public data sets a person names, or a study needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradsiege.datasets import obtained
from gradsiege.datasets.sources.download import WEIGHTS
from gradsiege.errors import StudyError, nearest

if TYPE_CHECKING:
    from gradsiege.study import Study


def chosen(names: list[str], study: Study | None) -> list[tuple[str, dict[str, Any]]]:
    """Return name and parameters of what is to be downloaded: what was named, and what a study needs of the public ones.

    `WEIGHTS` is one of the names.

    Raises:
        StudyError: when nothing was chosen, or a name is none of a public data set.
    """
    public, found = obtained("downloaded"), list[tuple[str, dict[str, Any]]]()
    for name in names:
        if name not in (*public, WEIGHTS):
            raise StudyError(f"{name!r} is no public data set; {nearest(name, [*public, WEIGHTS])}")
        found.append((name, {}))
    for item in study.datasets if study else ():
        if item.name in public:
            found.append((item.name, item.parameters))
    if not found:
        raise StudyError(
            f"nothing to download; name a data set ({', '.join(public)}), {WEIGHTS} or a --study"
        )
    return found

"""The bundles of `dvc.yaml`: which parts of a study are shared together, and where each of them goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gradsiege import yaml_files
from gradsiege.errors import StudyError, nearest
from gradsiege.study import Study

BUNDLES = Path("dvc.yaml")
# Name of the remote of what must not be passed on; its bundles' names end in it too.
RESTRICTED = "restricted"


@dataclass(frozen=True)
class Output:
    """A folder or file of a bundle; `remote` is empty where it goes to whatever remote is the default."""

    path: str
    remote: str = ""
    push: bool = True


@dataclass(frozen=True)
class Bundle:
    """One stage of `dvc.yaml` for one study."""

    stage: str
    study: str
    outputs: tuple[Output, ...]

    @property
    def name(self) -> str:
        """What users call it, which is also the target of the Snakefile that makes it.

        >>> Bundle("tables_restricted", "mine", ()).name
        'tables'
        """
        return self.stage.removesuffix(f"_{RESTRICTED}")

    @property
    def address(self) -> str:
        """What DVC calls it.

        >>> Bundle("tables", "quick", ()).address
        'tables@quick'
        """
        return f"{self.stage}@{self.study}"


def bundles_of(study: Study, file: Path) -> list[Bundle]:
    """Return every bundle of a file that lists a study, in the file's order.

    Raises:
        StudyError: the file cannot be read, or holds something else than bundles.
    """
    try:
        content = yaml_files.read_text(file.read_text(encoding="utf-8"))
        lists = {key: value for part in content.get("vars", ()) for key, value in part.items()}
        return [
            Bundle(name, study.study, tuple(_output(out, study.study) for out in stage["outs"]))
            for name, stage in content["stages"].items()
            if study.study in _studies(stage["matrix"]["study"], lists)
        ]
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise StudyError(
            f"{file} does not describe bundles as this program does: {error!r}"
        ) from error


def chosen(names: Sequence[str], study: Study, file: Path) -> list[Bundle]:
    """Return the bundles of a study that are asked for by name, or all of them.

    Raises:
        StudyError: the study stands in no list of the file, or there is no bundle of that name.
    """
    found = {bundle.name: bundle for bundle in bundles_of(study, file)}
    if not found:
        raise StudyError(
            f"{file} lists no bundle of the study {study.study}: add its name to a list at the top of the file, "
            f"`published`, or `{RESTRICTED}` if it uses data that must not be passed on"
        )
    for name in names:
        if name not in found:
            raise StudyError(f"{study.study} has no bundle {name!r}; {nearest(name, [*found])}")
    return [found[name] for name in dict.fromkeys(names or found)]


def _studies(listed: list[str] | str, lists: dict[str, list[str]]) -> list[str]:
    """The studies of a matrix, which are written out or named as ``${list}``."""
    return lists[listed.removeprefix("${").removesuffix("}")] if isinstance(listed, str) else listed


def _output(out: str | dict[str, Any], study: str) -> Output:
    (path, options), *_ = out.items() if isinstance(out, dict) else {out: {}}.items()
    options = options or {}
    name = path.replace("${item.study}", study)
    return Output(name, options.get("remote", ""), options.get("push", True))

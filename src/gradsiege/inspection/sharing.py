"""Whether the bundles of `dvc.yaml` keep what restricted data sets forbid to pass on away from public remotes."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from gradsiege.datasets import supply
from gradsiege.errors import StudyError
from gradsiege.study import Study

BUNDLES = Path("dvc.yaml")
REMOTE = "restricted"
# What holds no image, and nothing that draws one.
SHAREABLE = ("federate", "tables")


def restricted_data(study: Study) -> list[str]:
    """Return the ids of the data sets of a study whose images must not be passed on."""
    return [
        item.id
        for item in study.datasets
        if supply.sharing_of(item.name, item.parameters) == supply.RESTRICTED
    ]


def refusals(study: Study, bundles: Path = BUNDLES) -> list[str]:
    """Return one sentence for every output of a study that would go to a public remote and must not.

    An output is safe if it has `remote: restricted` or `push: false`. A study that no bundle lists is not published.
    """
    restricted = restricted_data(study)
    if not restricted or not bundles.is_file():
        return []
    found = []
    for name, outputs in _bundles(bundles, study.study):
        for path, options in outputs:
            safe = options.get("remote") == REMOTE or options.get("push") is False
            if PurePosixPath(path).name not in SHAREABLE and not safe:
                found.append(
                    f"{bundles.name}: {name} would push {path} to a public remote, but {study.study} uses "
                    f"{', '.join(restricted)} (restricted); list it under {REMOTE}, not under published"
                )
    return found


def _bundles(file: Path, study: str) -> list[tuple[str, list[tuple[str, dict[str, Any]]]]]:
    """Name, and outputs with their options, of every bundle that lists a study."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        lists = {key: value for part in content.get("vars", ()) for key, value in part.items()}
        return [
            (name, [_output(out, study) for out in stage["outs"]])
            for name, stage in content["stages"].items()
            if study in _studies(stage["matrix"]["study"], lists)
        ]
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise StudyError(
            f"{file} does not describe bundles as this program does: {error!r}"
        ) from error


def _studies(listed: list[str] | str, lists: dict[str, list[str]]) -> list[str]:
    """The studies of a matrix, which are written out or named as ``${list}``."""
    return lists[listed.removeprefix("${").removesuffix("}")] if isinstance(listed, str) else listed


def _output(out: str | dict[str, Any], study: str) -> tuple[str, dict[str, Any]]:
    (path, options), *_ = out.items() if isinstance(out, dict) else {out: {}}.items()
    return path.replace("${item.study}", study), options or {}

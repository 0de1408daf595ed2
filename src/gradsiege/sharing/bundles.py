"""The bundles of `dvc.yaml`: the parts of a study that are shared together, and their remotes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from gradsiege import yaml_files
from gradsiege.errors import StudyError, in_words, nearest
from gradsiege.pipeline.cells import cells
from gradsiege.study import Study

BUNDLES = Path("dvc.yaml")
# Name of the remote for data that must not be passed on; its bundles' names end in it too.
RESTRICTED = "restricted"
# Characters that a shell interprets within double quotes, in which `dvc.yaml` puts the path of the study file.
UNQUOTED = {'"', "$", "`", "\\"}


@dataclass(frozen=True)
class Output:
    """A folder or file of a bundle; `remote` is empty if it belongs to the default remote."""

    path: str
    remote: str = ""
    push: bool = True

    @property
    def kind(self) -> str:
        """The stage of its cells, or the name of another output.

        >>> Output("results/quick/report.html").kind
        'report.html'
        """
        return PurePosixPath(self.path).name


@dataclass(frozen=True)
class Bundle:
    """One stage of `dvc.yaml` for one study."""

    stage: str
    study: str
    outputs: tuple[Output, ...]

    @property
    def name(self) -> str:
        """Its name for users, which is also the Snakefile's target that makes it.

        >>> Bundle("tables_restricted", "mine", ()).name
        'tables'
        """
        return self.stage.removesuffix(f"_{RESTRICTED}")

    @property
    def address(self) -> str:
        """Its name for DVC.

        >>> Bundle("tables", "quick", ()).address
        'tables@quick'
        """
        return f"{self.stage}@{self.study}"


def bundles_of(study: Study, file: Path) -> list[Bundle]:
    """Return every bundle of a file that lists a study, in the file's order.

    Raises:
        StudyError: the file cannot be read, or does not describe bundles.
    """
    name = study.study
    try:
        content = _read(file)
        lists = _lists(content)
        return [
            Bundle(stage, name, tuple(_output(out, name) for out in body["do"]["outs"]))
            for stage, body in content["stages"].items()
            if name in lists[body["foreach"].removeprefix("${").removesuffix("}")]
        ]
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise StudyError(
            f"{file} does not describe bundles as this program does: {in_words(error)}"
        ) from error


def chosen(names: Sequence[str], study: Study, file: Path) -> list[Bundle]:
    """Return the bundles of a study that are asked for by name, or all of them.

    Raises:
        StudyError: no list of the file names the study, there is no bundle of that name, or the study has no files for it.
    """
    by_name = {bundle.name: bundle for bundle in bundles_of(study, file)}
    if not by_name:
        raise StudyError(
            f"{file} lists no bundle of the study {study.study}: add it and its file to a list at the top, "
            f"`published`, or `{RESTRICTED}` if it uses data that must not be passed on"
        )
    for name in names:
        if name not in by_name:
            raise StudyError(f"{study.study} has no bundle {name!r}; {nearest(name, [*by_name])}")
        if is_empty(by_name[name], study):
            kept = [other for other, bundle in by_name.items() if not is_empty(bundle, study)]
            raise StudyError(f"the study {study.study} has no {name}; it has {', '.join(kept)}")
    return [by_name[name] for name in dict.fromkeys(names or by_name)]


def is_empty(bundle: Bundle, study: Study) -> bool:
    """Return whether a study has no files for a bundle: no attack reads a prior, or no defense uses a shadow generator."""
    of_study = cells(study)
    return not any(of_study.get(output.kind, [output]) for output in bundle.outputs)


def check_file(study: Study, given: Path, file: Path) -> None:
    """Refuse a study file other than the one that `dvc.yaml`, which is `file`, lists for the study.

    Raises:
        StudyError: it is another file, or one whose path DVC's commands cannot hold.
    """
    listed = next(
        of_list[study.study] for of_list in _lists(_read(file)).values() if study.study in of_list
    )
    if set(listed) & UNQUOTED:
        raise StudyError(
            f"{file} lists {study.study} with the file {listed!r}, which its commands cannot hold: rename it, so that "
            "its path has no double quote, dollar sign, backtick or backslash"
        )
    if (file.parent / listed).resolve() != given.resolve():
        raise StudyError(
            f"{file} lists {study.study} with the file {listed}, not {given}: give that one, or correct the list"
        )


def _read(file: Path) -> Any:
    return yaml_files.read_text(file.read_text(encoding="utf-8"))


def _lists(content: Any) -> dict[str, dict[str, str]]:
    """Return the studies of every list, with their files."""
    lists = {key: value for part in content.get("vars", ()) for key, value in part.items()}
    for key, value in lists.items():
        if not isinstance(value, dict):
            raise ValueError(
                f"`{key}` holds no studies with their files, such as `quick: config/quick.yaml`"
            )
    return lists


def _output(out: str | dict[str, Any], study: str) -> Output:
    (path, options), *_ = out.items() if isinstance(out, dict) else {out: {}}.items()
    options = options or {}
    name = path.replace("${key}", study)
    return Output(name, options.get("remote", ""), options.get("push", True))

"""Stage `publish`: draw figures and tables, and write the report, from stored scores alone."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

from gradsiege import artifacts, catalogue, output
from gradsiege.errors import MEND_COMMAND
from gradsiege.extras import EXTRAS, need
from gradsiege.pipeline.drawings import DICTIONARY, files_of
from gradsiege.report.columns import check_columns
from gradsiege.report.data import Drawn, StudyData
from gradsiege.report.load import load_study
from gradsiege.report.save import columns_file, save
from gradsiege.stages.drawing_names import COLUMNS, REPORT, name_in
from gradsiege.study import Study

DEFAULT = Path("config", "quick.yaml")  # what `snakemake` alone runs


def draw(name: str, data: StudyData) -> Drawn:
    """Draw one figure or table by name."""
    entry = catalogue.lookup("figures", name, "publish")
    check_columns(entry)
    drawn: Drawn = catalogue.module_of(entry).draw(data)
    return drawn


def publish(
    names: list[str], study: Study, root: Path, file: Path, to: Path | None = None
) -> list[Path]:
    """Write the named figures, tables, dictionary or report; the path of one of its files in the study's results counts as its name.

    Args:
        names: names of figures and tables, ``columns`` (the dictionary of their columns), or ``report``, or paths of
            their files.
        study: the study, as it was read from its file.
        root: folder of `results`.
        file: path of the study file, for the commands that the report prints.
        to: folder to write to instead of the study's results.
    """
    need(*EXTRAS["study"])
    names = [name_in(given, study.study) for given in names]
    data = load_study(study, root) if set(names) != {COLUMNS} else None
    folder = to or root / "results" / study.study
    written: list[Path] = []
    for name in names:
        if name == COLUMNS:
            written.append(_columns(folder))
            continue
        assert data is not None
        if name == REPORT:
            written.append(_report(study, data, file, folder))
            continue
        for path in files_of(name):
            artifacts.sweep_up((folder / path).parent, Path(path).stem)
        drawn = draw(name, data)
        if drawn.data.empty:
            output.complain(
                f"{name} is empty: the study has nothing of the kind, or its cells are not finished; gradsiege plan says which are missing"
            )
        written += save(drawn, folder, name)
    return written


def _report(study: Study, data: StudyData, file: Path, folder: Path) -> Path:
    from gradsiege.report.page.page import render

    # Drawn anew: a figure that was saved is laid out already, and its picture on the page would differ by a hair.
    drawn = {name: draw(name, data) for name in study.figures}
    path = folder / "report.html"
    artifacts.sweep_up(path.parent, REPORT)
    commands = _commands(study, file)
    # The page is read elsewhere, so its remedy names the study and no root of this machine.
    not_run = [
        {**item, "why": str(item["why"]).replace(MEND_COMMAND, commands["mend"])}
        for item in data.not_run
    ]
    artifacts.write_text(path, render(replace(data, not_run=not_run), drawn, commands))
    return path


def _columns(folder: Path) -> Path:
    path = folder / DICTIONARY
    artifacts.sweep_up(path.parent, path.stem)
    artifacts.write_text(path, columns_file())
    return path


def _commands(study: Study, file: Path) -> dict[str, str]:
    """Return the commands that the report prints, by name."""
    choice, near = _choice(file), shlex.quote(str(_near(file)))
    # All of them, since a sentence may depend on a table that this report does not show.
    commands = {name: _command(name, study, choice) for name in catalogue.entries("figures")}
    commands["all"] = f"snakemake{choice}"
    commands["report"] = f"snakemake --force results/{study.study}/report.html{choice}"
    commands["verify"] = f"gradsiege verify --study {near}"
    commands["mend"] = MEND_COMMAND + ("" if _near(file) == DEFAULT else f" --study {near}")
    commands["fetch"] = f"gradsiege fetch --study {near}"
    return commands


def _command(name: str, study: Study, choice: str) -> str:
    """Return the command that makes one figure again, though it is there, with only the cells that are missing."""
    return f"snakemake --force results/{study.study}/{files_of(name)[0]}{choice}"


def _choice(file: Path) -> str:
    """Return Snakemake's option that names the study file, relative to the current folder; empty for the default study.

    >>> _choice(Path("config/paper/shadow.yaml")), _choice(Path("config/quick.yaml"))
    (' --config study=config/paper/shadow.yaml', '')
    >>> _choice(Path("my study.yaml"))
    " --config 'study=my study.yaml'"
    """
    near = _near(file)
    return "" if near == DEFAULT else f" --config {shlex.quote(f'study={near}')}"


def _near(file: Path) -> Path:
    here = Path.cwd()
    return file.relative_to(here) if file.is_absolute() and file.is_relative_to(here) else file

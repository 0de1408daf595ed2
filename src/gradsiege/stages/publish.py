"""Stage `publish`: draw figures and tables, and write the report, from stored scores alone."""

from __future__ import annotations

import shlex
from pathlib import Path

from gradsiege import artifacts, catalogue
from gradsiege.report.data import Drawn, StudyData
from gradsiege.report.load import load_study
from gradsiege.report.save import save
from gradsiege.study import Study

REPORT = "report"
DEFAULT = Path("config", "quick.yaml")  # what `snakemake` alone runs


def folder_of(name: str, study: Study, root: Path = Path()) -> Path:
    """Return the folder of a figure or table (whose name starts with ``table_``)."""
    kind = "tables" if name.startswith("table_") else "figures"
    return root / "results" / study.study / kind


def draw(name: str, data: StudyData) -> Drawn:
    """Draw one figure or table by name."""
    entry = catalogue.lookup("figures", name, "publish")
    drawn: Drawn = catalogue.module_of(entry).draw(data)
    return drawn


def publish(names: list[str], study: Study, root: Path, file: Path) -> list[Path]:
    """Write the named figures, tables or report; a path such as ``.../gallery.pdf`` counts as its name.

    Args:
        names: of figures and tables, or ``report``.
        study: the study, as it was read from its file.
        root: folder of `results`.
        file: where the study file lies, for the commands that the report prints.
    """
    data = load_study(study, root)
    written: list[Path] = []
    for given in names:
        name = Path(given).stem
        if name == REPORT:
            written.append(_report(study, data, root, file))
            continue
        artifacts.sweep_up(folder_of(name, study, root), name)
        written += save(draw(name, data), folder_of(name, study, root), name)
    return written


def _report(study: Study, data: StudyData, root: Path, file: Path) -> Path:
    from gradsiege.report.page.page import render

    drawn = {name: draw(name, data) for name in study.figures}
    path, choice = root / "results" / study.study / "report.html", _choice(file)
    # All of them: a sentence may rest on a table that this report does not show.
    commands = {name: _command(name, study, choice) for name in catalogue.entries("figures")}
    near = shlex.quote(str(_near(file)))
    commands["all"] = f"snakemake{choice}"
    commands["report"] = f"snakemake {path.relative_to(root)}{choice}"
    commands["verify"] = f"gradsiege verify --study {near}"
    commands["fetch"] = f"gradsiege fetch --study {near}"
    artifacts.sweep_up(path.parent, REPORT)
    artifacts.write_text(path, render(data, drawn, commands))
    return path


def _command(name: str, study: Study, choice: str) -> str:
    """The command that makes one figure again, and only what it lacks."""
    ending = "csv" if name.startswith("table_") else "pdf"
    return f"snakemake {folder_of(name, study) / name}.{ending}{choice}"


def _choice(file: Path) -> str:
    """What tells Snakemake which study is meant; nothing for the default one. Paths are as seen from here.

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

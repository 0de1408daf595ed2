"""Stage `publish`: draw figures and tables, and write the report, from stored scores alone."""

from __future__ import annotations

import importlib
from pathlib import Path

from gradsiege import artifacts, catalogue
from gradsiege.figures.data import Drawn, StudyData
from gradsiege.figures.load import load_study
from gradsiege.figures.save import save
from gradsiege.study import Study

REPORT = "report"


def folder_of(name: str, study: Study, root: Path = Path()) -> Path:
    """Return the folder of a figure or table (whose name starts with ``table_``)."""
    kind = "tables" if name.startswith("table_") else "figures"
    return root / "results" / study.study / kind


def draw(name: str, data: StudyData) -> Drawn:
    """Draw one figure or table by name."""
    entry = catalogue.lookup("figures", name, "publish")
    drawn: Drawn = importlib.import_module(entry.module).draw(data)
    return drawn


def publish(names: list[str], study: Study, root: Path = Path()) -> list[Path]:
    """Write the named figures, tables or report; a path such as ``.../gallery.pdf`` counts as its name."""
    data = load_study(study, root)
    written: list[Path] = []
    for given in names:
        name = Path(given).stem
        if name == REPORT:
            written.append(_report(study, data, root))
            continue
        written += save(draw(name, data), folder_of(name, study, root), name)
    return written


def _report(study: Study, data: StudyData, root: Path) -> Path:
    from gradsiege.figures.report import render

    drawn = {name: draw(name, data) for name in study.figures}
    path = root / "results" / study.study / "report.html"
    commands = {name: _command(name, study) for name in study.figures}
    commands["all"] = f"snakemake{_choice(study)}"
    commands["report"] = f"snakemake {path.relative_to(root)}{_choice(study)}"
    artifacts.write_text(path, render(data, drawn, commands))
    return path


def _command(name: str, study: Study) -> str:
    """The command that makes one figure again, and only what it lacks."""
    ending = "csv" if name.startswith("table_") else "pdf"
    return f"snakemake {folder_of(name, study) / name}.{ending}{_choice(study)}"


def _choice(study: Study) -> str:
    return "" if study.study == "quick" else f" --config study=config/{study.study}.yaml"

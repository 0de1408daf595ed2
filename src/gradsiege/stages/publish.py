"""Stage `publish`: draw figures and tables, and write the report, from stored scores alone."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path

from gradsiege import artifacts, catalogue
from gradsiege.extras import EXTRAS, need
from gradsiege.pipeline.drawings import DICTIONARY, files_of
from gradsiege.pipeline.runner import describe
from gradsiege.report.columns import check_columns
from gradsiege.report.data import Drawn, StudyData
from gradsiege.report.load import load_study
from gradsiege.report.save import columns_file, save
from gradsiege.study import Study

REPORT, COLUMNS = "report", "columns"
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
    """Write the named figures, tables, dictionary or report; a path such as ``.../gallery.pdf`` counts as its name.

    Args:
        names: names of figures and tables, ``columns`` (the dictionary of their columns), or ``report``.
        study: the study, as it was read from its file.
        root: folder of `results`.
        file: path of the study file, for the commands that the report prints.
        to: folder to write to instead of the study's results.

    Raises:
        Exception: the error of the first name that could not be written; the others are written.
    """
    need(*EXTRAS["study"])
    data = load_study(study, root) if set(names) != {COLUMNS} else None
    drawings = Drawings(study, data, root, file, to or root / "results" / study.study)
    written: list[Path] = []
    failed: Exception | None = None
    for given in names:
        try:
            written += drawings.write(Path(given).stem)
        except Exception as error:
            if len(names) > 1:
                print(f"{Path(given).stem}: {describe(error)}", file=sys.stderr)
            failed = failed or error
    if failed is not None:
        raise failed
    return written


@dataclass
class Drawings:
    """The figures and tables of a study, each drawn once; `data` is not needed for the dictionary of columns."""

    study: Study
    data: StudyData | None
    root: Path
    file: Path
    folder: Path
    drawn: dict[str, Drawn] = field(default_factory=dict)

    def write(self, name: str) -> list[Path]:
        """Write one figure, table, dictionary or report, and return the paths."""
        if name == COLUMNS:
            return [_columns(self.folder)]
        if name == REPORT:
            return [self._report()]
        for path in files_of(name):
            artifacts.sweep_up((self.folder / path).parent, Path(path).stem)
        return save(self._draw(name), self.folder, name)

    def _draw(self, name: str) -> Drawn:
        assert self.data is not None
        if name not in self.drawn:
            self.drawn[name] = draw(name, self.data)
        return self.drawn[name]

    def _report(self) -> Path:
        from gradsiege.report.page.page import render

        assert self.data is not None
        drawn = {name: self._draw(name) for name in self.study.figures}
        path = self.folder / "report.html"
        artifacts.sweep_up(path.parent, REPORT)
        artifacts.write_text(path, render(self.data, drawn, _commands(self.study, self.file)))
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
    commands["report"] = f"snakemake results/{study.study}/report.html{choice}"
    commands["verify"] = f"gradsiege verify --study {near}"
    commands["fetch"] = f"gradsiege fetch --study {near}"
    return commands


def _command(name: str, study: Study, choice: str) -> str:
    """Return the command that makes one figure again, with only the cells that are missing."""
    return f"snakemake results/{study.study}/{files_of(name)[0]}{choice}"


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

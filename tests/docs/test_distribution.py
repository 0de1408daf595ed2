"""A wheel is installed into an environment of its own and used there before it is released."""

from __future__ import annotations

import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from docs.pages import distribution, distribution_installed
from gradsiege.pipeline.workspace import PARTS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REQUIRED = PROJECT["dependencies"]


def asked_by(extra: str) -> list[str]:
    """The requirements of an extra, as a wheel states them."""
    return [
        f"{text.replace(';', ' and')}; extra == '{extra}'"
        for text in PROJECT["optional-dependencies"][extra]
    ]


FOR_STUDIES = asked_by("study")


def wheel(folder: Path, required: list[str]) -> Path:
    """A wheel of the sources as they are, put together by hand, since its builder is not in the lock."""
    path = folder / "gradsiege-0-py3-none-any.whl"
    info = {
        "METADATA": "\n".join(
            ["Metadata-Version: 2.1", "Name: gradsiege", "Version: 0"]
            + [f"Requires-Dist: {text}" for text in required]
            + ["Provides-Extra: study", "Provides-Extra: pipeline"]
        ),
        "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "entry_points.txt": "[console_scripts]\ngradsiege = gradsiege.cli:main\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name in distribution.listed("src/gradsiege"):
            archive.write(ROOT / name, name.removeprefix("src/"))
        for name in (name for part in PARTS for name in distribution.listed(part)):
            archive.write(ROOT / name, f"gradsiege/workspace/{name}")
        for name, text in info.items():
            archive.writestr(f"gradsiege-0.dist-info/{name}", text)
        archive.writestr("gradsiege-0.dist-info/RECORD", "")
    return path


def test_a_wheel_that_asks_for_all_it_needs_runs_what_the_readme_shows(tmp_path: Path) -> None:
    assert distribution_installed.faults(wheel(tmp_path, REQUIRED), tmp_path, README) == []


def test_a_wheel_that_forgets_a_dependency_is_found(tmp_path: Path) -> None:
    few = [text for text in REQUIRED if not text.startswith("typer")]
    (fault,) = distribution_installed.faults(wheel(tmp_path, few), tmp_path, README)
    assert fault.startswith("bare/bin/gradsiege --version ended with 1")
    assert "No module named 'typer'" in fault


def test_a_dependency_that_is_not_there_is_named_by_pip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distribution_installed, "link", lambda names, folder: None)
    (fault,) = distribution_installed.faults(wheel(tmp_path, REQUIRED), tmp_path, README)
    assert "No matching distribution found for lpips" in fault


def test_a_package_that_shadows_the_wheel_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = "    import gradsiege as gs\n    gs.__file__ = '/elsewhere/gradsiege/__init__.py'\n"
    monkeypatch.setattr(distribution_installed, "COMMANDS", ())
    monkeypatch.setattr(distribution_installed, "GIVEN", "")
    (fault,) = distribution_installed.faults(wheel(tmp_path, REQUIRED), tmp_path, elsewhere)
    assert fault.endswith("/elsewhere/gradsiege/__init__.py, which is not the installed wheel")


def test_commands_of_the_readme_run_with_what_studies_need(tmp_path: Path) -> None:
    """The audit itself runs when a distribution is built (`make dist`), since it takes minutes."""
    readme = README.replace("gradsiege audit --model", "gradsiege audit --help --model")
    assert [words[:2] for words in distribution_installed.commands(README)] == [
        ["gradsiege", "claims"],
        ["python", "-c"],
        ["gradsiege", "audit"],
    ]
    built = wheel(tmp_path, [*REQUIRED, *FOR_STUDIES])
    assert distribution_installed.faults_of_commands(built, tmp_path, readme) == []
    assert (tmp_path / "digits.npz").is_file()


def test_a_command_of_the_readme_that_fails_is_found(tmp_path: Path) -> None:
    built = wheel(tmp_path, [*REQUIRED, *FOR_STUDIES])
    readme = "    .venv/bin/gradsiege claims --study config/nowhere.yaml\n"
    (fault,) = distribution_installed.faults_of_commands(built, tmp_path, readme)
    assert fault.startswith("bare/bin/gradsiege claims --study config/nowhere.yaml ended with")


def test_copies_that_other_packages_bring_along_are_not_the_project_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = distribution_installed.distribution_of("packaging").version
    (tmp_path / "packaging-999.dist-info").mkdir()
    (tmp_path / "packaging-999.dist-info/METADATA").write_text("Name: packaging\nVersion: 999\n")
    for path in ([str(tmp_path), *sys.path], [*sys.path, str(tmp_path)]):
        monkeypatch.setattr(sys, "path", path)
        assert distribution_installed.distribution_of("packaging").version == ours


def test_plain_snakemake_runs_in_a_folder_that_the_wheel_laid_out(tmp_path: Path) -> None:
    built = wheel(tmp_path, [*REQUIRED, *FOR_STUDIES, *asked_by("pipeline")])
    assert distribution_installed.faults_of_workflow(built, tmp_path, README) == []

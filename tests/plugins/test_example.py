"""Methods of another distribution are listed, validated, counted in digests and run as ours are."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from distributions import ADDED, EXAMPLE, INFORMED, STUDY, forget, run

import gradsiege as gs
from gradsiege import catalogue
from gradsiege.artifacts import read_manifest
from gradsiege.catalogue import entries
from gradsiege.datasets.sources import supply
from gradsiege.errors import StudyError
from gradsiege.pipeline import cells
from gradsiege.pipeline.cells import Cell, digest, settings
from gradsiege.study import load, parse


@pytest.mark.parametrize("kind", ADDED)
def test_it_is_listed_with_its_ranges_and_its_distribution(
    kind: str,
    site: Path,
    install: Callable[[Path], None],
    verb: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    install(site)
    assert verb("list", kind) == 0
    shown = capsys.readouterr()
    (line,) = [line for line in shown.out.splitlines() if line.startswith(f"{ADDED[kind]}  v1")]
    assert line.endswith("[from gradsiege-example 0.1.0]")
    assert not shown.err
    if kind == "defenses":
        assert "    factor: 0.5  (a number from 0 to 1)" in shown.out
    assert ADDED[kind] in entries(kind)
    assert "Half" not in dir(gs.defenses), "a class of another package is imported from there"


def test_listing_and_planning_import_neither_torch_nor_the_package(site: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from gradsiege.pipeline.cells import cells, digest\nfrom gradsiege.study import load\n"
        f"study = load(Path({str(STUDY)!r}))\n"
        "assert all(len(digest(cell, study)) == 16 for of in cells(study).values() for cell in of)\n"
        "assert not {'torch', 'gradsiege_example'} & set(sys.modules)\n"
    )
    done = run(site, "-c", code)
    assert done.returncode == 0, done.stderr


def test_its_parameters_are_checked_in_study_files_and_in_python(
    site: Path, install: Callable[[Path], None]
) -> None:
    install(site)
    raw = yaml.safe_load(STUDY.read_text())
    raw["defenses"] = [{"name": "half", "parameters": {"factor": 2.0}}]
    with pytest.raises(
        StudyError, match=r"'factor' of half must be a number from 0 to 1, not 2\.0"
    ):
        parse(raw)
    half = catalogue.implementation(entries("defenses")["half"])
    with pytest.raises(ValueError, match="factor must be a number from 0 to 1"):
        half(factor=2.0)


def test_digests_hold_names_and_versions_of_methods_but_no_version_of_the_distribution(
    site: Path, tmp_path: Path, install: Callable[[Path], None]
) -> None:
    changed_site = tmp_path / "site"
    shutil.copytree(site, changed_site)
    install(changed_site)
    study = load(STUDY)
    chosen, before = settings(INFORMED, study), digest(INFORMED, study)
    for section in ("dataset", "model", "defense", "attack"):
        assert chosen[section]["distribution"] == "gradsiege-example"
        assert chosen[section]["version"] == 1
    assert chosen["attack"]["counter_distribution"] == "gradsiege-example"
    metadata = next(changed_site.glob("*.dist-info")) / "METADATA"
    metadata.write_text(metadata.read_text().replace("Version: 0.1.0", "Version: 0.2.0"))
    forget()
    assert entries("defenses")["half"].release == "0.2.0"
    assert digest(INFORMED, study) == before
    for name in ("half", "near_mean", "against_half", "perceptron", "stripes", "mean_image"):
        source = changed_site / f"gradsiege_example/{name}.py"
        source.write_text(source.read_text().replace("VERSION = 1", "VERSION = 2"))
        forget()
        assert digest(INFORMED, study) != before, name
        source.write_text(source.read_text().replace("VERSION = 2", "VERSION = 1"))
    metadata.write_text(metadata.read_text().replace("gradsiege-example", "another-one"))
    forget()
    assert digest(INFORMED, study) != before


def test_our_own_methods_name_no_distribution(
    site: Path, install: Callable[[Path], None], tiny_raw: dict[str, Any]
) -> None:
    study = parse(tiny_raw)
    every = [cell for of_stage in cells.cells(study).values() for cell in of_stage]
    before = [digest(cell, study) for cell in every]
    install(site)
    assert [digest(cell, study) for cell in every] == before
    assert "distribution" not in str([settings(cell, study) for cell in every])


def test_a_study_of_its_methods_runs_and_its_manifests_name_the_release(
    site: Path,
    tmp_path: Path,
    install: Callable[[Path], None],
    run_study: Callable[..., Any],
    verb: Callable[..., int],
) -> None:
    install(site)
    raw = yaml.safe_load(STUDY.read_text())
    study = run_study(raw, tmp_path)
    for cell in (INFORMED, Cell("prior", dataset="stripes", prior="mean_image")):
        manifest = read_manifest(cell.folder(study, tmp_path))
        assert manifest["status"] == "complete"
        assert manifest["environment"]["versions"]["gradsiege-example"] == "0.1.0"
    file = tmp_path / "tiny.yaml"
    assert verb("publish", "table_means", "--study", file, "--root", tmp_path) == 0
    table = (tmp_path / "results/example/tables/table_means.csv").read_text()
    assert {line.split(",")[1] for line in table.splitlines()[1:]} == {
        "near_mean",
        "near_mean-half.doubled",
    }
    data = (tmp_path / "results/example/tables/table_means_data.csv").read_text()
    assert ",psnr_range," in data
    assert verb("publish", "columns", "--study", file, "--root", tmp_path) == 0
    columns = (tmp_path / "results/example/tables/columns.csv").read_text()
    assert "psnr_range,quantity,highest PSNR of an image less the lowest,dB,0 or more\n" in columns


def test_its_own_tests_pass(site: Path, tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE / "tests", tmp_path / "tests")
    options = ("-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path))
    done = run(site, "-m", "pytest", *options, str(tmp_path / "tests"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_without_it_the_study_file_names_the_missing_method() -> None:
    raw = yaml.safe_load(STUDY.read_text())
    with pytest.raises(
        StudyError,
        match=r"unknown name 'stripes' in datasets; .*; or install the package that offers it",
    ):
        parse(raw)
    raw = {**raw, "datasets": [{**raw["datasets"][0], "name": "digits"}], "models": ["lenet"]}
    with pytest.raises(StudyError, match="unknown name 'mean_image' in priors"):
        parse(raw)
    with pytest.raises(StudyError, match="unknown name 'half' in defenses"):
        parse({**raw, "priors": [], "attacks": [{"name": "dlg", "iterations": 1}]})


def test_a_data_set_that_does_not_ship_must_state_its_terms(
    site: Path, tmp_path: Path, install: Callable[[Path], None]
) -> None:
    changed_site = tmp_path / "site"
    shutil.copytree(site, changed_site)
    source = changed_site / "gradsiege_example/stripes.py"
    source.write_text(source.read_text().replace('OBTAINED = "shipped"\n', ""))
    install(changed_site)
    with pytest.raises(StudyError, match="the data set stripes states no `origin`"):
        supply.sharing_of("stripes", {})

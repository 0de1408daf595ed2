"""Methods of other distributions: listed, validated, counted in digests and run like ours; broken ones hurt nobody else."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pandas as pd
import pytest
import yaml

import gradsiege as gs
from gradsiege import catalogue
from gradsiege.artifacts import read_manifest
from gradsiege.catalogue import entries, lookup, refused
from gradsiege.datasets.sources import supply
from gradsiege.errors import StudyError, UsageError
from gradsiege.inspection.checkup import added_methods, other_data
from gradsiege.pipeline import cells
from gradsiege.pipeline.cells import Cell, digest, settings
from gradsiege.report.columns import check_columns, dictionary
from gradsiege.report.tidy import tidy
from gradsiege.study import load, parse

EXAMPLE = Path(__file__).parents[1] / "examples/plugin"
QUICK = Path(__file__).parents[1] / "config/quick.yaml"
STUDY = EXAMPLE / "study.yaml"
ADDED = {
    "defenses": "half",
    "attacks": "near_mean",
    "counters": "half.doubled",
    "priors": "mean_image",
    "models": "perceptron",
    "datasets": "stripes",
    "figures": "table_means",
}
IDS = {
    "dataset": "stripes",
    "model": "perceptron",
    "training_stage": "untrained",
    "protocol": "fedsgd",
}
INFORMED = Cell("attack", **IDS, defense="half", threat_model="informed", attack="near_mean-half.doubled")  # fmt: skip


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the example package was installed, without a network."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(EXAMPLE, folder / "source")
    options = ["--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation"]  # fmt: skip
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(folder / "site")]
    done = subprocess.run([*command, str(folder / "source")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "site"


def forget() -> None:
    """Read anew what is installed."""
    catalogue._known.cache_clear()
    cells._digest.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] in ("gradsiege_example", "added")]:  # fmt: skip
        del sys.modules[name]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], None]]:
    """A function that puts a folder of distributions on the path, until the test ends."""

    def on_path(folder: Path) -> None:
        monkeypatch.syspath_prepend(str(folder))
        forget()

    yield on_path
    monkeypatch.undo()
    forget()


def run(site: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run Python in an environment in which the example is installed."""
    path = os.pathsep.join([str(site), str(Path(catalogue.__file__).parents[1])])
    return subprocess.run(
        [sys.executable, *command],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )


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
    own = tmp_path / "site"
    shutil.copytree(site, own)
    install(own)
    study = load(STUDY)
    chosen, before = settings(INFORMED, study), digest(INFORMED, study)
    for section in ("dataset", "model", "defense", "attack"):
        assert chosen[section]["distribution"] == "gradsiege-example"
        assert chosen[section]["version"] == 1
    assert chosen["attack"]["counter_distribution"] == "gradsiege-example"
    metadata = next(own.glob("*.dist-info")) / "METADATA"
    metadata.write_text(metadata.read_text().replace("Version: 0.1.0", "Version: 0.2.0"))
    forget()
    assert entries("defenses")["half"].release == "0.2.0"
    assert digest(INFORMED, study) == before
    for name in ("half", "near_mean", "against_half", "perceptron", "stripes", "mean_image"):
        source = own / f"gradsiege_example/{name}.py"
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


def figure(folder: Path, columns: str) -> None:
    """Add a table with these columns of its own to a folder of distributions."""
    source = f'"""A table."""\nVERSION = 1\nOWN_COLUMNS = {columns}\n'
    distribution(folder, "my-table", "added = added.method", source)
    points = next(folder.glob("*.dist-info")) / "entry_points.txt"
    points.write_text(points.read_text().replace("gradsiege.defenses", "gradsiege.figures"))


def test_columns_of_its_own_are_measured_and_listed(
    tmp_path: Path, install: Callable[[Path], None]
) -> None:
    figure(tmp_path, "{'gain': {'meaning': 'gained', 'unit': 'dB'}, 'way': {'meaning': 'how'}}")
    table = pd.DataFrame({"way": ["a"], "gain": [1.5]})
    with pytest.raises(ValueError, match="OWN_COLUMNS of the figure's module: way, gain"):
        tidy(table)
    install(tmp_path)
    long = tidy(table)
    assert long.loc[0, ["way", "quantity", "value", "unit"]].tolist() == ["a", "gain", 1.5, "dB"]
    assert ("gain", "quantity", "gained", "dB", "") in dictionary()
    assert ("way", "identifier", "how", "", "text") in dictionary()


@pytest.mark.parametrize("columns", ["['gain']", "{'gain': 'gained'}", "{'gain': {'unit': 'dB'}}"])
def test_columns_that_are_not_described_are_refused(
    tmp_path: Path, install: Callable[[Path], None], columns: str
) -> None:
    figure(tmp_path, columns)
    install(tmp_path)
    with pytest.raises(StudyError, match=r"my-table 1\.5 cannot be used: OWN_COLUMNS holds"):
        lookup("figures", "added", "here")


def test_a_column_of_ours_keeps_its_meaning(
    tmp_path: Path, install: Callable[[Path], None]
) -> None:
    figure(tmp_path, "{'psnr': {'meaning': 'another', 'unit': 'dB'}}")
    install(tmp_path)
    with pytest.raises(StudyError, match=r"my-table 1\.5: OWN_COLUMNS gives 'psnr' a meaning"):
        check_columns(lookup("figures", "added", "here"))
    assert "another" not in str(dictionary())


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


GOOD = '''
    """A defense."""
    from dataclasses import dataclass
    from gradsiege.defenses.base import Defense
    VERSION = 1
    @dataclass(frozen=True)
    class Added(Defense):
        """No parameters."""
        name = "added"
'''


def distribution(
    folder: Path, name: str, point: str = "added = added.method:Added", source: str = GOOD
) -> None:
    """Lay a distribution with one defense into a folder, as an installer does."""
    (folder / "added").mkdir(parents=True, exist_ok=True)
    (folder / "added/method.py").write_text(dedent(source))
    about = folder / f"{name.replace('-', '_')}-1.5.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
    (about / "entry_points.txt").write_text(f"[gradsiege.defenses]\n{point}\n")


BROKEN = {
    "no version": (GOOD.replace("VERSION = 1", "x = 1"), "declares no VERSION"),
    "no number": (GOOD.replace("VERSION = 1", "VERSION = '1.0'"), "make it a whole number"),
    "no class": (GOOD.replace("class Added", "class Other"), "defines no dataclass Added"),
    "no dataclass": (GOOD.replace("@dataclass(frozen=True)", ""), "defines no dataclass Added"),
    "another name": (GOOD.replace('"added"', '"else"'), "the `name` of Added is 'else'"),
    "no Python": ("VERSION = = 1", "invalid syntax"),
    "no literal": (
        GOOD.replace("VERSION = 1", "VERSION = one()"),
        r"VERSION is the expression one\(\)",
    ),
    "a computed default": (
        f"{GOOD}        x: Share = 1 / 2\n",
        "the default of x is the expression 1 / 2; write its value as a literal",
    ),
    "a number without a range": (
        f"{GOOD}        x: float | None = 0.5\n",
        "the parameter x is a number without a range",
    ),
    "not frozen": (GOOD.replace("frozen=True", ""), "Added is not frozen"),
    "no range": (f"{GOOD}        x: list[int] = None\n", r"unsupported .* annotation: list\[int\]"),
}


@pytest.mark.parametrize("why", BROKEN)
def test_a_broken_one_is_a_sentence_where_it_is_used_or_listed(
    why: str,
    tmp_path: Path,
    install: Callable[[Path], None],
    verb: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    source, sentence = BROKEN[why]
    distribution(tmp_path, "my-defense", source=source)
    before = list(entries("defenses"))
    install(tmp_path)
    with pytest.raises(StudyError, match=f"defenses.x: added of .* my-defense 1.5 .*{sentence}"):
        lookup("defenses", "added", "defenses.x")
    assert list(entries("defenses")) == before
    assert lookup("defenses", "gaussian", "here").name == "gaussian"
    assert verb("list", "defenses") == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line == refused("defenses")["added"]


COUNTER = '''
    """Counters."""
    VERSION = 1
    def undone(plan: AttackPlan) -> AttackPlan:
        """Do nothing."""
        return plan
'''


@pytest.mark.parametrize(
    ("name", "source", "sentence"),
    [
        (
            "gausian",
            COUNTER,
            "the defense 'gausian', which no package offers; did you mean 'gaussian'",
        ),
        (
            "gaussian",
            COUNTER.replace(" -> AttackPlan", ""),
            "no public function whose return annotation is AttackPlan",
        ),
    ],
)
def test_counters_that_answer_nothing_are_refused(
    name: str, source: str, sentence: str, tmp_path: Path, install: Callable[[Path], None]
) -> None:
    distribution(tmp_path, "my-counters", f"{name} = added.method", source)
    points = next(tmp_path.glob("*.dist-info")) / "entry_points.txt"
    points.write_text(points.read_text().replace("gradsiege.defenses", "gradsiege.counters"))
    install(tmp_path)
    assert sentence in refused("counters")[name]


@pytest.mark.parametrize("name", ["my half", "my/half", "half.doubled"])
def test_a_name_that_cannot_stand_in_ids_is_refused(
    name: str, tmp_path: Path, install: Callable[[Path], None]
) -> None:
    distribution(tmp_path, "my-defense", f"{name} = added.method:Added")
    install(tmp_path)
    assert (
        f"the name {name!r} of its entry point is not made of letters" in refused("defenses")[name]
    )
    assert name not in entries("defenses")


def test_doctor_names_what_is_broken_and_what_the_study_uses(
    site: Path, tmp_path: Path, install: Callable[[Path], None]
) -> None:
    distribution(tmp_path, "my-defense", source=GOOD.replace("VERSION = 1", ""))
    assert added_methods(load(QUICK)) == []
    install(site)
    install(tmp_path)
    rows = dict(added_methods(load(STUDY)))
    assert "my-defense 1.5 cannot be used" in rows["added"]
    assert rows["half"] == "of gradsiege-example 0.1.0, used by the study (defenses)"
    assert set(rows) == {"added", *ADDED.values()}


def test_a_module_without_a_source_file_is_refused(
    tmp_path: Path, install: Callable[[Path], None]
) -> None:
    distribution(tmp_path, "my-defense", "added = added.compiled:Added")
    install(tmp_path)
    with pytest.raises(StudyError, match=r"module added\.compiled has no source file"):
        lookup("defenses", "added", "here")


def test_one_that_cannot_be_imported_is_planned_and_named_when_it_runs(
    tmp_path: Path, install: Callable[[Path], None]
) -> None:
    distribution(tmp_path, "my-defense", source=f"{GOOD}    import not_there\n")
    install(tmp_path)
    with pytest.raises(
        UsageError, match=r"added of .* my-defense 1\.5 .*No module named 'not_there'"
    ):
        catalogue.implementation(lookup("defenses", "added", "here"))
    importlib.invalidate_caches()


def test_a_data_set_that_does_not_ship_must_state_its_terms(
    site: Path, tmp_path: Path, install: Callable[[Path], None]
) -> None:
    own = tmp_path / "site"
    shutil.copytree(site, own)
    source = own / "gradsiege_example/stripes.py"
    source.write_text(source.read_text().replace('OBTAINED = "shipped"\n', ""))
    install(own)
    with pytest.raises(StudyError, match="the data set stripes states no `origin`"):
        supply.sharing_of("stripes", {})


def test_doctor_goes_on_where_a_data_set_cannot_be_imported(
    tmp_path: Path, install: Callable[[Path], None]
) -> None:
    source = GOOD.replace("defenses.base import Defense", "datasets.base import Dataset")
    distribution(
        tmp_path,
        "my-data",
        source=source.replace("(Defense)", "(Dataset)") + "    import not_there\n",
    )
    points = next(tmp_path.glob("*.dist-info")) / "entry_points.txt"
    points.write_text(points.read_text().replace("gradsiege.defenses", "gradsiege.datasets"))
    install(tmp_path)
    rows = dict(other_data(load(QUICK)))
    assert "No module named 'not_there'" in rows["added"]
    assert len(rows) > 10


def test_a_name_of_ours_is_refused_and_both_distributions_are_named(
    tmp_path: Path, install: Callable[[Path], None]
) -> None:
    source = GOOD.replace('"added"', '"gaussian"')
    distribution(tmp_path, "my-defense", "gaussian = added.method:Added", source)
    install(tmp_path)
    with pytest.raises(StudyError, match=r"in the distributions gradsiege and my-defense 1\.5;"):
        lookup("defenses", "gaussian", "here")
    assert not entries("defenses")["gaussian"].distribution, "what is ours stays ours in Python"


def test_a_name_of_two_distributions_is_refused_and_both_are_named(
    tmp_path: Path, install: Callable[[Path], None]
) -> None:
    distribution(tmp_path, "my-defense")
    distribution(tmp_path, "your-defense")
    install(tmp_path)
    with pytest.raises(StudyError, match=r"distributions my-defense 1\.5 and your-defense 1\.5"):
        lookup("defenses", "added", "here")
    assert "added" not in entries("defenses")

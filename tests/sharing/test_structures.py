"""Every shipped study can be recorded and restored, whatever it has and lacks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from gradsiege.errors import StudyError
from gradsiege.inspection.verification import foreign_paths
from gradsiege.pipeline.cells import cells
from gradsiege.sharing.bundles import BUNDLES, bundles_of, check_file, chosen, is_empty
from gradsiege.sharing.contents import check, knows, recorded
from gradsiege.sharing.share import _fill_up
from gradsiege.study import Study, load, parse

ROOT = Path(__file__).parents[2]
FILES = sorted({*ROOT.glob("config/**/*.yaml")} - {ROOT / "config/claims.yaml"})


def listing(folder: Path, studies: dict[str, str]) -> Path:
    """The repository's bundles, with these studies published."""
    content = yaml.safe_load((ROOT / BUNDLES).read_text())
    content["vars"] = [{"published": studies, "restricted": {}}]
    (folder / BUNDLES).write_text(yaml.safe_dump(content, sort_keys=False))
    return folder / BUNDLES


def fake_results(study: Study, root: Path) -> None:
    """One file for every stage that has cells, one for figures and one for tables if the study draws some, and a report."""
    folder = root / "results" / study.study
    for kind in shape(study):
        (folder / kind).mkdir(parents=True)
        (folder / kind / "file").write_text(f"{study.study} {kind}")
    (folder / "report.html").write_text(study.study)


def shape(study: Study) -> frozenset[str]:
    """Which folders a study has."""
    kinds = {"tables" if name.startswith("table_") else "figures" for name in study.figures}
    return frozenset(kinds | {stage for stage, of_stage in cells(study).items() if of_stage})


def dvc(root: Path, *arguments: str) -> str:
    program = str(Path(sys.executable).with_name("dvc"))
    done = subprocess.run([program, *arguments], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_all_that_dvc_asks_for_is_there(file: Path, tmp_path: Path) -> None:
    """Outputs and dependencies of every bundle of every shipped study, as its own results leave them."""
    study = load(file)
    fake_results(study, tmp_path)
    (tmp_path / "src").symlink_to(ROOT / "src")
    (tmp_path / "config").symlink_to(ROOT / "config")
    bundles = chosen([], study, listing(tmp_path, {study.study: str(file)}))
    _fill_up(bundles, tmp_path)
    stages = yaml.safe_load((tmp_path / BUNDLES).read_text())["stages"]
    for bundle in bundles:
        wanted = [output.path for output in bundle.outputs]
        wanted += stages[bundle.stage]["do"]["deps"]
        for path in wanted:
            named = path.replace("${item}", str(file)).replace("${key}", study.study)
            assert (tmp_path / named).exists(), named


@pytest.mark.pipeline
def test_what_a_study_lacks_is_recorded_and_put_back(tmp_path: Path) -> None:
    """The very calls of DVC that `share` and `restore` make: one study has all, one no attack and no prior, one no figure."""
    names = ("quick", "tip_ordering", "tip_resnet")
    files = {name: ROOT / f"config/{name}.yaml" for name in names}
    studies = [load(path) for path in files.values()]
    shapes = [shape(study) for study in studies]
    assert frozenset.union(*shapes) - frozenset.intersection(*shapes) == {
        *("prior", "shadow", "observe", "attack", "score", "figures")
    }
    file = listing(tmp_path, {name: str(path) for name, path in files.items()})
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\nno_scm = true\n")
    (tmp_path / "src").symlink_to(ROOT / "src")
    (tmp_path / "config").symlink_to(ROOT / "config")
    for study in studies:
        fake_results(study, tmp_path)
    bundles = [bundle for study in studies for bundle in chosen([], study, file)]
    _fill_up(bundles, tmp_path)
    dvc(tmp_path, "commit", "--force", *(bundle.address for bundle in bundles))
    contents = [content for bundle in bundles for content in recorded(tmp_path, bundle)]
    count, wrong = check(contents, tmp_path / ".dvc/cache/files/md5")
    assert wrong == []
    here = sorted(path for path in (tmp_path / "results").rglob("*") if path.is_file())
    assert count == len(here)
    (tmp_path / "results").rename(tmp_path / "before")
    dvc(tmp_path, "checkout", *(bundle.address for bundle in bundles))
    assert sorted(path for path in (tmp_path / "results").rglob("*") if path.is_file()) == here


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_a_study_lacks_is_said_when_it_is_asked_for(file: Path, tmp_path: Path) -> None:
    study = load(file)
    bundles = listing(tmp_path, {study.study: str(file)})
    of_study = cells(study)
    for name, stage in (("priors", "prior"), ("shadows", "shadow")):
        if of_study[stage]:
            assert len(chosen([name], study, bundles)) == 1
        else:
            with pytest.raises(StudyError, match=f"the study {study.study} has no {name}; it has"):
                chosen([name], study, bundles)


def test_an_empty_folder_is_no_foreign_one(tiny: Study, tmp_path: Path) -> None:
    empty = tmp_path / "results/tiny/shadow"
    empty.mkdir(parents=True)
    owned = [cell for of_stage in cells(tiny).values() for cell in of_stage]
    assert foreign_paths(tiny, tmp_path, owned) == []
    (empty / "celeba").mkdir()
    assert foreign_paths(tiny, tmp_path, owned) == [empty / "celeba"]


def test_figures_without_tables_and_tables_without_figures(tiny_raw: dict[str, Any]) -> None:
    for figures in (["gallery"], ["table_attacks"], []):
        study = parse(tiny_raw | {"study": "quick", "figures": figures})
        empty = {
            bundle.name for bundle in bundles_of(study, ROOT / BUNDLES) if is_empty(bundle, study)
        }
        assert empty == {"shadows"}, "scores are in the tables, the report is in the figures"


def test_the_study_file_is_the_listed_one(tiny: Study, tmp_path: Path) -> None:
    file = listing(tmp_path, {"tiny": "config/my tiny.yaml"})
    check_file(tiny, tmp_path / "config/my tiny.yaml", file)
    with pytest.raises(StudyError, match=r"with the file config/my tiny.yaml, not other.yaml"):
        check_file(tiny, Path("other.yaml"), file)
    file = listing(tmp_path, {"tiny": "config/$tiny.yaml"})
    with pytest.raises(StudyError, match=r"'config/\$tiny.yaml', which its commands cannot hold"):
        check_file(tiny, tmp_path / "config/$tiny.yaml", file)


def test_a_list_of_an_earlier_version_says_what_it_lacks(tiny: Study, tmp_path: Path) -> None:
    file = tmp_path / BUNDLES
    file.write_text("vars:\n- published: [tiny]\nstages: {}\n")
    with pytest.raises(StudyError, match="holds no studies with their files, such as `quick:"):
        chosen([], tiny, file)


def test_a_lock_of_an_earlier_version_knows_nothing_of_what_a_study_lacks(
    tiny: Study, tmp_path: Path
) -> None:
    file = listing(tmp_path, {"tiny": "config/tiny.yaml"})
    known = {"tables@tiny": {"cmd": "x", "outs": [{"path": "p", "md5": "0" * 32}]}}
    bundles = {bundle.name: bundle for bundle in chosen([], tiny, file)}
    assert not knows(tmp_path, bundles["tables"])
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": known}))
    assert knows(tmp_path, bundles["tables"])
    assert not knows(tmp_path, bundles["shadows"])

"""The study files of the repository: they load, and hold what they say they hold."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from pathlib import Path

import pytest

from gradsiege.inspection.planning import plan
from gradsiege.pipeline.cells import cells
from gradsiege.study import load

CONFIG = Path(__file__).parents[2] / "config"
FILES = [path for path in sorted(CONFIG.rglob("*.yaml")) if "study:" in path.read_text()]
DEFENSES, DIRICHLET = CONFIG / "defenses.yaml", CONFIG / "defenses_dirichlet.yaml"
OURS = [DEFENSES, DIRICHLET, CONFIG / "paper" / "shadow.yaml"]
# What makes more noise when it is raised, or lowered.
NOISE = {
    "gaussian": "sigma",
    "laplace": "scale",
    "dp_sgd": "noise_multiplier",
    "tip": "epsilon",
    "shadow": "amplitude",
}


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_every_study_file_loads_and_has_cells(file: Path) -> None:
    study = load(file)
    assert cells(study)["federate"]
    assert study.description


@pytest.mark.parametrize("file", OURS, ids=lambda path: path.stem)
def test_no_attack_of_a_plan_will_be_refused_unless_it_is_excluded(
    file: Path, tmp_path: Path
) -> None:
    printed = plan(load(file), tmp_path)
    refused = [line for line in printed.splitlines() if line.startswith("Will be refused")]
    assert all(
        "gradinversion_private_statistics under labels_inferred" in refusal for refusal in refused
    )


def test_noise_is_swept_over_three_decades() -> None:
    study = load(DEFENSES)
    for name, parameter in NOISE.items():
        values = [item.parameters[parameter] for item in study.defenses if item.name == name]
        assert math.log10(max(values) / min(values)) >= 3 - 1e-9, name


@pytest.mark.parametrize("file", [DEFENSES, DIRICHLET], ids=lambda path: path.stem)
def test_three_seeds_but_for_the_defenses_that_the_deviations_name(file: Path) -> None:
    study = load(file)
    seeds = defaultdict(set)
    for cell in cells(study)["federate"]:
        seeds[cell.dataset, cell.model, cell.defense].add(cell.seed)
    few = {defense for (_, _, defense), of_defense in seeds.items() if len(of_defense) < 3}
    assert few == {"soteria", "censor"}
    assert "Soteria and CENSOR are trained with one seed" in study.deviations[0].what


@pytest.mark.parametrize("file", [DEFENSES, DIRICHLET], ids=lambda path: path.stem)
def test_dp_sgd_meets_no_batch_norm_and_has_an_undefended_twin(file: Path) -> None:
    study = load(file)
    trained = {(cell.model, cell.defense) for cell in cells(study)["federate"]}
    private = {pair for pair in trained if pair[1].startswith("dp_sgd")}
    assert private
    assert {model for model, _ in private} == {"convnet_group"}
    assert ("convnet_group", "none") in trained
    assert study.one("models", "convnet_group").parameters["norm"] == "group"


def test_the_dirichlet_study_differs_in_the_partition_and_attacks_nothing() -> None:
    iid, other = load(DEFENSES), load(DIRICHLET)
    changes = {"partition": "dirichlet", "alpha": other.federation.alpha}
    assert other.federation == iid.federation.model_copy(update=changes)
    assert {item.name for item in other.defenses} == {item.name for item in iid.defenses}
    assert not cells(other)["attack"]


def test_the_artifact_appendix_has_a_row_for_every_study_file() -> None:
    """A row states a measured time, or says that its study was not run or its time estimated."""
    text = (CONFIG.parent / "docs" / "ARTIFACT.md").read_text()
    rows = re.findall(r"^\| `([\w/]+\.yaml)` \| [\d,]+ \| (.+)$", text, flags=re.M)
    timed = [name for name, told in rows if re.search(r"\d min\b|estimated|not run|as `make", told)]
    assert sorted(timed) == sorted(path.relative_to(CONFIG).as_posix() for path in FILES)


def test_the_artifact_appendix_counts_the_cells_of_every_study_file() -> None:
    text = (CONFIG.parent / "docs" / "ARTIFACT.md").read_text()
    rows = re.findall(r"^\| `([\w/]+\.yaml)` \| ([\d,]+) \|", text, flags=re.M)
    told = {name: int(count.replace(",", "")) for name, count in rows}
    assert len(told) == len(rows) == len(FILES)
    # The largest takes long to lay out; tests/study_digests.json, from which the appendix is made, holds it.
    del told["paper/arena.yaml"]
    planned = {name: sum(map(len, cells(load(CONFIG / name)).values())) for name in told}
    assert told == planned

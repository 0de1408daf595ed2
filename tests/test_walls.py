"""The walls: what may import what, and that no truth is in anything an attack opens."""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from torch import Tensor

import gradsiege
from gradsiege import artifacts, cli
from gradsiege.images import load_images
from gradsiege.pipeline.cells import cells, upstream
from gradsiege.pipeline.stage import STAGES
from gradsiege.protocol.observation import load_observation, load_truth
from gradsiege.protocol.threat_model import ThreatModel, strip
from gradsiege.study import Study

Finished = tuple[Study, Path]
ROOT = Path(__file__).parents[1]
SOURCE = Path(gradsiege.__file__).parent
MODULES = sorted(SOURCE.rglob("*.py"))
STAGE = SOURCE / "stages" / "attack.py"
ATTACKS = [path for path in MODULES if "attacks" in path.parts or path == STAGE]
# What chooses an attack's settings opens the attacker's own images, and no more of a victim than an attack does.
CHOICE = [path for path in MODULES if "tuning" in path.parts or path.stem == "chosen_settings"]


def names_in(path: Path) -> set[str]:
    """Every name, attribute, import and text constant of a module, docstrings left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.alias):
            found |= {node.name, node.name.split(".")[-1], node.asname or ""}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docstrings
        ):
            found.add(node.value)
    return found


def test_the_contracts_of_import_linter_are_kept() -> None:
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command as run; run()",
    ]
    done = subprocess.run(
        [*command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    assert f"Contracts: {len(contracts)} kept, 0 broken." in done.stdout
    names = {contract["name"] for contract in contracts}
    assert "Attacks never reach the truth" in names


@pytest.mark.parametrize("path", [*ATTACKS, *CHOICE], ids=str)
def test_no_attack_mentions_the_truth(path: Path) -> None:
    found = names_in(path)
    assert not found & {"load_truth", "save_truth", "TRUTH", "truth"}
    assert not [
        name for name in found if "truth.safetensors" in name or "victims.safetensors" in name
    ]


def test_only_the_scores_read_the_truth() -> None:
    readers = [path.relative_to(SOURCE) for path in MODULES if "load_truth" in names_in(path)]
    assert readers == [Path("stages/score.py")]


def test_only_the_client_side_writes_the_truth() -> None:
    writers = [path.relative_to(SOURCE) for path in MODULES if "save_truth" in names_in(path)]
    assert writers == [Path("stages/observe.py")]


def test_attacks_open_no_file_themselves() -> None:
    # The stage opens an observation and a prior; recipes, engine and labels see tensors alone.
    for path in ATTACKS:
        if path != STAGE:
            found = names_in(path)
            assert not found & {
                "open",
                "artifacts",
                "read_tensors",
                "safetensors",
                "load_images",
            }, path


def test_no_option_of_the_attack_leads_to_the_truth() -> None:
    options = set(inspect.signature(cli.stages.attack).parameters)
    assert options == {
        "cell",
        "study",
        "root",
        "time_budget",
        "observation",
        "to",
        "engine",
        "device",
        "staged",
    }


def test_an_observation_is_made_in_its_own_module_alone() -> None:
    # Elsewhere `of`, `of_updates`, `observe` and `replace` make one, and know which updates are usable.
    files = [*MODULES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    makers = {
        path
        for path in files
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", getattr(node.func, "id", "")) == "Observation"
    }
    assert makers == {SOURCE / "protocol" / "observation.py"}


def test_nothing_draws_from_a_global_generator() -> None:
    # `seeds.global_state` seeds them for networks and defenses of others, and nobody else does.
    users = {path for path in MODULES if "global_state" in names_in(path)}
    assert users == {SOURCE / "federated/observing.py", SOURCE / "attacks/base.py"}
    for path in MODULES:
        if path == SOURCE / "seeds.py":
            continue
        found = names_in(path)
        assert not {"manual_seed_all", "default_generator"} & set(found)
        text = path.read_text()
        for word in ("np.random.seed", "np.random.rand", "torch.manual_seed(", "import random\n"):
            assert word not in text, f"{path} uses {word}"


# ---- the files of a study that has run ----


def attack_inputs(study: Study, root: Path) -> dict[Path, dict[str, Tensor]]:
    """Every tensor of every file in the folders that attack cells read, the sealed truth left out."""
    found = {}
    for cell in cells(study)["attack"]:
        for other in upstream(cell, study):
            assert other.stage in ("observe", "prior")
            name = {"observe": "observation", "prior": "prior"}[other.stage]
            path = other.folder(study, root) / f"{name}.safetensors"
            found[path] = artifacts.read_tensors(path, name)[0]
    return found


def victims(study: Study, root: Path) -> Tensor:
    """All private images of the study, float64 ``[n, c, h, w]``."""
    images = [
        load_truth(cell.folder(study, root) / "truth.safetensors")[0].flatten(0, 1)
        for cell in cells(study)["observe"]
    ]
    return torch.cat(images).double()


def likeness(tensor: Tensor, image: Tensor) -> float:
    """Largest |correlation| of an image with any window of a tensor's values of the same length."""
    values, wanted = tensor.detach().double().flatten(), image.flatten()
    if len(values) < len(wanted):
        return 0.0
    windows = values.unfold(0, len(wanted), max(1, len(wanted) // 8))
    windows = windows - windows.mean(1, keepdim=True)
    wanted = wanted - wanted.mean()
    norms = windows.norm(dim=1) * wanted.norm()
    return float((windows @ wanted / norms.clamp_min(1e-12)).abs().max())


def test_the_measure_finds_an_image_that_is_there(finished_study: Finished) -> None:
    image = victims(*finished_study)[0]
    hidden = torch.cat([torch.zeros(image.numel()), 3 - 2 * image.flatten(), torch.zeros(5)])
    assert likeness(hidden, image) > 0.99


def test_no_truth_is_in_what_an_attack_reads(finished_study: Finished) -> None:
    study, root = finished_study
    inputs, images = attack_inputs(study, root), victims(study, root)
    # Four observations and a prior.
    assert len(inputs) == 5
    for path, tensors in inputs.items():
        for name, tensor in tensors.items():
            for image in images:
                assert likeness(tensor, image) < 0.9, f"{path}: {name} resembles a victim"
                # One channel of the image, for what might store it without colours.
                assert likeness(tensor, image[0]) < 0.9, f"{path}: {name} resembles a victim"


def test_no_bytes_of_the_truth_are_in_what_an_attack_reads(finished_study: Finished) -> None:
    study, root = finished_study
    rows = []
    for cell in cells(study)["observe"]:
        images, _, _ = load_truth(cell.folder(study, root) / "truth.safetensors")
        row = images[..., images.shape[-2] // 2, :].flatten(0, -2)
        rows += [one.numpy().tobytes() for one in row.float() if one.std() > 0]
        rows += [(one * 255).round().byte().numpy().tobytes() for one in row if one.std() > 0]
    assert rows
    for path in attack_inputs(study, root):
        content = path.read_bytes()
        assert not any(row in content for row in rows), path


def test_headers_of_what_an_attack_reads_name_no_victim(finished_study: Finished) -> None:
    study, root = finished_study
    for path in attack_inputs(study, root):
        kind = path.stem
        metadata = artifacts.read_header(path, kind)
        allowed = {
            "observation": {"model", "images", "training", "disclosure", "failures"},
            "prior": {"name", "card"},
        }
        assert set(metadata) <= allowed[kind]


def test_no_labels_are_left_after_stripping(finished_study: Finished) -> None:
    study, root = finished_study
    path = cells(study)["observe"][0].folder(study, root) / "observation.safetensors"
    seen = load_observation(path)
    assert seen.labels is not None, "labels are there to be granted"
    inferring = strip(
        seen, ThreatModel(id="x", labels="inferred", protocol=False, disclosure=False)
    )
    assert (inferring.labels, inferring.training, inferring.disclosure) == (None, None, None)
    granted = strip(seen, ThreatModel(id="x", labels="given", protocol=True, disclosure=True))
    assert granted.labels is seen.labels
    assert granted.training is not None
    assert granted.disclosure is not None
    held = [name for name, value in vars(inferring).items() if isinstance(value, Tensor)]
    assert held == [], "every tensor is a parameter, a buffer or an update"


def test_a_stripped_observation_reveals_its_labels_only_through_the_update(
    finished_study: Finished,
) -> None:
    """Two observations that differ in their stored labels alone lead to the same reconstruction."""
    from dataclasses import replace

    from gradsiege.attacks import labels as rules

    study, root = finished_study
    path = cells(study)["observe"][0].folder(study, root) / "observation.safetensors"
    seen = load_observation(path)
    assert seen.labels is not None
    lied = replace(seen, labels=(seen.labels + 1) % 10)
    threat = ThreatModel(id="x", labels="inferred")
    first, second = strip(seen, threat), strip(lied, threat)
    assert rules.infer(first.update, first.images_per_client).equal(
        rules.infer(second.update, second.images_per_client)
    )
    assert vars(first).keys() == vars(second).keys()
    assert first.labels is second.labels is None


def test_an_attack_runs_with_every_other_folder_gone(
    study_copy: Finished, verb: object, tmp_path: Path
) -> None:
    """What an attack needs is an observation and a prior: no data, no truth, no federation."""
    import shutil

    study, root = study_copy
    cell = next(cell for cell in cells(study)["attack"] if cell.attack == "gi_pip")
    folder = cell.folder(study, root)
    before = (folder / "reconstructions.safetensors").read_bytes()
    for stage in set(STAGES) - {"observe", "prior"}:
        shutil.rmtree(root / "results" / study.study / stage, ignore_errors=True)
    for truth in root.rglob("truth.safetensors"):
        truth.unlink()
    assert callable(verb)
    assert verb("attack", cell.key, "--study", root / "tiny.yaml", "--root", root) == 0
    assert (folder / "reconstructions.safetensors").read_bytes() == before


def test_roles_of_the_data_share_no_image(finished_study: Finished) -> None:
    study, root = finished_study
    folder = cells(study)["fetch"][0].folder(study, root)
    roles = {
        path.stem: {image.numpy().tobytes() for image in load_images(path)[0][:]}
        for path in folder.glob("*.safetensors")
    }
    names = sorted(roles)
    assert len(names) == 6
    for place, first in enumerate(names):
        for second in names[place + 1 :]:
            assert not roles[first] & roles[second], f"{first} and {second} share an image"


def test_a_child_process_sees_the_same_package() -> None:
    # The import linter and the killed attack run in children; they must judge this very source.
    code = "import gradsiege; print(gradsiege.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert Path(done.stdout.strip()) == Path(gradsiege.__file__)

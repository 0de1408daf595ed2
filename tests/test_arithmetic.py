"""Equal bytes on every x86-64 processor with AVX2; elsewhere manifests say what computed."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gradsiege import arithmetic, artifacts
from gradsiege.inspection import verify
from gradsiege.pipeline.cells import parse_key
from gradsiege.study import Study

PACKAGE = Path(arithmetic.__file__).parent
PROGRAM = Path(__file__).parent / "support" / "portable_numbers.py"
# First digits of the hashes, recorded once. Another release of PyTorch may round otherwise, and gets a line of its own.
RECORDED = {
    "2.13.0": {
        "training": "611d8de8b5a36e09",
        "prior autoencoder": "432da1e9b227820c",
        "prior class_conditional_gaussian": "6b5ef9bd52ce5fdc",
        "prior denoiser": "58b5ec98716791d3",
        "prior shadow_generator": "d7a985b3ba6cae1c",
        "prior staged_gan": "b2ea8126dbdce181",
        "attack signed": "b03faf8052097f22",
        "attack unsigned": "331bcf511e17b81f",
        "attack gi_pip": "91742569faaa771a",
        "attack gradinversion": "d1f2e412e173bd5a",
        "attack maximum_a_posteriori": "f7275c238db3cec3",
    },
}
NOT_HASHED = {"torch", "arithmetic"}
CPUINFO = "processor\t: 0\nmodel name\t: A processor\nflags\t\t: fpu {flags} sse2\n"


@pytest.fixture
def no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in arithmetic.PORTABLE:
        monkeypatch.delenv(name, raising=False)


def numbers(**variables: str) -> dict[str, Any]:
    """Run the small training and the small attack in a process of their own."""
    kept = {name: value for name, value in os.environ.items() if name not in arithmetic.PORTABLE}
    done = subprocess.run(
        [sys.executable, PROGRAM],
        env=kept | variables,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.skipif(
    not arithmetic.has_avx2(), reason="the recorded numbers are those of x86-64 with AVX2"
)
def test_trainings_priors_and_attacks_have_the_recorded_bytes() -> None:
    here = numbers(OMP_NUM_THREADS="2")
    if here["torch"] not in RECORDED:
        pytest.skip(f"numbers were recorded with PyTorch {sorted(RECORDED)}, not {here['torch']}")
    assert arithmetic.is_portable(here["arithmetic"])
    assert {name: here[name] for name in here.keys() - NOT_HASHED} == RECORDED[here["torch"]]


def test_square_roots_are_rounded_correctly() -> None:
    """NumPy's square root is the processor's, which IEEE 754 wants rounded correctly."""
    x = torch.rand(100_000, generator=torch.Generator().manual_seed(0)) + 1e-3
    exact = torch.from_numpy(np.sqrt(x.numpy()))
    assert torch.equal(arithmetic.square_root(x), exact)


def test_square_roots_and_optimizers_of_the_package_are_portable() -> None:
    """`arithmetic.square_root` alone takes square roots of tensors, and PyTorch's Adam is fused."""
    sources = {path: path.read_text() for path in PACKAGE.rglob("*.py")}
    rooted = [
        path.name for path, text in sources.items() if ".sqrt()" in text or "torch.sqrt(" in text
    ]
    assert rooted == ["arithmetic.py"]
    trees = [ast.parse(text) for text in sources.values()]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    adams = [call for call in calls if ast.unparse(call.func).startswith("torch.optim.Adam")]
    assert len(adams) > 5
    assert all("fused" in [keyword.arg for keyword in call.keywords] for call in adams)


def test_other_instructions_are_noticed() -> None:
    """The hashes tell instructions apart, and the description says which ones computed."""
    narrow = numbers(ATEN_CPU_CAPABILITY="default")
    assert not arithmetic.is_portable(narrow["arithmetic"])
    assert narrow["arithmetic"]["ATEN_CPU_CAPABILITY"] == "default"
    assert narrow["training"] != RECORDED.get(narrow["torch"], {}).get("training")


@pytest.mark.usefixtures("no_choice")
def test_a_choice_of_the_user_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(CPUINFO.format(flags="avx2 fma bmi2"))
    monkeypatch.setenv("MKL_CBWR", "AVX2")
    arithmetic.make_portable(cpuinfo)
    assert {name: os.environ[name] for name in arithmetic.PORTABLE} == {
        **arithmetic.PORTABLE,
        "MKL_CBWR": "AVX2",
    }


@pytest.mark.usefixtures("no_choice")
@pytest.mark.parametrize("text", ["", CPUINFO.format(flags="avx"), None])
def test_other_processors_are_left_alone(tmp_path: Path, text: str | None) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    if text is not None:
        cpuinfo.write_text(text)
    arithmetic.make_portable(cpuinfo)
    assert not set(arithmetic.PORTABLE) & set(os.environ)


def test_manifests_name_the_instructions_and_verify_says_when_they_are_mixed(
    study_copy: tuple[Study, Path],
) -> None:
    study, root = study_copy
    assert "instructions" not in verify(study, root)[0]
    key = "digits/lenet/none/untrained/fedsgd/seed0"
    folder = parse_key("score", key, study).folder(study, root)
    content = artifacts.read_manifest(folder)
    assert set(content["environment"]["arithmetic"]) == {"processor", *arithmetic.PORTABLE}
    wide = {"processor": "Wide one", **arithmetic.PORTABLE, "ATEN_CPU_CAPABILITY": "avx512"}
    content["environment"]["arithmetic"] = wide
    # As if another machine had written it.
    (folder / artifacts.MANIFEST).write_text(json.dumps(content))
    report, sound = verify(study, root)
    assert sound, report
    assert "1 with avx512 of Wide one" in report

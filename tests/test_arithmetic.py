"""Equal bytes on every x86-64 processor with AVX2; elsewhere manifests say what computed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gradsiege import arithmetic, artifacts
from gradsiege.inspection import verify
from gradsiege.pipeline.cells import parse_key
from gradsiege.study import Study

PROGRAM = Path(__file__).parent / "support" / "portable_numbers.py"
# Recorded once. Another release of PyTorch may round otherwise, and gets a line of its own.
RECORDED = {
    "2.13.0": {
        "training": "611d8de8b5a36e0904168dfe33e429b39cfaf350855ad6aa7b7f8d7c3085df45",
        "attack": "5c2fc41d6c8ed7c0985e4ff308644b65c88a5b496a53f852680f4c61fa054f47",
    },
}
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
def test_a_training_and_an_attack_have_the_recorded_bytes() -> None:
    here = numbers(OMP_NUM_THREADS="2")
    if here["torch"] not in RECORDED:
        pytest.skip(f"numbers were recorded with PyTorch {sorted(RECORDED)}, not {here['torch']}")
    assert arithmetic.is_portable(here["arithmetic"])
    assert {name: here[name] for name in ("training", "attack")} == RECORDED[here["torch"]]


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

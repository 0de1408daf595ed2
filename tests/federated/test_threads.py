"""Verbs compute on one thread, whatever the environment grants; on two of them the sums, and so the results, would be others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gradsiege import arithmetic, artifacts
from gradsiege.pipeline.cells import parse_key
from gradsiege.study import Study, load

FEDERATION = "digits/convnet/none/seed0"
OBSERVATION = "digits/convnet/none/untrained/fedsgd/seed0"
CELLS = {
    "fetch": "digits",
    "federate": FEDERATION,
    "observe": OBSERVATION,
    "attack": f"{OBSERVATION}/labels_inferred/inverting_gradients",
}
MEASURED = ("federate", "attack")
TRAINED = ("utility.parquet", "untrained.safetensors", "early.safetensors", "late.safetensors")
ATTACKED = ("reconstructions.safetensors", "trace.parquet")
COMMAND = ("-m", "gradsiege")
# The command without its choice of one thread, and with the same instructions.
UNBOUND = (
    "-c",
    "import sys; from gradsiege import arithmetic; arithmetic.make_portable(); "
    "import torch; torch.set_num_threads = lambda count: None; "
    "from gradsiege.cli import main; main(sys.argv[1:])",
)
RUNS = {"one": (COMMAND, 1), "two": (COMMAND, 2), "unbound": (UNBOUND, 2)}
LIBRARY = """
import hashlib, torch, gradsiege as gs
torch.manual_seed(0)
model = gs.models.ConvNet(width=8).network(4, 3, 16)
seen = gs.observe(model, torch.rand(16, 3, 16, 16), torch.arange(16) % 4, images_per_client=16)
images = gs.attacks.InvertingGradients(iterations=5, signed=False)(seen).images
print(torch.get_num_threads(), hashlib.sha256(images.numpy().tobytes()).hexdigest())
"""


def python(threads: int, *arguments: str | Path) -> str:
    """Run Python in a new process whose environment grants so many threads, and return its output."""
    count = str(threads)
    # Threads that wait do not take the core of those that work.
    granted = {"OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count, "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **granted},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


Ran = tuple[Study, dict[str, Path]]


@pytest.fixture(scope="module")
def ran(
    fresh_tiny: Callable[[], dict[str, Any]],
    verb: Callable[..., int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Ran:
    """The study, and the roots of its cells: by the command on one thread, on two, and unbound on two.

    The stages `federate` and `attack` run in new processes.
    """
    raw = fresh_tiny() | {"defenses": ["none"], "priors": [], "training_stages": ["untrained"]}
    raw["models"] = [{"name": "convnet", "parameters": {"width": 8}}]
    raw["federation"] |= {"clients": 2, "clients_per_round": 1, "rounds": 2, "batch_size": 16}
    attack = {"name": "inverting_gradients", "iterations": 5, "parameters": {"signed": False}}
    raw |= {"attacks": [attack], "figures": []}
    roots = {}
    for name, (program, threads) in RUNS.items():
        root = roots[name] = tmp_path_factory.mktemp(name)
        file = root / "tiny.yaml"
        file.write_text(yaml.safe_dump(raw))
        for stage, key in CELLS.items():
            words = (stage, key, "--study", file, "--root", root)
            if stage in MEASURED:
                python(threads, *program, *words)
            else:
                assert verb(*words) == 0
    return load(file), roots


def files(ran: Ran, name: str, stage: str, wanted: tuple[str, ...]) -> dict[str, bytes]:
    """The bytes that a run left in the cell of a stage."""
    study, roots = ran
    folder = parse_key(stage, CELLS[stage], study).folder(study, roots[name])
    return {file: (folder / file).read_bytes() for file in wanted}


def computed_by(ran: Ran, name: str, stage: str) -> dict[str, Any]:
    """What the manifest of that cell says of threads and instructions."""
    study, roots = ran
    said = artifacts.read_manifest(
        parse_key(stage, CELLS[stage], study).folder(study, roots[name])
    )["environment"]
    return {"threads": said["threads"], **said["arithmetic"]}


def test_accuracies_and_weights_are_the_same_with_one_thread_and_with_two(ran: Ran) -> None:
    assert files(ran, "two", "federate", TRAINED) == files(ran, "one", "federate", TRAINED)


def test_reconstructions_are_the_same_with_one_thread_and_with_two(ran: Ran) -> None:
    assert files(ran, "two", "attack", ATTACKED) == files(ran, "one", "attack", ATTACKED)


@pytest.mark.parametrize("stage", MEASURED)
def test_the_environment_grants_two_threads_and_a_verb_takes_one(stage: str, ran: Ran) -> None:
    one, two, unbound = (computed_by(ran, name, stage) for name in ("one", "two", "unbound"))
    assert one == two
    assert two["threads"] == 1
    assert unbound == two | {"threads": 2}


@pytest.mark.skipif(
    not arithmetic.has_avx2(),
    reason="the difference between one and two threads is known for x86-64 with AVX2 alone",
)
def test_a_verb_that_took_both_threads_would_have_other_results(ran: Ran) -> None:
    for stage, wanted in (("federate", TRAINED), ("attack", ATTACKED)):
        bound, unbound = (files(ran, name, stage, wanted) for name in ("two", "unbound"))
        differing = {file for file in wanted if bound[file] != unbound[file]}
        assert differing == {*wanted} - {"untrained.safetensors"}, stage


def test_an_attack_that_is_called_in_python_has_equal_images_on_two_threads_again() -> None:
    first, again = (python(2, "-c", LIBRARY) for _ in range(2))
    assert first.startswith("2 ")
    assert first == again

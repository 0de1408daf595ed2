"""What a parameter may ask of memory: ends of ranges that a machine can meet, and one sentence where it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from gradsiege import catalogue, cli, errors
from gradsiege.attacks.optimizers.gradient import LBFGS
from gradsiege.pipeline import runner
from gradsiege.ranges import Range

# Parameters that a method takes as a size of what it keeps, with the largest end that a machine can meet.
SIZES = {"history": 1000, "population": 10_000, "updates": 10**6, "bins": 2**20}
SIZES |= dict.fromkeys(
    ("width", "discriminator_width", "latent", "units", "growth", "channels", "heads"), 4096
)
PARAMETERS = [
    (f"{kind}.{entry.name}.{key}", SIZES[key], annotation)
    for kind in catalogue.KINDS
    for entry in catalogue.entries(kind).values()
    for key, (annotation, _) in entry.parameters.items()
    if key in SIZES
]


def ends(annotation: Any) -> list[float]:
    if isinstance(annotation, Range):
        return [annotation.high]
    inner = (*get_args(annotation), *getattr(annotation, "__metadata__", ()))
    return [end for part in inner for end in ends(part)]


@pytest.mark.parametrize(
    ("most", "annotation"), [case[1:] for case in PARAMETERS], ids=[case[0] for case in PARAMETERS]
)
def test_a_size_ends_where_a_machine_can_still_meet_it(most: int, annotation: Any) -> None:
    assert max(ends(annotation)) <= most


def test_the_largest_memory_of_a_quasi_newton_search_fits() -> None:
    """One image of 64 px: two rings of pairs in single precision are 98 MB."""
    memory = LBFGS(history=SIZES["history"]).start({"x": torch.zeros(1, 3, 64, 64)})
    assert sum(value.nbytes for value in memory.values()) < 10**8


def cpu() -> None:
    torch.empty(10**15)


def gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has")


def numpy() -> None:
    np.empty(10**15)


@pytest.mark.parametrize(
    ("ask", "amount"), [(cpu, "4000000000000000 bytes"), (gpu, "20.00 GiB"), (numpy, "7.11 PiB")]
)
def test_too_little_memory_is_one_sentence(
    ask: Any, amount: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "app", lambda **_: ask())
    with pytest.raises(SystemExit) as leaving:
        cli.main([])
    assert leaving.value.code == errors.ArtifactError.exit_code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"gradsiege: error: there is not enough memory for {amount} more. ")
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        ask()
    assert runner.describe(caught.value) == line, "in the log of a shard"


def test_another_error_of_the_same_kind_stays_a_defect(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(RuntimeError, match="shapes differ"):
        cli.main([])

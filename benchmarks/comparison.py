"""Gradsiege as a study runs it beside the framework `breaching`: milliseconds per victim and iteration, and time to 25 dB.

    GRADSIEGE_BREACHING=/path/of/checkout make benchmark

Both attack crops of photographs by Inverting Gradients with one step and weight, chosen on `tune` images, and the length of config/adaptive.yaml. The
benchmark chooses the engine as a study of a hundred such cells does; it measures choosing, tracing and compiling, too, and
spreads them over the study. Both compute with the kernels that a study shares between machines. Times are processor times of one thread, as a study's job has one; on a GPU they are wall times.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import breaching, turns
from benchmarks.cases import Case
from benchmarks.clocks import processor_seconds
from benchmarks.engines import append, heading
from benchmarks.product import CELLS, product
from gradsiege.arithmetic import make_portable
from gradsiege.datasets.photos import Photos
from gradsiege.programs import Programs

ITERATIONS, RATE, VARIATION = 150, 0.2, 0.03
DECIBELS = 25.0
# Victims whose quality is followed.
FOLLOWED = 4


def _case(name: str, victims: int, size: int = 32, **parameters: int) -> Case:
    return Case(name, victims, parameters, size, RATE, VARIATION, ITERATIONS)


CASES = [
    _case("lenet", 32),
    _case("convnet", 32, width=16),
    _case("convnet", 32, width=32),
    _case("resnet18", 4, size=64),
]


def photographs(case: Case) -> Tensor:
    """Return the victims, ``[victims, 3, size, size]`` in [0, 1]: crops of photographs."""
    prepared = Photos().prepare(case.size, {"victims": case.victims}, seed=0)
    return torch.from_numpy(prepared.splits["victims"].images).float() / 255


def decibels(space: Any, x: Tensor, truth: Tensor) -> float:
    """Return the mean PSNR of normalised pixels against images ``[n, c, h, w]`` in [0, 1]."""
    errors = (space.images({"x": x}).flatten(1) - truth.flatten(1)).square().mean(1)
    return float((-10 * errors.log10()).mean())


def first_above(quality: list[float], bound: float = DECIBELS) -> int | None:
    """Return the number of iterations after which the quality first reaches the bound.

    >>> first_above([5.0, 20.0, 25.5, 24.0]), first_above([5.0])
    (2, None)
    """
    return next((number for number, value in enumerate(quality) if value >= bound), None)


def compared(case: Case, framework: Any, device: str, folder: Path) -> list[dict[str, Any]]:
    """Return a row for the framework and one for ours."""
    clock = time.perf_counter if device == "cuda" else processor_seconds
    truth = photographs(case).to(device)
    problem, x, target = case.build(device, truth)
    ours = product(problem, x, target, Programs(folder), clock)
    theirs = breaching.Breaching(framework, problem, target)
    seconds = turns.turns(case, problem, x, target, ours, theirs, device, clock)
    followed = min(FOLLOWED, case.victims)
    their_path = turns.their_path(theirs, x["x"][:followed], case.iterations)
    our_path = turns.our_path(ours, problem, x, target, case.iterations, followed)
    quality = [
        [decibels(problem.phase.space, step, truth[:followed]) for step in path]
        for path in (their_path, our_path)
    ]
    amortised = ours.amortised(seconds["gradsiege"] * case.victims, case.iterations, case.victims)
    extra = {
        "set-up seconds": round(ours.setup, 2),
        "opening seconds": round(ours.opening, 2),
        "chosen from": {k: round(1000 * v, 3) for k, v in ours.choice.seconds.items()},
        "not run": ours.choice.failed,
        "same first step": round(same(our_path[1], their_path[1]), 4),
    }
    return [
        _row(case, "breaching", seconds["breaching"], seconds["breaching"], quality[0]),
        _row(
            case,
            f"gradsiege, {ours.choice.engine}",
            amortised,
            seconds["gradsiege"],
            quality[1],
        )
        | extra,
    ]


def same(ours: Tensor, theirs: Tensor) -> float:
    """Return the share of equal pixels: a signed step hides rounding, and shows another objective.

    >>> same(torch.tensor([0.0, 1.0]), torch.tensor([0.0, 2.0]))
    0.5
    """
    return float(((ours - theirs).abs() < 1e-4).float().mean())


def _row(
    case: Case,
    name: str,
    amortised: float,
    bare: float,
    quality: list[float],
) -> dict[str, Any]:
    reached = first_above(quality)
    return {
        "model": case.title,
        "victims": case.victims,
        "way": name,
        "milliseconds": round(1000 * amortised, 3),
        "without set-up": round(1000 * bare, 3),
        "iterations": case.iterations,
        "cells": CELLS,
        "iterations to 25 dB": reached,
        "milliseconds to 25 dB": None if reached is None else round(1000 * reached * amortised, 1),
        "decibels at the end": round(quality[-1], 2),
    }


def main() -> None:
    """Compare, if a checkout is named; append and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--networks", nargs="*", default=[case.title for case in CASES])
    options = parser.parse_args()
    folder = breaching.checkout()
    if folder is None:
        print(f"breaching is not compared: {breaching.VARIABLE} names no checkout")
        return
    torch.set_num_threads(1)
    make_portable()
    framework = breaching.load(folder)
    for case in CASES:
        if case.title not in options.networks:
            continue
        with tempfile.TemporaryDirectory() as programs:
            rows = compared(case, framework, options.device, Path(programs))
        for row in rows:
            print(row, flush=True)
        clock = "wall" if options.device == "cuda" else "processor"
        append(heading(options.device, 1) | {"clock": clock, "compared": rows})


if __name__ == "__main__":
    main()

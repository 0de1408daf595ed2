"""Distributions that add methods: the example package, and broken ones laid out as an installer does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

from gradsiege import catalogue
from gradsiege.pipeline import cells
from gradsiege.pipeline.cells import Cell

EXAMPLE = Path(__file__).parents[2] / "examples/plugin"


QUICK = Path(__file__).parents[2] / "config/quick.yaml"


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


def forget() -> None:
    """Read anew what is installed."""
    catalogue._known.cache_clear()
    cells._digest.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] in ("gradsiege_example", "added")]:  # fmt: skip
        del sys.modules[name]


def run(site: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run Python in an environment in which the example is installed."""
    path = os.pathsep.join([str(site), str(Path(catalogue.__file__).parents[1])])
    return subprocess.run(
        [sys.executable, *command],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )


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

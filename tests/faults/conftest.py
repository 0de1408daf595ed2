"""A small study in which every stage has a cell, run once without any disturbance; and the pipeline's workspaces."""

from __future__ import annotations

import importlib
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults import COMMANDS, Place, SmallDisk
from workspaces import clone, finished, shareable, workspace

from gradsiege.pipeline.cells import cells
from gradsiege.study import load

__all__ = ["clone", "finished", "shareable", "workspace"]
LOADED = (
    # PyTorch's optimizers import a compiler when they are first made.
    "torch._dynamo", "torchvision.transforms.functional", "piq", "sklearn.metrics", "seaborn", "matplotlib.backends.backend_pdf",
    "matplotlib.backends.backend_svg", "matplotlib.backends.backend_agg", "fontTools.subset",
)  # fmt: skip
OWN = (
    "stages.fetch", "datasets.digits", "stages.prior", "priors.autoencoder", "stages.shadow", "priors.shadow_generator",
    "stages.federate", "stages.observe", "federated.simulation", "stages.attack", "attacks.recipes.gi_pip", "stages.score",
    "metrics.perceptual", "stages.publish", "report.page.page", "inspection", "defenses.shadow", "defenses.gaussian",
)  # fmt: skip


@pytest.fixture(scope="session")
def loaded() -> Iterator[None]:
    """What a forked child would else import after every fork; and a defender's generator of a few steps."""
    for name in (*LOADED, *(f"gradsiege.{name}" for name in OWN)):
        importlib.import_module(name)
    from gradsiege.stages import shadow

    small = shadow.ShadowGenerator(epochs=12, width=4, latent=4, batch_size=4, search_steps=20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shadow, "ShadowGenerator", lambda: small)
        yield


@pytest.fixture(scope="session")
def undisturbed(loaded: None, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The study after all its stages. Read it, do not change it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    place = Place(folder / "root", Path(__file__).with_name("faults.yaml"))
    place.root.mkdir()
    for stage, of_stage in cells(load(place.file)).items():
        end = place.run(stage, *(cell.key for cell in of_stage))
        assert end.code == 0, end.said
    end = place.run(*COMMANDS["publish"])
    assert end.code == 0, end.said
    return place


@pytest.fixture
def copied(undisturbed: Place, tmp_path: Path) -> Callable[[str], Place]:
    """A function that copies the finished study to a root of that name, which a test may do anything to."""

    def copy_to(name: str) -> Place:
        shutil.copytree(undisturbed.root, tmp_path / name)
        return Place(tmp_path / name, undisturbed.file)

    return copy_to


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A small disk, for those who may mount one."""
    made = SmallDisk(tmp_path / "disk")
    if not made.mounted:
        pytest.skip("no right to mount a small disk here; the limit of file sizes stands for it")
    yield made
    made.close()


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Random numbers; the environment variable that is printed repeats them."""
    seed = int(os.environ.get("GRADSIEGE_FAULTS", "") or time.time_ns() % 10**6)
    print(f"\n{request.node.name}: GRADSIEGE_FAULTS={seed}", end="")
    return random.Random(seed)

"""What `pip install .` brings without an extra is enough for the library, and what needs an extra names it.

The bare environment is a folder of links to the installed files of the core dependencies and of all that they depend on,
and to `src/gradsiege`, which is what the wheel holds. A Python without site-packages sees this folder alone. It stands
for a fresh installation whose resolver chose the versions that are installed here; building a wheel needs hatchling,
which the lock does not hold, and resolving needs a network.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import textwrap
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import gradsiege
from gradsiege.extras import EXTRAS

ROOT = Path(__file__).parents[1]
SOURCE = Path(gradsiege.__file__).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FEW = "InvertingGradients(iterations=2"
# Core dependencies bring these two; studies name them because they import them.
BROUGHT_ANYWAY = {"PIL", "jinja2"}
# Not in the lock: `make test-integrations` has an environment of its own.
NOT_LOCKED = {"flwr": ["flwr"]}
OWNERS = {**NOT_LOCKED, **metadata.packages_distributions()}
# Modules that always come with another one.
PARTS = {"markupsafe": "jinja2", "pydantic_core": "pydantic", "sqlalchemy": "mlflow"}


def names(requirements: list[str]) -> set[str]:
    """Names of the distributions that these requirements ask for on this machine, without extras."""
    wanted = [Requirement(text) for text in requirements]
    return {
        canonicalize_name(one.name)
        for one in wanted
        if one.marker is None or one.marker.evaluate({"extra": ""})
    }


def closure(requirements: list[str]) -> set[str]:
    """These distributions, those that they require, and so on."""
    reached: set[str] = set()
    left = names(requirements)
    while left:
        name = left.pop()
        reached.add(name)
        left |= names(metadata.requires(name) or []) - reached
    return reached


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of links."""
    folder = tmp_path_factory.mktemp("bare")
    (folder / "gradsiege").symlink_to(SOURCE)
    for name in closure(PROJECT["dependencies"]):
        distribution = metadata.distribution(name)
        entries = {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}
        for entry in entries:
            if not (folder / entry).exists():
                (folder / entry).symlink_to(str(distribution.locate_file(entry)))
    return folder


def run(bare: Path, code: str, cwd: Path) -> str:
    """What code prints in a Python that sees the bare environment alone."""
    environment = {**os.environ, "PYTHONPATH": str(bare), "MPLCONFIGDIR": str(cwd)}
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_bare_environment_lacks_what_the_extras_bring(bare: Path, tmp_path: Path) -> None:
    modules = sorted({module for brought in EXTRAS.values() for module in brought})
    code = (
        "import gradsiege; from importlib.util import find_spec; "
        f"print(gradsiege.__file__, *[name for name in {modules} if find_spec(name)])"
    )
    file, *present = run(bare, code, tmp_path).split()
    assert file == str(bare / "gradsiege" / "__init__.py")
    assert set(present) == BROUGHT_ANYWAY


@pytest.mark.parametrize("page", ["README.md", "docs/LIBRARY.md"])
def test_the_library_runs_in_it_as_the_page_shows(page: str, bare: Path, tmp_path: Path) -> None:
    text = (ROOT / page).read_text()
    block = re.search(r"^    import gradsiege as gs.*\n(?:    .*\n|\n)+", text, flags=re.MULTILINE)
    assert block is not None
    snippet = re.sub(r"InvertingGradients\((iterations=\d+)?", FEW, textwrap.dedent(block[0]))
    snippet = snippet.replace("gs.evaluate(", "rows = gs.evaluate(")
    snippet = snippet.replace("GiPip(iterations=1000", "GiPip(iterations=2")
    before = (
        "import torch; from torch import nn\n"
        "images, labels = torch.rand(1, 3, 32, 32), torch.tensor([3])\n"
        "public_images, public_labels = torch.rand(9, 3, 32, 32), torch.arange(9) % 5\n"
        "model = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(900, 5))\n"
        "loss = nn.functional.cross_entropy(model(images), labels)\n"
        "update = torch.autograd.grad(loss, list(model.parameters()))\n"
    )
    assert FEW in snippet
    assert "iterations=1000" not in snippet
    assert "psnr" in run(bare, f"{before}{snippet}\nprint(list(rows))", tmp_path)


def test_every_example_runs_in_it(bare: Path, tmp_path: Path) -> None:
    scripts = sorted((ROOT / "examples").glob("*.py"))
    texts = [re.sub(r"iterations=\d+", "iterations=2", path.read_text()) for path in scripts]
    code = (
        f"for text in {texts!r}: exec(text, {{'__name__': '__main__'}})\nprint('all', {len(texts)})"
    )
    assert run(bare, code, tmp_path).endswith("all 7\n")


COMMANDS: list[tuple[list[str], int, str]] = [
    (["--help"], 0, "Usage"),
    (["list"], 0, "defenses"),
    *(
        (["list", kind], 0, "v")
        for kind in ("attacks", "counters", "datasets", "defenses", "figures", "models", "priors")
    ),
    (["plan", "--study", "STUDY"], 0, "federate"),
    (["fetch", "photos", "--study", "STUDY"], 5, ".[study]"),
    (["attack", "any", "--study", "STUDY"], 5, ".[study]"),
    (["publish", "report", "--study", "STUDY"], 5, ".[study]"),
    (["track", "--study", "STUDY"], 7, ".[pipeline]"),
]


def test_the_command_line_works_in_it_or_names_the_extra(bare: Path, tmp_path: Path) -> None:
    study = str(ROOT / "config" / "quick.yaml")
    commands = [[study if word == "STUDY" else word for word in words] for words, _, _ in COMMANDS]
    code = f"""
import contextlib, io, json
from gradsiege.cli import main
answers = []
for words in {commands!r}:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main(words)
        except SystemExit as end:
            answers.append((end.code or 0, said.getvalue()))
print(json.dumps(answers))
"""
    answers = json.loads(run(bare, code, tmp_path))
    assert len(answers) == len(COMMANDS)
    for (words, wanted, part), (code, said) in zip(COMMANDS, answers, strict=True):
        assert code == wanted, (words, said)
        assert part in said, (words, said)


def test_a_method_that_needs_an_extra_names_it(bare: Path, tmp_path: Path) -> None:
    code = """
import gradsiege as gs
from gradsiege.attacks.optimizers.cmaes import CMAES
from gradsiege.errors import MissingError
for make in (CMAES, gs.defenses.DpSgd().disclosure):
    try:
        make()
    except MissingError as error:
        print(error)
"""
    assert run(bare, code, tmp_path).splitlines() == [
        f'{module} is not installed; pip install ".[methods]" in a clone brings it'
        for module in ("cmaes", "opacus")
    ]


def test_every_import_is_a_core_dependency_or_in_an_extra() -> None:
    imported = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.partition(".")[0])
    foreign = {PARTS.get(name, name) for name in imported - {*sys.stdlib_module_names, "gradsiege"}}
    core = {name for name in foreign if owners(name) & names(PROJECT["dependencies"])}
    read_as_files = {"skimage", "sklearn"}
    extra = {module for brought in EXTRAS.values() for module in brought}
    assert foreign - core == extra - read_as_files


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_brings_the_modules_that_the_package_says_it_brings(extra: str) -> None:
    listed = names(PROJECT["optional-dependencies"][extra])
    brought = set().union(*(owners(module) & listed for module in EXTRAS[extra]))
    assert all(owners(module) & listed for module in EXTRAS[extra])
    # What Snakemake and DVC bring is run as programs.
    assert extra == "pipeline" or brought == listed


def owners(module: str) -> set[str]:
    """The distributions that hold a part of a module."""
    return {canonicalize_name(name) for name in OWNERS[module]}

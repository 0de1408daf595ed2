"""`gradsiege doctor`: what this machine can run, and what the study still lacks."""

from __future__ import annotations

import os
import platform
import shutil
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from gradsiege import __version__, catalogue, pretrained
from gradsiege.datasets.sources import supply
from gradsiege.declarations import REQUIRED
from gradsiege.errors import ArtifactError, MissingError, UsageError
from gradsiege.pipeline.cells import datasets_of
from gradsiege.pipeline.status import ABSENT, DONE, Status, count, survey
from gradsiege.study import Study

TOOLS = ("snakemake", "snakemake-executor-plugin-slurm", "dvc", "mlflow")
EXTRA = 'pip install "gradsiege[pipeline]"'
# Stages whose cells a figure draws from, unless its module says otherwise in REQUIRES.
DRAWN_FROM = ("federate", "score")
GIB = 2**30


def doctor(study: Study, root: Path) -> str:
    """Return a checkup in sections: machine, tools, weights, data, and the figures of the study."""
    sections = {
        "Machine": machine(root),
        "Tools": tools(),
        "Weights": weights(),
        f"Data of the study {study.study}": study_data(study, root),
        "Other data": other_data(study),
        f"Figures of the study {study.study}": figures(study, root),
    }
    blocks = []
    for title, rows in sections.items():
        width = max((len(name) for name, _ in rows), default=0)
        lines = [f"  {name.ljust(width)}  {text}" for name, text in rows]
        blocks.append("\n".join([title, *(lines or ["  none"])]))
    return "\n\n".join(blocks)


def machine(root: Path) -> list[tuple[str, str]]:
    """Python, torch, device, cores, memory, and free disk where results go."""
    rows = [("python", f"{platform.python_version()}, gradsiege {__version__}")]
    try:
        import torch

        rows.append(("torch", f"{torch.__version__}, {_vision()}"))
        rows.append(("device", _device()))
    except ImportError as error:
        rows.append(("torch", f"absent: no stage can run ({error})"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    rows.append(("cores", str(cores)))
    rows.append(("memory", f"{memory_bytes() / GIB:.1f} GiB"))
    place = root.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    rows.append(("free disk", f"{free / GIB:.1f} GiB"))
    return rows


def _vision() -> str:
    """Torchvision is a pair with torch; a wheel of the wrong build fails on import, in ways of its own."""
    try:
        version: str = import_module("torchvision").__version__
    except Exception as error:
        return f"torchvision does not load ({error}): install the pair of requirements.lock"
    return f"torchvision {version}"


def _device() -> str:
    import torch

    if not torch.cuda.is_available():
        return "CPU (no CUDA device): small budgets only"
    name, memory = torch.cuda.get_device_name(), torch.cuda.get_device_properties(0).total_memory
    return f"CUDA {torch.version.cuda}: {name}, {memory / GIB:.0f} GiB"


def memory_bytes() -> int:
    """Return the memory that this process may use: the machine's, or its container's limit."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            total = min(total, int(Path(limit).read_text()))
        except (OSError, ValueError):
            continue
    return total


def tools() -> list[tuple[str, str]]:
    """Which optional tools are there, and how to get the others."""
    rows = []
    for name in TOOLS:
        try:
            rows.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            rows.append((name, f"absent: {EXTRA}"))
    sbatch = shutil.which("sbatch")
    rows.append(("sbatch", sbatch or "absent: no Slurm here, jobs run on this machine"))
    return rows


def weights() -> list[tuple[str, str]]:
    """The trunks of LPIPS: verified and where they lie, wrong, or absent and how to get them."""
    rows = []
    for name in pretrained.TRUNKS:
        try:
            file, source = pretrained.find(name)
            pretrained.verify(file, source)
            text = f"present: {file} (SHA-256 {source.sha256[:8]}...)"
        except MissingError as error:
            text = f"absent: {error}"
        except ArtifactError as error:
            text = f"wrong file: {error}"
        rows.append((f"lpips {name}", text))
    return rows


def study_data(study: Study, root: Path) -> list[tuple[str, str]]:
    """Every data set of the study: whether it can be read, else what is missing, how to get it, and what waits for it."""
    surveyed = survey(study, root)
    rows = []
    for item in study.datasets:
        sharing = supply.sharing_of(item.name, item.parameters)
        if supply.ships(item.name):
            rows.append((item.id, f"available: embedded. {_summary(item.name)}"))
            continue
        problem = _problem(item.name, item.parameters)
        if not problem:
            rows.append((item.id, f"available, {sharing}: {_summary(item.name)}"))
            continue
        origin = supply.origin_of(item.name)
        assert origin is not None, "a data set that is not embedded states its origin"
        rows.append((item.id, problem))
        rows.append(("", f"how to get it: {origin.steps}"))
        rows.append(("", f"terms: {origin.licence} ({sharing})"))
        rows.append(("", _waiting(item.id, study, surveyed)))
    return rows


def _problem(name: str, parameters: dict[str, Any]) -> str:
    """What keeps a data set from being read: files that are missing, or one that is not the published one."""
    lacking = supply.missing(name, parameters)
    if lacking:
        return f"absent, under {supply.data_root()} ({supply.ROOT_VARIABLE}): {'; '.join(lacking)}"
    try:
        supply.check(name, parameters)
    except ArtifactError as error:
        return f"wrong file: {error}"
    return ""


def _waiting(dataset: str, study: Study, surveyed: dict[str, list[Status]]) -> str:
    """How many cells, by stage, and which figures wait for a data set."""
    counts = {
        stage: sum(
            one.state not in DONE and dataset in datasets_of(one.cell, study) for one in found
        )
        for stage, found in surveyed.items()
    }
    told = ", ".join(f"{number} {stage}" for stage, number in counts.items() if number)
    if not told:
        return "nothing waits for it: all of its cells are done"
    drawn = [name for name in study.figures if any(counts[stage] for stage in stages_of(name))]
    return f"cells that wait for it: {told}; figures that lack them: {', '.join(drawn) or 'none'}"


def other_data(study: Study) -> list[tuple[str, str]]:
    """Every data set that this version knows and the study does not use."""
    used = {dataset.name for dataset in study.datasets}
    rows = []
    for name, entry in catalogue.entries("datasets").items():
        if name in used:
            continue
        if supply.ships(name):
            rows.append((name, f"available: embedded. {entry.summary}"))
        elif any(default is REQUIRED for _, default in entry.parameters.values()):
            rows.append((name, f"{entry.summary} A study file says where it lies."))
        else:
            rows.append((name, _availability(entry)))
    return rows


def _availability(entry: catalogue.Entry) -> str:
    """Whether a data set is there, or why the package that adds it cannot be imported."""
    try:
        lacking = supply.missing(entry.name, {})
    except UsageError as error:
        return str(error)
    return f"{'absent' if lacking else 'available'}: {entry.summary}"


def _summary(name: str) -> str:
    return catalogue.entries("datasets")[name].summary


def stages_of(figure: str) -> tuple[str, ...]:
    """Stages whose cells a figure draws from."""
    return catalogue.entries("figures")[figure].requires or DRAWN_FROM


def figures(study: Study, root: Path) -> list[tuple[str, str]]:
    """What each figure of the study still lacks."""
    surveyed = survey(study, root)
    rows = []
    for name in study.figures:
        lacking = []
        for stage in stages_of(name):
            counts = count(surveyed[stage])
            total = len(surveyed[stage])
            left = total - sum(counts[state] for state in DONE)
            if left:
                waiting = f" ({counts[ABSENT]} wait for data)" if counts[ABSENT] else ""
                lacking.append(f"{left} of {total} {stage} cells{waiting}")
        kind = "tables" if name.startswith("table_") else "figures"
        drawn = (root / "results" / study.study / kind / f"{name}.csv").is_file()
        text = f"lacks {' and '.join(lacking)}" if lacking else "lacks nothing"
        rows.append((name, f"{text}; {'drawn' if drawn else 'not drawn yet'}"))
    return rows

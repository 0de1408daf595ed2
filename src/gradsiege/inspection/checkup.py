"""`gradsiege doctor`: the abilities of this machine, and the files that the study still lacks."""

from __future__ import annotations

import os
import platform
import shutil
from importlib import import_module, metadata
from pathlib import Path

from gradsiege import __version__, catalogue, pretrained
from gradsiege.datasets.sources import supply
from gradsiege.declarations import REQUIRED
from gradsiege.errors import UsageError
from gradsiege.extras import install
from gradsiege.inspection import at_hand
from gradsiege.pipeline.cells import datasets_of
from gradsiege.pipeline.drawings import data_file
from gradsiege.pipeline.status import ABSENT, DONE, Status, count, survey
from gradsiege.study import Study

TOOLS = ("snakemake", "snakemake-executor-plugin-slurm", "dvc", "mlflow")
# Stages whose cells a figure uses, unless its module declares others in REQUIRES.
DRAWN_FROM = ("federate", "score")
GIB = 2**30


def doctor(study: Study, root: Path) -> str:
    """Return a checkup in sections: machine, tools, weights, data, the figures of the study, and those of the papers."""
    from gradsiege.inspection import paper_figures

    sections = {
        "Machine": machine(root),
        "Tools": tools(),
        "Methods of other packages": added_methods(study),
        "Weights": weights(),
        f"Data of the study {study.study}": study_data(study, root),
        "Other data": other_data(study),
        f"Figures of the study {study.study}": figures(study, root),
        "Figures of the papers": paper_figures.rows(study),
    }
    blocks = []
    for title, rows in sections.items():
        width = max((len(name) for name, _ in rows), default=0)
        lines = [f"  {name.ljust(width)}  {text}" for name, text in rows]
        blocks.append("\n".join([title, *(lines or ["  none"])]))
    return "\n\n".join(blocks)


def machine(root: Path) -> list[tuple[str, str]]:
    """Return Python, torch, device, cores, memory, and free disk space for results."""
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
    """Return torchvision's version; a build that does not match torch fails on import with various errors."""
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
    """Return the optional tools, with the way to get absent ones."""
    rows = []
    for name in TOOLS:
        try:
            rows.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            rows.append((name, f"absent: {install('pipeline')}"))
    sbatch = shutil.which("sbatch")
    rows.append(("sbatch", sbatch or "absent: no Slurm here, jobs run on this machine"))
    return rows


def added_methods(study: Study) -> list[tuple[str, str]]:
    """Return the methods of other distributions: those that cannot be used, with the reason, and those that the study uses."""
    used = {
        kind: {item.name for item in getattr(study, kind)}
        for kind in ("datasets", "models", "priors", "defenses", "attacks")
    }
    used["counters"] = {attack.counter for attack in study.attacks if attack.counter}
    used["figures"] = set(study.figures)
    rows = []
    for kind in catalogue.KINDS:
        rows += [(name, reason) for name, reason in catalogue.refused(kind).items()]
        rows += [
            (name, f"of {entry.owner}, used by the study ({kind})")
            for name, entry in catalogue.entries(kind).items()
            if entry.distribution and name in used[kind]
        ]
    return rows


def weights() -> list[tuple[str, str]]:
    """Return the trunks of LPIPS: their verified file, or the reason why it is refused or absent."""
    return [(f"lpips {name}", at_hand.trunk(name)) for name in pretrained.TRUNKS]


def study_data(study: Study, root: Path) -> list[tuple[str, str]]:
    """Return for every data set of the study whether it can be read; else what is missing, the remedy, and what waits for it."""
    surveyed = survey(study, root)
    rows = []
    for item in study.datasets:
        sharing = supply.sharing_of(item.name, item.parameters)
        if supply.ships(item.name):
            rows.append((item.id, f"available: embedded. {_summary(item.name)}"))
            continue
        problem = at_hand.problem(item.name, item.parameters)
        if not problem:
            rows.append((item.id, f"available, {sharing}: {_summary(item.name)}"))
            continue
        rows += [(item.id, problem), *at_hand.remedy(item.name, item.parameters)]
        rows.append(("", _waiting(item.id, study, surveyed)))
    return rows


def _waiting(dataset: str, study: Study, surveyed: dict[str, list[Status]]) -> str:
    """Return the number of cells, by stage, and the figures that wait for a data set."""
    counts = {
        stage: sum(
            cell_status.state not in DONE and dataset in datasets_of(cell_status.cell, study)
            for cell_status in states
        )
        for stage, states in surveyed.items()
    }
    told = ", ".join(f"{number} {stage}" for stage, number in counts.items() if number)
    if not told:
        return "nothing waits for it: all of its cells are done"
    drawn = [name for name in study.figures if any(counts[stage] for stage in stages_of(name))]
    return f"cells that wait for it: {told}; figures that lack them: {', '.join(drawn) or 'none'}"


def other_data(study: Study) -> list[tuple[str, str]]:
    """Return every known data set that the study does not use."""
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
    """Return the stages whose cells a figure uses."""
    return catalogue.entries("figures")[figure].requires or DRAWN_FROM


def figures(study: Study, root: Path) -> list[tuple[str, str]]:
    """Return the cells that each figure of the study still lacks."""
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
        drawn = (root / "results" / study.study / data_file(name)).is_file()
        text = f"lacks {' and '.join(lacking)}" if lacking else "lacks nothing"
        rows.append((name, f"{text}; {'drawn' if drawn else 'not drawn yet'}"))
    return rows

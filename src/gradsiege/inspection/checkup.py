"""`gradsiege doctor`: what this machine can run, and what the study still lacks."""

from __future__ import annotations

import os
import platform
import shutil
from importlib import import_module, metadata
from pathlib import Path

from gradsiege import __version__, catalogue
from gradsiege.artifacts import file_digest
from gradsiege.errors import MissingError
from gradsiege.inspection.status import DONE, count, survey
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
        "Data": data(study),
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
    """The trunks of LPIPS: present and verified, wrong, or absent and where to put them."""
    try:
        from gradsiege.metrics import perceptual
    except ImportError as error:
        return [("lpips", f"not checked: {error}")]
    folder = Path(os.environ.get(perceptual.WEIGHTS_VARIABLE) or perceptual.WEIGHTS_FOLDER)
    rows = []
    for name, trunk in perceptual.TRUNKS.items():
        file, prefix = folder / trunk.file, f"SHA-256 {trunk.sha256[:8]}..."
        if not file.is_file():
            text = f"absent: put {trunk.url} ({prefix}) at {file}"
        elif file_digest(file) != trunk.sha256:
            text = f"wrong file: {file} is not {trunk.url} ({prefix}); replace it"
        else:
            text = f"present: {file} ({prefix})"
        rows.append((f"lpips {name}", text))
    return rows


def data(study: Study) -> list[tuple[str, str]]:
    """Every data set that this version knows: one victim of each is prepared to see whether it can be."""
    from gradsiege.datasets import prepare

    used = {dataset.name: dataset.size for dataset in study.datasets}
    rows = []
    for name, entry in catalogue.entries("datasets").items():
        mark = " (in this study)" if name in used else ""
        try:
            card = prepare(name, used.get(name, 32), {"victims": 1}, 0).card
        except (MissingError, FileNotFoundError, ImportError, ValueError) as error:
            rows.append((name, f"absent{mark}: {error}"))
            continue
        origin = "synthetic" if card["synthetic"] else "real"
        rows.append((name, f"available{mark}: embedded, {origin}. {entry.summary}"))
    return rows


def figures(study: Study, root: Path) -> list[tuple[str, str]]:
    """What each figure of the study still lacks."""
    surveyed = survey(study, root)
    rows = []
    for name in study.figures:
        stages = catalogue.entries("figures")[name].requires or DRAWN_FROM
        lacking = []
        for stage in stages:
            counts = count(surveyed[stage])
            total = len(surveyed[stage])
            left = total - sum(counts[state] for state in DONE)
            if left:
                lacking.append(f"{left} of {total} {stage} cells")
        kind = "tables" if name.startswith("table_") else "figures"
        drawn = (root / "results" / study.study / kind / f"{name}.csv").is_file()
        text = f"lacks {' and '.join(lacking)}" if lacking else "lacks nothing"
        rows.append((name, f"{text}; {'drawn' if drawn else 'not drawn yet'}"))
    return rows

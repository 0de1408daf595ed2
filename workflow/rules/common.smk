# What the rules share: the study, where its cells lie, and what each job reads, needs and is told.
# Every job on a cluster reads this file again, so nothing here loads torch or touches the network.

import hashlib
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

from gradsiege import catalogue, cells
from gradsiege.analysis import ledger
from gradsiege.artifacts import MANIFEST
from gradsiege.errors import GradSiegeError, nearest
from gradsiege.study import load

DEFAULTS = {"study": "config/quick.yaml", "gpu": 0}
for key in set(config) - set(DEFAULTS):
    raise WorkflowError(f"unknown --config {key}=; {nearest(key, list(DEFAULTS))}")
STUDY_FILE, GPU = ({**DEFAULTS, **config}[key] for key in DEFAULTS)
try:
    STUDY = load(STUDY_FILE)
except GradSiegeError as error:
    raise WorkflowError(str(error)) from error

CELLS = cells.cells(STUDY)
RESULTS = f"results/{STUDY.study}"
REPORT = f"{RESULTS}/report.html"
IS_TABLE = {name: name.startswith("table_") for name in catalogue.entries("figures")}
TABLES = [f"{RESULTS}/tables/{name}.csv" for name in STUDY.figures if IS_TABLE[name]]
FIGURES = [
    f"{RESULTS}/figures/{name}.{kind}"
    for name in STUDY.figures
    for kind in ("pdf", "svg", "png", "csv")
    if not IS_TABLE[name]
]


FIELDS = {field for fields in cells.FIELDS.values() for field in fields}


wildcard_constraints:
    **{field: r"\d+" if field == "seed" else "[^/]+" for field in FIELDS},
    figure="|".join(name for name in IS_TABLE if not IS_TABLE[name]),
    table="|".join(name for name in IS_TABLE if IS_TABLE[name]),


# A cluster warns with SIGTERM, and sends it to every process of a job. Only gradsiege may end by
# it: the shell waits for it, and `tee` goes on listening. The path serves those who call the
# snakemake of an environment without having activated it.
shell.prefix(
    "set -euo pipefail; trap : TERM; tee() {{ trap '' INT TERM; exec tee \"$@\"; }}; "
    "command -v gradsiege > /dev/null || "
    f"PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH; "
)


# Snakemake compares parameters between runs, except functions of `output` or `resources`. Where the
# study file lies and how long a job may take change no result, so these two are such functions.
def study_file(wildcards, output):
    return STUDY_FILE


def time_budget(wildcards, resources):
    """Save and leave four minutes early, before Slurm's warning (which comes three minutes early).

    Inside a Slurm job alone: there a time limit ends it, and the profile starts it again.
    """
    seconds = max(60 * resources.runtime - 240, 60)
    return f"${{SLURM_JOB_ID:+--time-budget {seconds}}}"


# What a stage reads of an earlier one, where that is not all of it. No attack is given a truth.
READS = {
    ("prior", "fetch"): ["aux.safetensors"],
    ("shadow", "fetch"): ["public.safetensors"],
    ("federate", "fetch"): ["train.safetensors", "test.safetensors"],
    ("federate", "shadow"): ["shadow.safetensors"],
    ("observe", "fetch"): ["victims.safetensors"],
    ("observe", "shadow"): ["shadow.safetensors"],
    ("observe", "federate"): ["{training_stage}.safetensors"],
    ("attack", "prior"): ["prior.safetensors"],
    ("attack", "observe"): ["observation.safetensors"],
    ("score", "fetch"): ["aux.safetensors", "test.safetensors"],
    ("score", "observe"): ["truth.safetensors"],
    ("score", "attack"): ["reconstructions.safetensors"],
    ("publish", "fetch"): ["card.json"],
    ("publish", "federate"): ["utility.parquet"],
    ("publish", "observe"): ["explanation.safetensors"],
}


def pattern_of(stage):
    """Key of a stage's cells with wildcards, such as {dataset}/{prior}/seed{seed}."""
    fields = cells.FIELDS[stage]
    return "/".join(
        "seed{seed}" if name == "seed" else f"{{{name}}}" for name in fields
    )


def outputs_of(stage):
    names = [*cells.OUTPUTS[stage], MANIFEST]
    return [f"{RESULTS}/{stage}/{pattern_of(stage)}/{name}" for name in names]


def log_of(stage):
    return f"{RESULTS}/logs/{stage}/{pattern_of(stage)}.log"


def benchmark_of(stage):
    return f"{RESULTS}/benchmarks/{stage}/{pattern_of(stage)}.jsonl"


def cell_of(stage, wildcards):
    return cells.parse_key(stage, pattern_of(stage).format(**wildcards), STUDY)


def key_of(stage):
    return lambda wildcards: cell_of(stage, wildcards).key


def digest_of(stage):
    """Hash of settings, method versions and upstream digests: another one runs the cell again."""
    return lambda wildcards: cells.digest(cell_of(stage, wildcards), STUDY)


def files_read(reader, cell):
    """What a later cell reads of one; the manifest is there only when the cell has finished."""
    names = READS.get((reader.stage, cell.stage), cells.OUTPUTS[cell.stage])
    folder = cell.folder(STUDY)
    return [folder / name.format(**vars(reader)) for name in (*names, MANIFEST)]


def inputs_of(stage):
    def inputs(wildcards):
        cell = cell_of(stage, wildcards)
        upstream = cells.upstream(cell, STUDY)
        return [path for other in upstream for path in files_read(cell, other)]

    return inputs


def finished(*stages):
    """Every file of every cell of the stages."""
    found = (cell for stage in stages for cell in CELLS[stage])
    return [path for cell in found for path in cell.files(STUDY)]


SHOWN = [
    cell for stage in ("fetch", "federate", "observe", "score") for cell in CELLS[stage]
]
EVIDENCE = [path for cell in SHOWN for path in files_read(cells.Cell("publish"), cell)]
EVIDENCE_DIGESTS = [cells.digest(cell, STUDY) for cell in SHOWN]
# The ledger of claims, which the report, one table and the figures of published points quote; a repository may lack it.
CLAIMS = ledger.FILE.read_text(encoding="utf-8") if ledger.FILE.is_file() else ""


def figure_digest(name):
    version = catalogue.lookup("figures", name, "publish").version
    text = " ".join([f"version {version}", *EVIDENCE_DIGESTS])
    if name == "table_claims" or name.startswith("published_"):
        text += CLAIMS
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def report_digest():
    """Hash of the study file, which the report quotes, and of all that it shows."""
    text = " ".join(
        [STUDY.model_dump_json(), CLAIMS, *map(figure_digest, STUDY.figures)]
    )
    return hashlib.sha256(" ".join([text, *EVIDENCE_DIGESTS]).encode()).hexdigest()[:16]


def images_attacked(cell):
    """Images that an attack holds in memory at once."""
    images = STUDY.one("protocols", cell.protocol).images
    return STUDY.victims * images * STUDY.one("attacks", cell.attack).restarts


def passes(cell):
    """Forward and backward passes of one 32-pixel image that a cell takes, roughly."""
    dataset, federation = STUDY.one("datasets", cell.dataset), STUDY.federation
    count = sum(dataset.counts.values())
    if cell.stage == "prior":
        epochs = STUDY.one("priors", cell.prior).parameters.get("epochs", 100)
        count = epochs * dataset.counts["aux"]
    elif cell.stage == "shadow":
        count = 100 * dataset.counts["public"]
    elif cell.stage == "federate":
        share = federation.clients_per_round / federation.clients
        epochs = federation.rounds * federation.local_epochs
        count = epochs * share * dataset.counts["train"]
    elif cell.stage == "attack":
        iterations = STUDY.one("attacks", cell.attack).iterations
        count = 2 * iterations * images_attacked(cell)
    return count * (dataset.size / 32) ** 2


def minutes_of(stage):
    """Start-up and 20 ms a pass, at most half a day: a longer job saves, and is started again."""

    def minutes(wildcards):
        return min(20 + round(passes(cell_of(stage, wildcards)) * 0.02 / 60), 720)

    return minutes


def memory_of(stage):
    """MB for libraries, data set, and an attack's activations; more after a failure."""

    def memory(wildcards, attempt):
        cell = cell_of(stage, wildcards)
        dataset = STUDY.one("datasets", cell.dataset)
        image = 3 * dataset.size**2 * 4 / 1e6
        held = 4 * image * sum(dataset.counts.values())
        if stage == "attack":
            held += 1000 * image * images_attacked(cell)
        return round((2000 + held) * attempt)

    return memory

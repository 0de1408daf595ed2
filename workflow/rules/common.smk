# What the rules share: the study, where its cells lie, and what each job reads, needs and is told.
# Every job on a cluster reads this file again, so nothing here loads torch or touches the network.

import functools
import gc
import hashlib
import inspect
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated

from snakemake.exceptions import WorkflowError

from gradsiege import catalogue
from gradsiege.artifacts import MANIFEST
from gradsiege.errors import GradSiegeError, nearest
from gradsiege.inspection.checkup import stages_of
from gradsiege.pipeline import (
    absent_data,
    cells,
    chains,
    identity,
    places,
    runner,
    shards,
    workload,
)
from gradsiege.pipeline.drawings import DICTIONARY, files_of, kind_of
from gradsiege.pipeline.stage import STAGES, names_read
from gradsiege.pipeline.status import DONE, status
from gradsiege.ranges import Range, fitted
from gradsiege.report.columns import dictionary
from gradsiege.study import ledger, load

# A plan of ten thousand cells is millions of objects, all of which stay. The garbage collector would search all of them again each
# time that they have grown by a quarter, and find nothing.
gc.freeze()
gc.set_threshold(200_000, 50, 100)

DEFAULTS = {"study": "config/quick.yaml", "gpu": 0, "shard_minutes": 4}
for key in set(config) - set(DEFAULTS):
    raise WorkflowError(f"unknown --config {key}=; {nearest(key, list(DEFAULTS))}")
CHOSEN = {**DEFAULTS, **config}


def number(key, kind):
    """A number of `--config`, refused outside its range."""
    try:
        return fitted(CHOSEN[key], kind, written=True)
    except ValueError as error:
        raise WorkflowError(f"--config {key} {error}") from error


STUDY_FILE = CHOSEN["study"]
GPU = number("gpu", Annotated[int, Range(0, 64)])
SHARD_MINUTES = number("shard_minutes", Annotated[float, Range(0)])


def study_as_typed():
    """The path behind `--config study=`, which Snakemake reads as YAML: `my #1.yaml` would end before the #."""
    entries = workflow.config_settings.config_args or ()
    typed = [text[6:] for text in entries if text.startswith("study=")]
    meant = typed and (Path(typed[-1]).is_file() or not isinstance(STUDY_FILE, str))
    return typed[-1] if meant else str(STUDY_FILE)


def check_path(path):
    """Refuse a path that Snakemake would not hand to the jobs of a cluster as it is: it writes it as Python does."""
    written = repr(f"study={path}")
    try:
        survives = shlex.split(written) == [f"study={path}"]
    except ValueError:
        survives = False
    if not survives or (written[0] == '"' and {"$", "`"} & set(path)):
        raise WorkflowError(
            f"the study file {path!r} cannot be handed to jobs: rename it, or a folder above it, so that its path has no "
            "backslash, no line break, and no apostrophe together with a double quote, a dollar sign or a backtick"
        )


def look_when_jobs_end(scheduler):
    """Lift the limit of 100 starts a second that Snakemake sets itself, and leave any other one.

    For a limit the head looks for jobs again a second after every look that found some, and looks once more for every job that ends: the
    looks add up, and after 200 jobs take a fifth of a processor. Jobs of seconds never reach the limit.
    """
    limit = scheduler.job_rate_limiter
    if limit and (limit.max_jobs, limit.timespan) == (100, 1):
        scheduler.job_rate_limiter = None


if {"{", "}"} & set(str(workflow.basedir)):
    raise WorkflowError(
        f"Snakemake takes the braces in {str(workflow.basedir)!r} for wildcards: rename the folder"
    )
STUDY_FILE = study_as_typed()
check_path(STUDY_FILE)
try:
    STUDY = cells.remember(identity.identified(load(STUDY_FILE)))
    places.check_folders(STUDY, Path())
    ABSENT = absent_data.absent(STUDY)
except GradSiegeError as error:
    raise WorkflowError(str(error)) from error


# Sources are looked at once; every job, on a cluster as well, takes them for what they were then, and fetch refuses
# one that has changed since.
identity.tell_jobs(STUDY)


def can_run(cell):
    """Whether the cell's data set is there; else it is left out, and the report says so. One that is done stays."""
    return not absent_data.waits_for(cell, STUDY, ABSENT) or absent_data.done(
        cell, STUDY
    )


CELLS = {
    stage: [cell for cell in of_stage if can_run(cell)]
    for stage, of_stage in cells.cells(STUDY).items()
}
RESULTS = f"results/{STUDY.study}"
REPORT = f"{RESULTS}/report.html"
DRAWN = {
    kind: [name for name in catalogue.entries("figures") if kind_of(name) == kind]
    for kind in ("figures", "tables")
}
FIGURES, TABLES = (
    [
        f"{RESULTS}/{file}"
        for name in STUDY.figures
        if name in names
        for file in files_of(name)
    ]
    for names in DRAWN.values()
)
# Without a table the dictionary has no one to serve, and a study that draws nothing shares no tables.
TABLES += [f"{RESULTS}/{DICTIONARY}"] if TABLES else []


FIELDS = {field for stage in STAGES.values() for field in stage.fields}


wildcard_constraints:
    **{field: r"\d+" if field == "seed" else "[^/]+" for field in FIELDS},
    figure="|".join(DRAWN["figures"]),
    table="|".join(DRAWN["tables"]),
    sheaf="figures|tables",
    shard="[0-9a-f]{16}",


# Who asks for files of cells by their names gets these cells and what they read, each computed alone. Otherwise
# cells are computed in shards; gradsiege.pipeline.shards says which go together.
#
# A cell that broke in an earlier run is tried alone, lest others wait for it with all that read it. Jobs on a
# cluster are told which these were when Snakemake was started; the environment reaches them.
BROKEN = os.environ.setdefault(
    "GRADSIEGE_BROKEN", " ".join(runner.broken(STUDY, Path()))
).split()


@functools.cache
def cut(stage, minutes):
    """Shards of a stage by their names, and by the cells that they hold."""
    alone = shards.after(BROKEN, CELLS, STUDY)
    found = shards.shards(CELLS[stage], STUDY, minutes, alone)
    return {shard.name: shard for shard in found} | {
        cell: shard for shard in found for cell in shard.cells
    }


@functools.cache
def shard_minutes():
    # Known only after this file was read.
    asked = workflow.dag_settings.targets
    stages = tuple(f"{RESULTS}/{stage}/" for stage in STAGES)
    named = asked and all(str(target).startswith(stages) for target in asked)
    return 0 if named else SHARD_MINUTES


def shard_of(stage, wildcards):
    """The shard of a name; jobs on a cluster do not know what was asked for, and look for it in both cuts."""
    found = cut(stage, SHARD_MINUTES).get(wildcards.shard)
    found = found or cut(stage, 0).get(wildcards.shard)
    if not found:
        raise WorkflowError(
            f"no shard {wildcards.shard} of {stage}: study or methods changed after Snakemake "
            "was started. Start it again."
        )
    return found


# A shard leaves its cells in scratch/staged, and an empty file that says so. Snakemake takes the cells from there
# one by one (`take`): each has files, parameters and failures of its own. Taking is the swap of gradsiege.pipeline.places, in shell since it is
# done ten thousand times: a job that is killed in it leaves the old cell and the new one whole. The files of a cell are marked `update`:
# Snakemake does not delete them before the job, and has them back if the job fails.
SHARD = f"scratch/shards/{STUDY.study}"
STAGED = f"scratch/staged/{STUDY.study}"


# A cluster warns with SIGTERM, and sends it to every process of a job. Only gradsiege may end by
# it: the shell waits for it, and `tee` goes on listening. The path serves those who call the
# snakemake of an environment without having activated it.
# Braces are doubled, as Snakemake formats the text.
PROGRAMS = shlex.quote(str(Path(sys.executable).parent))
PROGRAMS = PROGRAMS.replace("{", "{{").replace("}", "}}")
shell.prefix(
    "set -euo pipefail; trap : TERM; tee() {{ trap '' INT TERM; exec tee \"$@\"; }}; "
    f"command -v gradsiege > /dev/null || PATH={PROGRAMS}:$PATH; "
    # A folder's manifest goes first; of a link, only the link.
    'set_down() {{ if ! test -L "$1" && test -d "$1"; then rm -rf "$1/manifest.json"; fi; rm -rf "$1"; }}; '
    'take() {{ local at="$1" log="$2" place old from; '
    f"local staged={shlex.quote(STAGED)} results={shlex.quote(RESULTS)}; "
    'place=$(dirname "$3"); old=$staged/replaced/${{place#"$results"/}}; from=$staged/computed/$at; '
    'if test -e "$from.log"; then cp "$from.log" "$log"; fi; '
    'if test -e "$from/manifest.json"; then '
    'set_down "$old"; mkdir -p "$(dirname "$old")" "$(dirname "$place")" || exit 1; '
    'if test -e "$place" || test -L "$place"; then mv -T "$place" "$old" || exit 1; fi; '
    'if test "$(stat -c %d "$from")" = "$(stat -c %d "$(dirname "$place")")"; then mv -T "$from" "$place" || exit 1; '
    'else rm -rf "$place.part"; cp -rp "$from" "$place.part" && mv -T "$place.part" "$place" || exit 1; '
    'rm -f "$from/manifest.json"; rm -rf "$from"; fi; '
    # Deleted first, so that what is half deleted vouches for nothing.
    'if ! test -L "$old" && test -d "$old"; then rm -rf "$old/manifest.json"; mv -n -t "$place" "$old/"* 2> /dev/null; fi; '
    'set_down "$old"; rm -f "$from.log"; return 0; fi; '
    'if test -e "$from.failed"; then echo "The cell failed; its log says why."; exit 1; fi; '
    # Finished already, under these settings.
    'grep -qs "^  .digest.: .$at.,$" "$place/manifest.json"; }}; '
    # The files of a drawing, from a folder, if all of them are there.
    'drawn() {{ local from="$1" file; shift; '
    f"local results={shlex.quote(RESULTS)}; "
    'for file; do test -e "$from${{file#"$results"}}" || return 1; done; '
    'for file; do mv "$from${{file#"$results"}}" "$file"; done; }}; '
)


# Snakemake asks each function for its signature at every call, ten times per cell. It is worked out once.
def called(function):
    function.__signature__ = inspect.signature(function)
    return function


# Snakemake compares parameters between runs, except functions of `output` or `resources`. Where the
# study file lies and how long a job may take change no result, so these two are such functions.
@called
def study_file(wildcards, output):
    return STUDY_FILE


@called
def time_budget(wildcards, resources):
    """Save and leave four minutes early, before Slurm's warning (which comes three minutes early).

    Inside a Slurm job alone: there a time limit ends it, and the profile starts it again.
    """
    seconds = max(60 * resources.runtime - 240, 60)
    return f"${{SLURM_JOB_ID:+--time-budget {seconds}}}"


@functools.cache
def pattern_of(stage):
    """Key of a stage's cells with wildcards, such as {dataset}/{prior}/seed{seed}."""
    fields = STAGES[stage].fields
    return "/".join(
        "seed{seed}" if name == "seed" else f"{{{name}}}" for name in fields
    )


def outputs_of(stage):
    names = [*STAGES[stage].outputs, MANIFEST]
    return [update(f"{RESULTS}/{stage}/{pattern_of(stage)}/{name}") for name in names]


def log_of(stage):
    return f"{RESULTS}/logs/{stage}/{pattern_of(stage)}.log"


@functools.cache
def cell_named(stage, key):
    return cells.parse_key(stage, key, STUDY)


def cell_of(stage, wildcards):
    return cell_named(stage, pattern_of(stage).format(**wildcards))


def digest_of(stage):
    """Hash of settings, method versions and upstream digests: another one runs the cell again."""
    return called(lambda wildcards: cells.digest(cell_of(stage, wildcards), STUDY))


def upstream(cell):
    """The cells that one reads; what is left out for want of data is none of them."""
    return [other for other in cells.upstream(cell, STUDY) if can_run(other)]


@functools.cache
def folder_of(cell):
    return str(cell.folder(STUDY))


def files_read(reader, cell):
    """What a later cell reads of one; the manifest is there only when the cell has finished."""
    names = names_read(reader.stage, cell.stage)
    folder, ids = folder_of(cell), vars(reader)
    return [f"{folder}/{name.format(**ids)}" for name in (*names, MANIFEST)]


@functools.cache
def manifest_of(cell):
    return f"{folder_of(cell)}/{MANIFEST}"


def finished(*stages):
    """Every file of every cell of the stages."""
    found = (cell for stage in stages for cell in CELLS[stage])
    return [
        f"{folder_of(cell)}/{name}"
        for cell in found
        for name in (*STAGES[cell.stage].outputs, MANIFEST)
    ]


SHOWN = [
    cell for stage in ("fetch", "federate", "observe", "score") for cell in CELLS[stage]
]
# A manifest holds the checksums of its cell's files. Snakemake looks at every input of every job several times, so that the
# jobs with thousands of inputs, or those of which there are thousands, name manifests alone.
EVIDENCE = [manifest_of(cell) for cell in SHOWN]


def evidence(name):
    """What one figure or table is drawn from, so that it can be drawn where no more than that was restored."""
    stages = ("fetch", *stages_of(name))
    return [manifest_of(cell) for cell in SHOWN if cell.stage in stages]


EVIDENCE_DIGESTS = [cells.digest(cell, STUDY) for cell in SHOWN]
# The ledger of claims, which the report, one table and the figures of published points quote; a repository may lack it.
CLAIMS = ledger.FILE.read_text(encoding="utf-8") if ledger.FILE.is_file() else ""


# Figures that draw published values beside ours.
READS_CLAIMS = ("table_claims", "sweep_ssim", "sweep_psnr")


def figure_digest(name):
    version = catalogue.lookup("figures", name, "publish").version
    text = " ".join([f"version {version}", *EVIDENCE_DIGESTS])
    if name in READS_CLAIMS or name.startswith("published_"):
        text += CLAIMS
    if name == "table_gains":
        text += STUDY.model_dump_json(include={"gains"})
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def columns_digest():
    return hashlib.sha256(repr(dictionary()).encode()).hexdigest()[:16]


def report_digest():
    """Hash of the study file, which the report quotes, and of all that it shows."""
    text = " ".join(
        [
            STUDY.model_dump_json(),
            CLAIMS,
            columns_digest(),
            *map(figure_digest, STUDY.figures),
        ]
    )
    return hashlib.sha256(" ".join([text, *EVIDENCE_DIGESTS]).encode()).hexdigest()[:16]


# Two processes draw the absent ones: one the figures, the other the tables and the report. They leave them in scratch, and a small job
# moves each to its place. A figure whose file is asked for is drawn alone, from what it needs, as is one that changed.
DRAWINGS = f"{STAGED}/drawings/{report_digest()}"


@functools.cache
def drawn_together():
    """The files that two processes draw, by name of the figure or table; empty if single files were asked for."""
    asked = set(workflow.dag_settings.targets or {"all"})
    if not asked & {"all", "figures"}:
        return {}
    of_name = {name: files_of(name) for name in STUDY.figures} | {
        "report": ("report.html",)
    }
    absent = {
        name: files
        for name, files in of_name.items()
        if not all(os.path.exists(f"{RESULTS}/{file}") for file in files)
    }
    return absent if len(absent) > 2 else {}


def sheaf_of(name):
    """The process that draws this figure or table, or the report."""
    return "figures" if name in DRAWN["figures"] else "tables"


def drawn_by(name):
    return [f"{SHARD}/publish/{sheaf_of(name)}"] if name in drawn_together() else []


def drawn_in(sheaf):
    return [name for name in drawn_together() if sheaf_of(name) == sheaf]


def shard_file(stage):
    return f"{SHARD}/{stage}/{{shard}}"


def shard_log_of(stage):
    return f"{RESULTS}/logs/shards/{stage}/{{shard}}.log"


def shard_benchmark_of(stage):
    return f"{RESULTS}/benchmarks/{stage}/{{shard}}.jsonl"


def shard_inputs_of(stage):
    """All that the cells of a shard read, each file once."""

    @called
    def inputs(wildcards):
        found = {}
        for cell in shard_of(stage, wildcards).cells:
            for other in upstream(cell):
                found |= dict.fromkeys(files_read(cell, other))
        return list(found)

    return inputs


def shard_keys_of(stage):
    return called(
        lambda wildcards: [cell.key for cell in shard_of(stage, wildcards).cells]
    )


@functools.cache
def is_sound(cell):
    """Whether a cell is there, made under the study's settings from what its inputs hold now."""
    if not os.path.exists(manifest_of(cell)):
        return False
    there = status(cell, STUDY, Path(), ABSENT).state in DONE
    return there and all(path.is_file() for path in cell.files(STUDY))


@functools.cache
def is_finished(cell):
    """Whether a cell and all that it reads are sound."""
    return is_sound(cell) and all(map(is_finished, upstream(cell)))


def lost(wildcards):
    """Manifests of unsound cells that have been read already: Snakemake does not ask for them by itself."""
    every = [cell for of_stage in CELLS.values() for cell in of_stage]
    read = {other for cell in every if is_sound(cell) for other in upstream(cell)}
    if os.path.exists(REPORT):
        read.update(SHOWN)
    return [manifest_of(cell) for cell in every if cell in read and not is_sound(cell)]


def made_by(stage, cell):
    """The shard that computes a cell; none if the cell is finished, so that its neighbours' work does not concern it."""
    if is_finished(cell):
        return []
    if not is_sound(cell) and os.path.exists(manifest_of(cell)):
        # Snakemake does not read manifests, and has a failed update on its record as done.
        workflow.dag.forcefiles.add(manifest_of(cell))
    return [f"{SHARD}/{stage}/{cut(stage, shard_minutes())[cell].name}"]


def inputs_of(stage):
    """The manifests of the cells that one reads, and the shard that computes it, which asks for their files by name."""

    @called
    def inputs(wildcards):
        cell = cell_of(stage, wildcards)
        return [*map(manifest_of, upstream(cell)), *made_by(stage, cell)]

    return inputs


def minutes_of(stage):
    """Margin for start-up, and the sum of the cells, at most half a day: a longer job saves, and is started again."""

    @called
    def minutes(wildcards):
        found = shard_of(stage, wildcards).cells
        spent = sum(workload.seconds(cell, STUDY) for cell in found)
        return min(20 + round(spent / 60), 720)

    return minutes


def memory_of(stage):
    """MB for the largest cell, since one is freed before the next; more after a failure."""

    @called
    def memory(wildcards, attempt):
        found = shard_of(stage, wildcards).cells
        return round(max(workload.megabytes(cell, STUDY) for cell in found) * attempt)

    return memory


def seconds_of(cell):
    return workload.seconds(cell, STUDY)


@functools.cache
def seconds_behind():
    return chains.seconds_behind(CELLS, seconds_of, upstream)


def urgency_of(stage):
    """The seconds from the start of a shard to the end of all that waits for it: the longest chain starts first."""

    @called
    def urgency(wildcards):
        held = shard_of(stage, wildcards).cells
        return chains.urgency(held, seconds_behind(), seconds_of)

    return urgency


# To take a cell lasts a moment, and shards wait for it: it comes before every shard.
TAKEN_FIRST = 10**9

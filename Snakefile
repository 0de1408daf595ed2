# What gradient inversion in federated learning can and cannot do: the whole study.
#
# Eight stages, one after the other. Each is a verb of `gradsiege`, a file in workflow/rules and a
# folder in results/{study}. A job computes a shard of its stage, some cells that share a network in one
# process; a tiny job (`attack_cell`) then takes each cell to its place.
#
#   fetch ──▶ prior, shadow, federate ──▶ observe ──▶ attack ──▶ score ──▶ publish
#
#   snakemake                                       the default study, config/quick.yaml
#   snakemake --config study=config/small.yaml      another study (gpu=1 asks for a GPU per job)
#   snakemake results/quick/figures/gallery.pdf     one figure, and only what it lacks
#   snakemake priors                                one of the bundles below
#   snakemake --profile slurm                       the same on a cluster

from snakemake.utils import min_version

min_version("9.27")


include: "workflow/rules/common.smk"
include: "workflow/rules/fetch.smk"
include: "workflow/rules/prior.smk"
include: "workflow/rules/shadow.smk"
include: "workflow/rules/federate.smk"
include: "workflow/rules/observe.smk"
include: "workflow/rules/attack.smk"
include: "workflow/rules/score.smk"
include: "workflow/rules/publish.smk"


report: "workflow/report/workflow.rst"


rule all:
    default_target: True
    input:
        REPORT,
        FIGURES,
        TABLES,
        lost,


# What `gradsiege mend` lets Snakemake take as up to date, whatever the times of its files.
rule sound:
    input:
        lambda wildcards: [
            manifest_of(cell)
            for of_stage in CELLS.values()
            for cell in of_stage
            if is_finished(cell)
        ],


# The bundles that DVC stores and shares (dvc.yaml): each names every file of its folders.


rule images:
    input:
        finished("fetch"),


rule priors:
    input:
        finished("prior"),


rule shadows:
    input:
        finished("shadow"),


rule checkpoints:
    input:
        finished("federate"),


rule reconstructions:
    input:
        finished("observe", "attack"),


rule tables:
    input:
        finished("score"),
        TABLES,


rule figures:
    input:
        FIGURES,
        REPORT,


# A swap that was interrupted is completed before anything else.
onstart:
    if not workflow.local_exec and shlex.quote(sys.executable) != sys.executable:
        # Snakemake writes it into the scripts of jobs without quotes.
        raise WorkflowError(
            f"jobs of a cluster cannot start {sys.executable!r}: set the environment up in a folder whose path has neither "
            "spaces nor characters that a shell reads"
        )
    look_when_jobs_end(workflow.scheduler)
    places.settle(STUDY, Path())
    for name, reason in ABSENT.items():
        print(f"Left out: {name}: {reason}")


onsuccess:
    places.sweep(STUDY, Path())
    shutil.rmtree(SHARD, ignore_errors=True)
    if Path(REPORT).exists():
        print(f"All done. Open the report in a browser: {REPORT}")


# A shard with a failed cell is run again, for that cell alone.
onerror:
    shutil.rmtree(SHARD, ignore_errors=True)
    print("Something failed; its log is above. The same command goes on from here.")

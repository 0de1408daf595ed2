# Draw figures and tables from stored scores, and write the report. Nothing here computes a score.


rule drawings:
    input:
        EVIDENCE,
    output:
        temp(touch(f"{SHARD}/publish/{{sheaf}}")),
    log:
        f"{RESULTS}/logs/drawings/{{sheaf}}.log",
    localrule: True
    conda:
        "../envs/gradsiege.yaml"
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        names=lambda wildcards: drawn_in(wildcards.sheaf),
        to=DRAWINGS,
        study=study_file,
    message:
        "Drawing {params.names}"
    # A drawing that fails, and those after it, are made by their own jobs, which say why.
    shell:
        "gradsiege publish {params.names:q} --to {params.to:q} --study {params.study:q} 2>&1 | tee {log:q} || true"


rule figure:
    input:
        lambda wildcards: evidence(wildcards.figure),
        lambda wildcards: drawn_by(wildcards.figure),
    output:
        multiext(f"{RESULTS}/figures/{{figure}}", ".pdf", ".svg", ".csv"),
        report(
            f"{RESULTS}/figures/{{figure}}.png",
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
    log:
        f"{RESULTS}/logs/figures/{{figure}}.log",
    localrule: True
    conda:
        "../envs/gradsiege.yaml"
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        digest=lambda wildcards: figure_digest(wildcards.figure),
        drawings=lambda wildcards, output: DRAWINGS,
        study=study_file,
    message:
        "Drawing {wildcards.figure}"
    shell:
        "drawn {params.drawings:q} {output:q} ||"
        " gradsiege publish {wildcards.figure:q} --study {params.study:q} 2>&1 | tee {log:q}"


rule table:
    input:
        lambda wildcards: evidence(wildcards.table),
        lambda wildcards: drawn_by(wildcards.table),
    output:
        report(
            f"{RESULTS}/tables/{{table}}.csv",
            caption="../report/table.rst",
            category="Tables",
            labels={"table": "{table}"},
        ),
        f"{RESULTS}/tables/{{table}}_data.csv",
    log:
        f"{RESULTS}/logs/tables/{{table}}.log",
    localrule: True
    conda:
        "../envs/gradsiege.yaml"
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        digest=lambda wildcards: figure_digest(wildcards.table),
        drawings=lambda wildcards, output: DRAWINGS,
        study=study_file,
    message:
        "Writing {wildcards.table}"
    shell:
        "drawn {params.drawings:q} {output:q} ||"
        " gradsiege publish {wildcards.table:q} --study {params.study:q} 2>&1 | tee {log:q}"


rule columns:
    output:
        f"{RESULTS}/{DICTIONARY}",
    log:
        f"{RESULTS}/logs/tables/columns.log",
    localrule: True
    conda:
        "../envs/gradsiege.yaml"
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        digest=columns_digest(),
        study=study_file,
    message:
        "Writing what the columns mean"
    shell:
        "gradsiege publish columns --study {params.study:q} 2>&1 | tee {log:q}"


rule report:
    input:
        EVIDENCE,
        lambda wildcards: drawn_by("report"),
    output:
        REPORT,
    log:
        f"{RESULTS}/logs/report.log",
    localrule: True
    conda:
        "../envs/gradsiege.yaml"
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        digest=report_digest(),
        drawings=lambda wildcards, output: DRAWINGS,
        study=study_file,
    message:
        "Writing the report"
    shell:
        "drawn {params.drawings:q} {output:q} ||"
        " gradsiege publish report --study {params.study:q} 2>&1 | tee {log:q}"

# Prepare a data set: images, licence, and disjoint splits by role.


rule fetch:
    output:
        outputs_of("fetch"),
    log:
        log_of("fetch"),
    benchmark:
        benchmark_of("fetch")
    localrule: True
    conda:
        "../envs/gradsiege.yaml"
    threads: 1
    resources:
        gpu=0,
        mem_mb=4000,
        runtime=20,
    params:
        cell=key_of("fetch"),
        digest=digest_of("fetch"),
        study=study_file,
        budget=time_budget,
    message:
        "Preparing the images of {params.cell}"
    shell:
        "gradsiege fetch {params.cell:q} --study {params.study:q} --threads {threads} {params.budget}"
        " 2>&1 | tee {log:q}"

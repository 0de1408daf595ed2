# Train a federation under a defense; record utility; keep three checkpoints.


rule federate:
    input:
        inputs_of("federate"),
    output:
        outputs_of("federate"),
    log:
        log_of("federate"),
    benchmark:
        benchmark_of("federate")
    conda:
        "../envs/gradsiege.yaml"
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=memory_of("federate"),
        runtime=minutes_of("federate"),
    params:
        cell=key_of("federate"),
        digest=digest_of("federate"),
        study=study_file,
        budget=time_budget,
    message:
        "Training the federation {params.cell}"
    shell:
        "gradsiege federate {params.cell} --study {params.study} --threads {threads} {params.budget}"
        " 2>&1 | tee {log}"

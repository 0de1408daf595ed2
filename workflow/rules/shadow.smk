# Pretrain the defender's shadow generator on the public images.


rule shadow:
    input:
        inputs_of("shadow"),
    output:
        outputs_of("shadow"),
    log:
        log_of("shadow"),
    benchmark:
        benchmark_of("shadow")
    conda:
        "../envs/gradsiege.yaml"
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=memory_of("shadow"),
        runtime=minutes_of("shadow"),
    params:
        cell=key_of("shadow"),
        digest=digest_of("shadow"),
        study=study_file,
        budget=time_budget,
    message:
        "Pretraining the shadow generator {params.cell}"
    shell:
        "gradsiege shadow {params.cell} --study {params.study} --threads {threads} {params.budget}"
        " 2>&1 | tee {log}"

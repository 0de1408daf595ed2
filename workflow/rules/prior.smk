# Train an attacker's prior on the auxiliary images.


rule prior:
    input:
        inputs_of("prior"),
    output:
        outputs_of("prior"),
    log:
        log_of("prior"),
    benchmark:
        benchmark_of("prior")
    conda:
        "../envs/gradsiege.yaml"
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=memory_of("prior"),
        runtime=minutes_of("prior"),
    params:
        cell=key_of("prior"),
        digest=digest_of("prior"),
        study=study_file,
        budget=time_budget,
    message:
        "Training the prior {params.cell}"
    shell:
        "gradsiege prior {params.cell} --study {params.study} --threads {threads} {params.budget}"
        " 2>&1 | tee {log}"

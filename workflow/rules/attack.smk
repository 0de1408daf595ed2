# Reconstruct the victims from an observation. The input names no truth, and no option leads to one.


rule attack:
    input:
        inputs_of("attack"),
    output:
        outputs_of("attack"),
    log:
        log_of("attack"),
    benchmark:
        benchmark_of("attack")
    conda:
        "../envs/gradsiege.yaml"
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=memory_of("attack"),
        runtime=minutes_of("attack"),
    params:
        cell=key_of("attack"),
        digest=digest_of("attack"),
        study=study_file,
        budget=time_budget,
    message:
        "Attacking {params.cell}"
    shell:
        "gradsiege attack {params.cell} --study {params.study} --threads {threads} {params.budget}"
        " 2>&1 | tee {log}"

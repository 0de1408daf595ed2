# Measure every attack on one observation against the truth; no other stage reads it.


rule score:
    input:
        inputs_of("score"),
    output:
        outputs_of("score"),
    log:
        log_of("score"),
    benchmark:
        benchmark_of("score")
    conda:
        "../envs/gradsiege.yaml"
    threads: 1
    resources:
        gpu=0,
        mem_mb=memory_of("score"),
        runtime=minutes_of("score"),
    params:
        cell=key_of("score"),
        digest=digest_of("score"),
        study=study_file,
        budget=time_budget,
    message:
        "Scoring the attacks on {params.cell}"
    shell:
        "gradsiege score {params.cell} --study {params.study} --threads {threads} {params.budget}"
        " 2>&1 | tee {log}"

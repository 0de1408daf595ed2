# Run the victims' client updates: what the server sees, and the sealed truth.


rule observe:
    input:
        inputs_of("observe"),
    output:
        outputs_of("observe"),
    log:
        log_of("observe"),
    benchmark:
        benchmark_of("observe")
    conda:
        "../envs/gradsiege.yaml"
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=memory_of("observe"),
        runtime=minutes_of("observe"),
    params:
        cell=key_of("observe"),
        digest=digest_of("observe"),
        study=study_file,
        budget=time_budget,
    message:
        "Observing the updates of {params.cell}"
    shell:
        "gradsiege observe {params.cell} --study {params.study} --threads {threads} {params.budget}"
        " 2>&1 | tee {log}"

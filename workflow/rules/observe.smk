# Run the victims' client updates: what the server sees, and the sealed truth.


rule observe:
    input:
        shard_inputs_of("observe"),
    output:
        temp(touch(shard_file("observe"))),
    log:
        shard_log_of("observe"),
    benchmark:
        shard_benchmark_of("observe")
    priority: urgency_of("observe")
    conda:
        "../envs/gradsiege.yaml"
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=memory_of("observe"),
        runtime=minutes_of("observe"),
    params:
        cells=shard_keys_of("observe"),
        study=study_file,
        budget=time_budget,
    message:
        "Observing updates: {params.cells}"
    shell:
        "gradsiege observe {params.cells:q} --staged --study {params.study:q} {params.budget}"
        " 2>&1 | tee {log:q}"


rule observe_cell:
    input:
        inputs_of("observe"),
    output:
        outputs_of("observe"),
    log:
        log_of("observe"),
    priority: TAKEN_FIRST
    localrule: True
    conda:
        "../envs/gradsiege.yaml"
    params:
        cell=pattern_of("observe"),
        digest=digest_of("observe"),
        study=study_file,
    message:
        "Taking observe {params.cell}"
    shell:
        "take {params.digest:q} {log:q} {output:q} ||"
        " gradsiege observe {params.cell:q} --study {params.study:q} 2>&1 | tee {log:q}"

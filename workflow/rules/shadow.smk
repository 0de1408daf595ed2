# Pretrain the defender's shadow generator on the public images.


rule shadow:
    input:
        shard_inputs_of("shadow"),
    output:
        temp(touch(shard_file("shadow"))),
    log:
        shard_log_of("shadow"),
    benchmark:
        shard_benchmark_of("shadow")
    priority: urgency_of("shadow")
    conda:
        "../envs/gradsiege.yaml"
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=memory_of("shadow"),
        runtime=minutes_of("shadow"),
    params:
        cells=shard_keys_of("shadow"),
        study=study_file,
        budget=time_budget,
    message:
        "Pretraining shadow generators: {params.cells}"
    shell:
        "gradsiege shadow {params.cells:q} --staged --study {params.study:q} {params.budget}"
        " 2>&1 | tee {log:q}"


rule shadow_cell:
    input:
        inputs_of("shadow"),
    output:
        outputs_of("shadow"),
    log:
        log_of("shadow"),
    priority: TAKEN_FIRST
    localrule: True
    conda:
        "../envs/gradsiege.yaml"
    params:
        cell=pattern_of("shadow"),
        digest=digest_of("shadow"),
        study=study_file,
    message:
        "Taking shadow {params.cell}"
    shell:
        "take {params.digest:q} {log:q} {output:q} ||"
        " gradsiege shadow {params.cell:q} --study {params.study:q} 2>&1 | tee {log:q}"

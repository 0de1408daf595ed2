# Reconstruct the victims from an observation. The input names no truth, and no option leads to one.


rule attack:
    input:
        shard_inputs_of("attack"),
    output:
        temp(touch(shard_file("attack"))),
    log:
        shard_log_of("attack"),
    benchmark:
        shard_benchmark_of("attack")
    priority: urgency_of("attack")
    conda:
        "../envs/gradsiege.yaml"
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=memory_of("attack"),
        runtime=minutes_of("attack"),
    params:
        cells=shard_keys_of("attack"),
        study=study_file,
        budget=time_budget,
    message:
        "Attacking: {params.cells}"
    shell:
        "gradsiege attack {params.cells:q} --staged --study {params.study:q} {params.budget}"
        " 2>&1 | tee {log:q}"


rule attack_cell:
    input:
        inputs_of("attack"),
    output:
        outputs_of("attack"),
    log:
        log_of("attack"),
    priority: TAKEN_FIRST
    localrule: True
    conda:
        "../envs/gradsiege.yaml"
    params:
        cell=pattern_of("attack"),
        digest=digest_of("attack"),
        study=study_file,
    message:
        "Taking attack {params.cell}"
    shell:
        "take {params.digest:q} {log:q} {output:q} ||"
        " gradsiege attack {params.cell:q} --study {params.study:q} 2>&1 | tee {log:q}"

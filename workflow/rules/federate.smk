# Train a federation under a defense; record utility; keep three checkpoints.


rule federate:
    input:
        shard_inputs_of("federate"),
    output:
        temp(touch(shard_file("federate"))),
    log:
        shard_log_of("federate"),
    benchmark:
        shard_benchmark_of("federate")
    priority: urgency_of("federate")
    conda:
        "../envs/gradsiege.yaml"
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=memory_of("federate"),
        runtime=minutes_of("federate"),
    params:
        cells=shard_keys_of("federate"),
        study=study_file,
        budget=time_budget,
    message:
        "Training federations: {params.cells}"
    shell:
        "gradsiege federate {params.cells:q} --staged --study {params.study:q} {params.budget}"
        " 2>&1 | tee {log:q}"


rule federate_cell:
    input:
        inputs_of("federate"),
    output:
        outputs_of("federate"),
    log:
        log_of("federate"),
    priority: TAKEN_FIRST
    localrule: True
    conda:
        "../envs/gradsiege.yaml"
    params:
        cell=pattern_of("federate"),
        digest=digest_of("federate"),
        study=study_file,
    message:
        "Taking federate {params.cell}"
    shell:
        "take {params.digest:q} {log:q} {output:q} ||"
        " gradsiege federate {params.cell:q} --study {params.study:q} 2>&1 | tee {log:q}"

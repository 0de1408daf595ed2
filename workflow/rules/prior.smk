# Train an attacker's prior on the auxiliary images.


rule prior:
    input:
        shard_inputs_of("prior"),
    output:
        temp(touch(shard_file("prior"))),
    log:
        shard_log_of("prior"),
    benchmark:
        shard_benchmark_of("prior")
    priority: urgency_of("prior")
    conda:
        "../envs/gradsiege.yaml"
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=memory_of("prior"),
        runtime=minutes_of("prior"),
    params:
        cells=shard_keys_of("prior"),
        study=study_file,
        budget=time_budget,
    message:
        "Training priors: {params.cells}"
    shell:
        "gradsiege prior {params.cells:q} --staged --study {params.study:q} {params.budget}"
        " 2>&1 | tee {log:q}"


rule prior_cell:
    input:
        inputs_of("prior"),
    output:
        outputs_of("prior"),
    log:
        log_of("prior"),
    priority: TAKEN_FIRST
    localrule: True
    conda:
        "../envs/gradsiege.yaml"
    params:
        cell=pattern_of("prior"),
        digest=digest_of("prior"),
        study=study_file,
    message:
        "Taking prior {params.cell}"
    shell:
        "take {params.digest:q} {log:q} {output:q} ||"
        " gradsiege prior {params.cell:q} --study {params.study:q} 2>&1 | tee {log:q}"

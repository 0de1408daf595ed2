# Measure every attack on one observation against the truth; no other stage reads it.


rule score:
    input:
        shard_inputs_of("score"),
    output:
        temp(touch(shard_file("score"))),
    log:
        shard_log_of("score"),
    benchmark:
        shard_benchmark_of("score")
    priority: urgency_of("score")
    conda:
        "../envs/gradsiege.yaml"
    threads: 1
    resources:
        gpu=0,
        mem_mb=memory_of("score"),
        runtime=minutes_of("score"),
    params:
        cells=shard_keys_of("score"),
        study=study_file,
        budget=time_budget,
    message:
        "Scoring attacks: {params.cells}"
    shell:
        "gradsiege score {params.cells:q} --staged --study {params.study:q} {params.budget}"
        " 2>&1 | tee {log:q}"


rule score_cell:
    input:
        inputs_of("score"),
    output:
        outputs_of("score"),
    log:
        log_of("score"),
    priority: TAKEN_FIRST
    localrule: True
    conda:
        "../envs/gradsiege.yaml"
    params:
        cell=pattern_of("score"),
        digest=digest_of("score"),
        study=study_file,
    message:
        "Taking score {params.cell}"
    shell:
        "take {params.digest:q} {log:q} {output:q} ||"
        " gradsiege score {params.cell:q} --study {params.study:q} 2>&1 | tee {log:q}"

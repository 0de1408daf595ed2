# Prepare a data set: images, licence, and disjoint splits by role.


rule fetch:
    input:
        shard_inputs_of("fetch"),
    output:
        temp(touch(shard_file("fetch"))),
    log:
        shard_log_of("fetch"),
    benchmark:
        shard_benchmark_of("fetch")
    priority: urgency_of("fetch")
    localrule: True
    conda:
        "../envs/gradsiege.yaml"
    threads: 1
    resources:
        gpu=0,
        mem_mb=4000,
        runtime=20,
    params:
        cells=shard_keys_of("fetch"),
        study=study_file,
        budget=time_budget,
    message:
        "Preparing images: {params.cells}"
    shell:
        "gradsiege fetch {params.cells:q} --staged --study {params.study:q} {params.budget}"
        " 2>&1 | tee {log:q}"


rule fetch_cell:
    input:
        inputs_of("fetch"),
    output:
        outputs_of("fetch"),
    log:
        log_of("fetch"),
    priority: TAKEN_FIRST
    localrule: True
    conda:
        "../envs/gradsiege.yaml"
    params:
        cell=pattern_of("fetch"),
        digest=digest_of("fetch"),
        study=study_file,
    message:
        "Taking fetch {params.cell}"
    shell:
        "take {params.digest:q} {log:q} {output:q} ||"
        " gradsiege fetch {params.cell:q} --study {params.study:q} 2>&1 | tee {log:q}"

"""For one image the automatic rule is as good as any that is not told of the defense, on every network behind every defense."""

from __future__ import annotations

import pytest

from benchmarks import labels as benchmark
from gradsiege.attacks.labels import RULES, infer
from gradsiege.metrics.labels import label_accuracy
from gradsiege.models.head import head_of

# A rule that finds half of the labels is rarely right eight times in a row; clients of this network take the most time.
TRIALS = {"densenet121": 4}
SOLVED = {"none", "gaussian", "clipping", "sparsification", "top_k", "sign", "soteria", "precode"}


@pytest.mark.parametrize("model", benchmark.MODELS)
def test_where_a_rule_finds_every_label_the_automatic_one_does(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "TRIALS", TRIALS.get(model, 8))
    monkeypatch.setattr(benchmark, "NETWORKS", 1)
    monkeypatch.setitem(benchmark.CHEAP, "censor", {"trials": 1})
    clients = benchmark.Clients(model, benchmark.BATCHES[0], 0)
    solved = set()
    for name, arm, defense in benchmark.every_defense(benchmark.MODELS[model][0]):
        seen = clients.meet(defense)
        head = head_of(seen.model, {**seen.parameters, **seen.buffers})
        share = {
            rule: float(label_accuracy(infer(seen.update, 1, rule, head), clients.true).mean())
            for rule in ("automatic", *RULES)
        }
        if max(share.values()) == 1:
            solved.add(name)
            assert share["automatic"] == 1, f"{name} ({arm}): {share}"
    assert solved >= SOLVED

"""What an audit finds: planted leaks are found, and nothing is found where nothing was sent."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import pandas as pd
import pytest
import torch
from small_audits import BUDGET, Broken, Nothing, audited, later, pictures
from small_classifiers import small
from torch import nn

from gradsiege.auditing.audit import Audit
from gradsiege.auditing.document import document, plain
from gradsiege.auditing.findings import LEAKS, NOTHING
from gradsiege.auditing.situations import local_training
from gradsiege.defenses import Gaussian, Precode
from gradsiege.defenses.base import Client, Defense
from gradsiege.protocol.local_update import Tensors


def test_an_undefended_client_is_identified_and_one_that_sends_nothing_is_not(whole: Audit) -> None:
    bare, silent = whole.findings
    assert bare.situation.name == "none"
    assert silent.situation.name == "Nothing"
    assert bare.identified.estimate == 1.0
    assert bare.labels == 1.0
    assert bare.verdict == LEAKS
    rows = whole.scores.table
    met = rows[(rows["defense"] == "Nothing") & rows["kind"].isin(["attack", "identification"])]
    assert set(met["reason"]) == {"the update is zero everywhere"}
    assert not met["identified"].any()
    assert (silent.verdict, silent.failed) == (NOTHING, len(met))


def test_the_gallery_holds_other_private_pictures_and_chance_is_one_over_its_size(
    whole: Audit,
) -> None:
    rows = whole.scores.table
    # Four private pictures, eight others: fewer than sixteen, so the attacker's fifteen are added, of which eight at most.
    assert set(rows["gallery_size"]) == {4 + 8 + 8}
    assert whole.findings[0].identified.chance == pytest.approx(1 / 20)


def test_a_network_that_is_linear_gives_its_picture_away() -> None:
    """The gradient of one linear layer holds the picture up to a factor, so that matching finds it."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 5))
    from dataclasses import replace

    found = audited(model=network, budget=replace(BUDGET, iterations=150, pictures=3))
    (bare,) = found.findings
    assert bare.psnr.estimate > bare.floor + 3
    assert found.decibel == bare.psnr.estimate
    assert found.exceeds(bare.psnr.estimate - 0.1)
    assert not found.exceeds(bare.psnr.estimate + 0.1)


def test_the_worst_case_is_the_highest_mean_over_attackers(whole: Audit) -> None:
    rows = whole.scores.table
    for finding in whole.findings:
        here = rows[
            (rows["defense"] == finding.situation.name)
            & (rows["kind"] == "attack")
            & (rows["status"] == "complete")
        ]
        if finding.situation.name == "Nothing":
            assert here.empty
            continue
        means = here.groupby(["threat_model", "attack"])["psnr"].mean()
        assert finding.psnr.estimate == pytest.approx(means.max())
        assert (finding.attacker[1], finding.attacker[0]) == means.idxmax()


def test_every_defense_meets_the_same_blind_attackers(whole: Audit) -> None:
    rows = whole.scores.table
    blind = rows[rows["threat_model"].isin(["blind", "seeking"])]
    met = {defense: set(part["attack"]) for defense, part in blind.groupby("defense")}
    assert met["none"] == met["Nothing"] == {
        "label_lookup", "auxiliary_lookup", "inverting_gradients", "identification", "maximum_a_posteriori",
    }  # fmt: skip


def test_a_defense_of_ones_own_meets_the_generic_attacker(whole: Audit) -> None:
    rows = whole.scores.table
    informed = set(rows.loc[rows["threat_model"] == "informed", "attack"])
    assert "inverting_gradients+generic.learned_reliability" in informed
    tried = informed | {attacker for _, attacker, _ in whole.scores.refused}
    assert "identification+generic.learned_reliability" in tried | set(rows["attack"])


def test_a_defense_of_the_catalogue_meets_its_own_counters_too() -> None:
    found = audited(defenses=[Gaussian(sigma=0.01)])
    names = set(found.summary["attack"])
    assert "inverting_gradients+gaussian.likelihood" in names
    assert "identification+gaussian.likelihood" in names
    (cost,) = found.costs
    assert cost.defense == "gaussian (sigma 0.01)"
    assert cost.norm > 1
    assert 0 < cost.cosine < 1


def test_a_defense_that_changes_the_network_is_audited_with_its_layer() -> None:
    found = audited(defenses=[Precode(units=6)])
    finding = found.findings[1]
    assert finding.verdict != NOTHING
    assert "inverting_gradients+precode.drop_module" in set(found.summary["attack"])
    assert "changes the network" in found.costs[0].reason


def test_a_defense_whose_code_fails_fails_alone() -> None:
    found = audited(defenses=[Broken()])
    bare, broken = found.findings
    assert bare.verdict == LEAKS
    assert broken.verdict == NOTHING
    failed = found.scores.table[found.scores.table["defense"] == "Broken"]
    reasons = set(failed.loc[failed["status"] == "failed", "reason"])
    assert reasons == {"ZeroDivisionError: a defect of the user's code"}
    assert "defect" in found.costs[0].reason


@dataclass(frozen=True)
class Spoiled(Defense):
    """A user's own defense that is not finite on pictures of one class."""

    def transform_update(self, update: Tensors, client: Client) -> Tensors:
        """Return NaN for class 2."""
        factor = math.nan if int(client.labels[0]) == 2 else 1.0
        return {name: factor * value for name, value in update.items()}


def test_a_client_without_a_usable_update_spoils_no_other_one() -> None:
    table = audited(defenses=[Spoiled()]).scores.table
    rows = table[(table["defense"] == "Spoiled") & (table["kind"] == "attack")]
    # The generic counter learns from simulated clients, which meet the same NaN.
    rows = rows[~rows["attack"].str.contains("generic")]
    mode = rows[rows["attack"] == "maximum_a_posteriori"]
    assert len(mode) > 1
    for attack, part in rows.groupby("attack"):
        assert set(part.loc[part["status"] == "failed", "label"]) <= {2}, attack
    assert set(mode.loc[mode["status"] == "failed", "label"]) == {2}


def test_several_stages_batches_and_steps_are_compared_one_at_a_time() -> None:
    trainings = [
        local_training(1, 1, None, 0.1, "eval"),
        local_training(2, 1, None, 0.1, "eval"),
        local_training(1, 2, None, 0.1, "eval"),
    ]
    found = audited(model={"early": small(), "late": later()}, training=trainings)
    keys = [finding.situation.key for finding in found.findings]
    assert keys == [
        "early/1-pictures-1-steps/none",
        "late/1-pictures-1-steps/none",
        "early/2-pictures-1-steps/none",
        "early/1-pictures-2-steps/none",
    ]
    batch = found.findings[2]
    assert batch.clients == 2
    assert batch.pictures == 4
    assert not batch.identifier[0].startswith("identification")


def test_pictures_without_labels_take_the_networks_predictions() -> None:
    found = audited(labels=None, remarks="Faces of volunteers.")
    assert found.about["remarks"][0] == "Faces of volunteers.", "a single text is one remark"
    assert any("predictions" in remark for remark in found.about["remarks"])


def test_equal_seeds_find_the_same() -> None:
    tables = [audited().scores.table.drop(columns="seconds") for _ in range(2)]
    pd.testing.assert_frame_equal(*tables)


def test_the_document_is_plain_json_and_agrees_with_the_findings(
    whole: Audit, varied: Audit
) -> None:
    data = json.loads(json.dumps(document(whole), allow_nan=False))
    assert data["format"] == 1
    assert document(varied)["worst_case"]["psnr"] == pytest.approx(varied.decibel)
    assert data["worst_case"]["psnr"] is None, "every attack on uploads of zeros fails"
    assert [place["defense"] for place in data["situations"]] == ["none", "Nothing"]
    assert data["plan"]["pictures"] == 4
    assert {item["reason"] for item in data["not_run"]} >= {"left to a larger budget"}


def test_a_number_that_does_not_exist_is_null() -> None:
    assert plain({"a": (math.inf, 1)}) == {"a": [None, 1]}


def test_the_first_defense_is_judged() -> None:
    found = audited(defenses=[Nothing(), Gaussian(sigma=0.01)])
    assert found.worst.situation.name == "Nothing"
    assert pictures(1)[0].shape == (1, 3, 16, 16)

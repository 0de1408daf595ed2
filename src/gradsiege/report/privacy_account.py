"""Epsilon of what clients send: as an accountant says, and at least, as the successes of identification prove."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import pandas as pd

from gradsiege.analysis.privacy_audit import contradicted, evidence, strongest
from gradsiege.report.data import StudyData

COLUMNS = [
    "epsilon",
    "delta",
    "epsilon_substitution",
    "epsilon_empirical",
    "epsilon_empirical_low",
    "epsilon_empirical_high",
    "epsilon_empirical_n",
    "epsilon_sound",
]


@dataclass(frozen=True)
class Account:
    """The account of one defense.

    Attributes:
        delta: of the account.
        added: epsilon by protocol where neighbours differ in one image more.
        replaced: epsilon by protocol, at the same delta, where one image is replaced by another.
    """

    delta: float
    added: dict[str, float]
    replaced: dict[str, float]


def account_of(data: StudyData, defense: str) -> Account | None:
    """Return the account of an attacked update; None for a defense that has none, or where no accountant is installed.

    A replaced image moves a sum of clipped gradients by twice the bound, as if the noise were half as large. Batches are
    not taken as sampled there: the account with all images in every step is never smaller.
    """
    items = [item for item in data.study.get("defenses", ()) if item.get("id") == defense]
    if not items or items[0].get("name") != "dp_sgd" or find_spec("opacus") is None:
        return None
    from gradsiege.defenses.dp_sgd import DpSgd, epsilon

    settings = items[0].get("parameters") or {}
    noise = float(settings.get("noise_multiplier", DpSgd.noise_multiplier))
    delta = float(settings.get("delta", DpSgd.delta))
    protocols = data.study.get("protocols", ()) or [{"id": "fedsgd"}]
    steps = {str(protocol["id"]): _steps(protocol) for protocol in protocols}
    return Account(
        delta,
        {name: epsilon(noise, rate, count, delta) for name, (rate, count) in steps.items()},
        {name: epsilon(noise / 2, 1.0, count, delta) for name, (_, count) in steps.items()},
    )


def privacy_account(data: StudyData, dataset: str, model: str, defense: str) -> dict[str, float]:
    """Return the columns of `COLUMNS` for one setting: the largest account over the protocols, and the strongest evidence.

    `epsilon_sound` is 1 where no attacker proves more than the account of its protocol, 0 where one does, NaN where nobody
    ranked the victims.
    """
    row = dict.fromkeys(COLUMNS, math.nan)
    account = account_of(data, defense)
    if account is None:
        return row
    row |= {"epsilon": max(account.added.values()), "delta": account.delta}
    row["epsilon_substitution"] = max(account.replaced.values())
    proofs = evidence(_of_setting(data, dataset, model, defense), account.delta)
    best = strongest(proofs)
    if best is not None:
        row |= {"epsilon_empirical": best.estimate, "epsilon_empirical_n": float(best.rounds)}
        row |= {"epsilon_empirical_low": best.low, "epsilon_empirical_high": best.high}
        row["epsilon_sound"] = float(not contradicted(proofs, account.replaced))
    return row


def defects(data: StudyData) -> list[str]:
    """Return a sentence on every setting in which an attacker proves a larger epsilon than is accounted for."""
    sentences = []
    keys = ["dataset", "model", "defense"]
    attacked = data.scores[keys].drop_duplicates() if len(data.scores) else pd.DataFrame()
    for _, (dataset, model, defense) in attacked.iterrows():
        row = privacy_account(data, dataset, model, defense)
        if row["epsilon_sound"] == 0:
            sentences.append(
                f"{dataset}/{model}/{defense}: identification proves an epsilon of at least {row['epsilon_empirical_low']:.2f} "
                f"(95 % limit, {row['epsilon_empirical_n']:.0f} victims), and {row['epsilon_substitution']:.2f} is accounted for at "
                f"delta {row['delta']:g}: the mechanism or its account is wrong"
            )
    return sentences


def _of_setting(data: StudyData, dataset: str, model: str, defense: str) -> pd.DataFrame:
    """Return the scores of one setting under threat models that grant an attacker nothing of the image beside the message."""
    told = {
        str(threat["id"])
        for threat in data.threat_models
        if threat.get("labels", "inferred") != "inferred" or threat.get("batch_statistics")
    }
    table = data.scores
    if table.empty:
        return table
    same = (table["dataset"] == dataset) & (table["model"] == model) & (table["defense"] == defense)
    return table[same & ~table["threat_model"].isin(told)]


def _steps(protocol: Mapping[str, Any]) -> tuple[float, int]:
    """Return sampling rate and number of noisy steps of one client under a protocol, all its rounds included."""
    images = int(protocol.get("images", 1))
    batch = min(images, int(protocol.get("batch_size", images)))
    passes = int(protocol.get("epochs", 1)) * int(protocol.get("rounds", 1))
    return batch / images, passes * -(-images // batch)

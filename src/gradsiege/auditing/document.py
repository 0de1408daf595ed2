"""``audit.json``: what an audit found, for programs. docs/AUDIT.md describes the schema; `FORMAT` rises when it changes."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gradsiege.auditing.findings import Finding
from gradsiege.auditing.settings import note

if TYPE_CHECKING:
    from gradsiege.auditing.result import Result

FORMAT = 1


def document(audit: Result) -> dict[str, Any]:
    """Return the audit as plain data; a number that does not exist is null."""
    worst = audit.worst
    data: dict[str, Any] = plain(
        {
            "format": FORMAT,
            "worst_case": {
                "psnr": audit.decibel,
                "psnr_low": worst.psnr.low,
                "psnr_high": worst.psnr.high,
                "attacker": worst.attacker[0],
                "situation": worst.situation.key,
                "verdict": worst.verdict,
                "left_out": audit.left_out,
                "left_out_undefended": audit.left_out_undefended,
            },
            "situations": [finding_as_data(finding) for finding in audit.findings],
            "defenses": [asdict(cost) for cost in audit.costs],
            "plan": {
                "budget": audit.plan.budget.name,
                "pictures": audit.plan.size.pictures,
                "iterations": audit.plan.size.iterations,
                "restarts": audit.plan.budget.restarts,
                "expected_seconds": audit.plan.seconds,
                "seconds": audit.seconds,
                "notes": audit.plan.notes,
                "settings": note(audit.plan),
            },
            "not_run": not_run(audit),
            "about": audit.about,
        }
    )
    return data


def finding_as_data(finding: Finding) -> dict[str, Any]:
    """Return a finding as plain data."""
    situation = finding.situation
    return {
        "stage": situation.stage,
        "training": asdict(situation.training),
        "defense": situation.name,
        "verdict": finding.verdict,
        "because": finding.because,
        "attacker": finding.attacker[0],
        "knows": finding.attacker[1],
        "psnr": finding.psnr.estimate,
        "psnr_low": finding.psnr.low,
        "psnr_high": finding.psnr.high,
        "ssim": finding.ssim,
        "lpips": finding.lpips,
        "highest_psnr": finding.highest[0],
        "highest_picture": finding.highest[1],
        "identified": finding.identified.estimate,
        "identified_low": finding.identified.low,
        "identified_high": finding.identified.high,
        "identified_chance": finding.identified.chance,
        "identifier": finding.identifier[0],
        "labels": finding.labels,
        "floor_psnr": finding.floor,
        "floor": finding.floor_attacker,
        "lost": finding.lost.estimate,
        "lost_low": finding.lost.low,
        "lost_high": finding.lost.high,
        "clients": finding.clients,
        "pictures": finding.pictures,
        "failed": finding.failed,
    }


def not_run(audit: Result) -> list[dict[str, str]]:
    """Return every attack that did not run, with the reason."""
    left = [
        {"situation": part.situation.key, "attacker": part.attacker.id, "reason": part.reason}
        for part in audit.plan.parts
        if part.reason
    ]
    refused = [
        {"situation": key, "attacker": attacker, "reason": reason}
        for key, attacker, reason in audit.scores.refused
    ]
    return left + refused


def plain(value: Any) -> Any:
    """Return data whose numbers JSON can hold: those that are not finite become null.

    >>> plain({"a": [1.0, float("nan")]})
    {'a': [1.0, None]}
    """
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

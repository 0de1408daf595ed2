"""Machines, software, source commits and absent metrics, from the manifests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Manifests = Sequence[Mapping[str, Any]]


def setting(job: Mapping[str, Any], name: str) -> Any:
    """One entry of a manifest, at its top or in its `environment`.

    >>> setting({"environment": {"device": "CPU (x86_64)"}}, "device")
    'CPU (x86_64)'
    """
    return job.get(name) or (job.get("environment") or {}).get(name)


def devices(manifests: Manifests) -> list[str]:
    """Devices that jobs ran on, each once."""
    names = (setting(job, "device") for job in manifests)
    return list(dict.fromkeys(str(device) for device in names if device))


def versions(manifests: Manifests) -> dict[str, list[str]]:
    """Versions of every package; more than one means that jobs disagreed."""
    by_package: dict[str, dict[str, None]] = {}
    for job in manifests:
        for package, version in (setting(job, "versions") or {}).items():
            by_package.setdefault(str(package), {})[str(version)] = None
    return {package: list(by_package[package]) for package in sorted(by_package, key=str.lower)}


def commits(manifests: Manifests) -> list[str]:
    """Commits of the source that jobs ran from, each once."""
    names = (setting(job, "commit") for job in manifests)
    return list(dict.fromkeys(str(commit) for commit in names if commit))


def absent_metrics(manifests: Manifests) -> dict[str, str]:
    """Metrics that could not be computed, with the reason (`notes.absent` of scoring jobs)."""
    reasons: dict[str, str] = {}
    for job in manifests:
        for metric, reason in ((job.get("notes") or {}).get("absent") or {}).items():
            reasons.setdefault(str(metric), str(reason))
    return reasons


def failed_jobs(manifests: Manifests) -> list[dict[str, str]]:
    """Jobs that failed as a whole or in part: stage, cell, reason."""
    return [
        {key: str(job.get(key, "")) for key in ("stage", "cell", "reason")}
        for job in manifests
        if job.get("status", "complete") != "complete"
    ]

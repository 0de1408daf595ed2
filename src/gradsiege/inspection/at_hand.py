"""Whether data sets and published weights are on this machine, and otherwise how a person gets them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from gradsiege import catalogue, pretrained
from gradsiege.datasets.sources import supply
from gradsiege.errors import ArtifactError, MissingError

Rows = list[tuple[str, str]]


def problem(name: str, parameters: dict[str, Any]) -> str:
    """Return why a data set cannot be read: missing files, or one that differs from the published file; empty if it can."""
    lacking = supply.missing(name, parameters)
    if lacking:
        return f"absent, under {supply.data_root()} ({supply.ROOT_VARIABLE}): {'; '.join(lacking)}"
    try:
        supply.check(name, parameters)
    except ArtifactError as error:
        return f"wrong file: {error}"
    return ""


def remedy(name: str, parameters: dict[str, Any]) -> Rows:
    """Return how to get a data set that does not ship, and its terms, as rows below the one that names it."""
    origin = supply.origin_of(name)
    assert origin is not None, "a data set that is not embedded states its origin"
    return [
        ("", f"how to get it: {origin.steps}"),
        ("", f"terms: {origin.licence} ({supply.sharing_of(name, parameters)})"),
    ]


def trunk(name: str) -> str:
    """Return the state of a trunk of LPIPS: *present* with its verified file, or *absent* or *wrong file* with the reason."""
    try:
        file, source = pretrained.find(name)
        pretrained.verify(file, source)
    except MissingError as error:
        return f"absent: {error}"
    except ArtifactError as error:
        return f"wrong file: {error}"
    return f"present: {file} (SHA-256 {source.sha256[:8]}...)"


def generator_problem(name: str) -> str:
    """Return why the published weights of a prior cannot be read, and how to get them; empty if their file is there."""
    try:
        from gradsiege.priors.published_weights import find

        find("", import_module(catalogue.entries("priors")[name].module).FILE)
    except (ImportError, MissingError) as error:
        return str(error)
    return ""

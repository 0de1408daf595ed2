"""`gradsiege crate`: pack a finished study as a Workflow Run RO-Crate.

Soiland-Reyes et al., "Packaging research artefacts with RO-Crate" (Data Science 2022); Leo et al., "Recording provenance
of workflow runs with RO-Crate" (PLOS ONE 2024), profile 0.5. The crate is a ZIP file with the layout of the repository:
workflow, study file, ledger and lock; report, figures and tables; the score and utility rows that they are made from; and
`ro-crate-metadata.json`, which says what was run when, on what, with which software, and the SHA-256 of every file.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from gradsiege import artifacts
from gradsiege.errors import MEND, ArtifactError, UsageError, without_remedy
from gradsiege.extras import need
from gradsiege.inspection.verification import examine
from gradsiege.pipeline.cells import Cell
from gradsiege.pipeline.drawings import undrawn
from gradsiege.pipeline.status import BROKEN, DAMAGED, DONE, MISSING, STALE, before_remedy
from gradsiege.study import Study

SPECIFICATION = "1.1"  # the one that profile 0.5 builds on
TERMS = "https://w3id.org/ro/terms/workflow-run/context"
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
LICENCE = "https://spdx.org/licenses/Apache-2.0"
# The vocabulary that the workflow's own entry follows.
WORKFLOW_TERMS = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
CONTRIBUTORS = "The GradSiege contributors"  # as CITATION.cff has it
MAIN = "Snakefile"
NAME = "crate.zip"
METADATA = "ro-crate-metadata.json"  # what every crate holds
AROUND = (
    "workflow/**/*", "profiles/**/*", "config/claims.yaml", "requirements.lock", "pyproject.toml", "CITATION.cff",
    "LICENSE", "README.md",
)  # fmt: skip
RESULTS = ("report.html", "figures/*", "tables/*")
ROWS = {"score": "scores.parquet", "federate": "utility.parquet"}
TYPES = {
    ".html": "text/html", ".csv": "text/csv", ".pdf": "application/pdf", ".svg": "image/svg+xml", ".png": "image/png",
    ".yaml": "application/yaml", ".json": "application/json", ".parquet": "application/vnd.apache.parquet",
    ".md": "text/markdown", ".cff": "application/yaml", ".toml": "application/toml",
}  # fmt: skip
PLAIN = "text/plain"
# The time stamp of every file in the archive: the same study gives the same bytes.
EPOCH = (1980, 1, 1, 0, 0, 0)


def crate(
    study: Study, file: Path, root: Path = Path(), to: Path | None = None, here: Path = Path()
) -> Path:
    """Write the crate of a finished study and return its path (``results/<study>/crate.zip`` unless given).

    file: the study file; here: the repository. Raises ArtifactError if a cell, drawing or the report is missing,
    damaged or not of this study, MissingError if rocrate is not installed, and UsageError if `to` would replace anything but a crate.
    """
    folder = root / "results" / study.study
    target = folder / NAME if to is None else to
    _check_target(target, folder)
    manifests = _finished(study, root)
    for path, why in undrawn(study, root).items():
        raise ArtifactError(f"{path} {why}. A crate records a whole run. {MEND}")
    if not (here / MAIN).is_file():
        raise ArtifactError(
            f"{here.resolve() / MAIN} does not exist; run this in the repository's folder"
        )
    packed = _described(study, file, root, here, manifests)
    with artifacts.atomic(target) as temporary:
        _write(packed, temporary)
    return target


def _check_target(target: Path, folder: Path) -> None:
    """Refuse a place inside the results, other than the crate's own, and one that holds anything but a crate."""
    results = folder.parent
    if target.exists() and not target.is_file():
        raise UsageError(f"--to {target} is there, and is not a file; name a ZIP file")
    if target.resolve() == (folder / NAME).resolve():
        return
    if target.resolve().is_relative_to(results.resolve()):
        raise UsageError(
            f"--to {target}: choose a place outside {results}, which holds the study's results"
        )
    scratch = results.parent / "scratch"
    if target.resolve().is_relative_to(scratch.resolve()):
        raise UsageError(
            f"--to {target}: choose a place outside {scratch}, which holds unfinished work"
        )
    if target.is_file() and not _is_crate(target):
        raise UsageError(
            f"--to {target} is there, and is not a crate; choose another name, or delete it"
        )


def _is_crate(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return METADATA in archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return False


def _finished(study: Study, root: Path) -> dict[Cell, dict[str, Any]]:
    """Return the manifests of all cells that could be run; refuse a study that is unfinished or damaged in any file."""
    states = examine(study, root)
    lacking = [
        cell_status
        for cell_status in states
        if cell_status.state in (MISSING, BROKEN, STALE, DAMAGED)
    ]
    if lacking:
        first = lacking[0]
        raise ArtifactError(
            f"{len(lacking)} of {len(states)} cells of study {study.study} are not finished and sound, such as "
            f"{first.cell.stage} {first.cell.key}: {without_remedy(first.reason)}. A crate records a whole run. "
            f"{before_remedy(states, study, root)}{MEND}"
        )
    return {
        cell_status.cell: cell_status.manifest
        for cell_status in states
        if cell_status.state in DONE
    }


def _described(
    study: Study, file: Path, root: Path, here: Path, manifests: Mapping[Cell, Mapping[str, Any]]
) -> Any:
    """Return the crate as an object of the library: data entities and their relations."""
    need("rocrate")
    from rocrate.model.contextentity import ContextEntity
    from rocrate.rocrate import ROCrate

    made = ROCrate(version=SPECIFICATION)
    made.metadata.extra_contexts.append(TERMS)

    def entity(identifier: str, **properties: Any) -> Any:
        return made.add(ContextEntity(made, identifier, properties=properties))

    def packed(path: Path, place: str) -> Any:
        return made.add_file(path, place, properties=_file(path, place))

    licence = entity(LICENCE, **{"@type": "CreativeWork"}, name="Apache License 2.0")
    workflow = made.add_workflow(
        here / MAIN,
        MAIN,
        main=True,
        lang="snakemake",
        properties={**_file(here / MAIN, MAIN), "name": "GradSiege: the study as a workflow"},
    )
    workflow["license"] = licence
    workflow["version"] = ", ".join(_commits(manifests))
    workflow["conformsTo"] = entity(WORKFLOW_TERMS, **{"@type": "CreativeWork"})
    for name, path in _around(here):
        packed(path, name)
    made.get("README.md")["about"] = made.root_dataset
    given = packed(file, f"config/{file.name}")
    results = [packed(path, name) for name, path in _results(study, root, manifests)]
    workflow["input"] = _slot(made, "study", "the study file")
    workflow["output"] = _slot(made, "report", "the report in one HTML file")
    given["exampleOfWork"] = workflow["input"]
    made.get(f"results/{study.study}/report.html")["exampleOfWork"] = workflow["output"]
    workflow["softwareRequirements"] = [
        entity(
            f"#{package}-{version}",
            **{"@type": "SoftwareApplication"},
            name=package,
            softwareVersion=version,
        )
        for package, version in _software(manifests)
    ]
    start, end = _times(manifests)
    action = made.add_action(
        workflow,
        "#run",
        object=[given, made.get("config/claims.yaml"), *_images(study, root, manifests, entity)],
        result=results,
        properties={
            "name": f"run of the study {study.study}",
            "description": _summary(manifests),
            "startTime": start,
            "endTime": end,
            "actionStatus": "http://schema.org/CompletedActionStatus",
        },
    )
    made.root_dataset["mentions"] = action
    made.root_dataset["conformsTo"] = [
        entity(identifier, **{"@type": "CreativeWork"}, name=name, version=version)
        for identifier, (name, version) in PROFILES.items()
    ]
    made.name = f"GradSiege: the study {study.study}"
    made.description = study.description or f"Results of the study {study.study}."
    made.license = licence
    contributors = entity("#contributors", **{"@type": "Organization"}, name=CONTRIBUTORS)
    made.root_dataset["author"] = made.root_dataset["publisher"] = contributors
    made.datePublished = end
    return made


def _slot(made: Any, name: str, words: str) -> Any:
    return made.add_formal_parameter(
        name, "File", identifier=f"#{name}", description=words, valueRequired=True
    )


def _file(path: Path, name: str) -> dict[str, Any]:
    """Return the properties of a file's entity."""
    content = path.read_bytes()
    properties: dict[str, Any] = {
        "name": name,
        "contentSize": str(len(content)),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    return properties | {"encodingFormat": TYPES.get(path.suffix, PLAIN)}


def _around(here: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files of the repository that the run depends on, by their path in it."""
    for pattern in AROUND:
        for path in sorted(here.glob(pattern)):
            if path.is_file():
                yield path.relative_to(here).as_posix(), path


def _results(
    study: Study, root: Path, manifests: Mapping[Cell, Mapping[str, Any]]
) -> Iterator[tuple[str, Path]]:
    """Yield the published files, and the rows behind them with their manifests."""
    folder = root / "results" / study.study
    paths = [path for pattern in RESULTS for path in sorted(folder.glob(pattern))]
    for cell in manifests:
        if cell.stage in ROWS:
            place = cell.folder(study, root)
            paths += [place / ROWS[cell.stage], place / artifacts.MANIFEST]
    for path in paths:
        if path.is_file():
            yield path.relative_to(root).as_posix(), path


def _images(
    study: Study, root: Path, manifests: Mapping[Cell, Mapping[str, Any]], entity: Any
) -> Iterator[Any]:
    """Yield the attacked data sets as entities without their images, which are not packed."""
    for cell in manifests:
        if cell.stage != "fetch":
            continue
        card = artifacts.read_json(cell.folder(study, root) / "card.json")
        licences = dict.fromkeys(str(source["licence"]) for source in card.get("sources", ()))
        yield entity(
            f"#data-{cell.dataset}",
            **{"@type": "CreativeWork"},
            name=cell.dataset,
            description=str(card.get("description", "")),
            license="; ".join(licences) or str(card.get("licence", "not stated")),
        )


def _software(manifests: Mapping[Cell, Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Every package and version that a job recorded."""
    versions = {
        (package, version)
        for manifest in manifests.values()
        for package, version in manifest["environment"]["versions"].items()
    }
    return sorted(versions)


def _times(manifests: Mapping[Cell, Mapping[str, Any]]) -> tuple[str, str]:
    """Start of the first job and end of the last, as ISO 8601 in UTC."""
    ends = [float(manifest["ended"]) for manifest in manifests.values()]
    starts = [float(manifest["started"]) for manifest in manifests.values()]
    first, last = (
        dt.datetime.fromtimestamp(round(moment), dt.UTC).isoformat()
        for moment in (min(starts), max(ends))
    )
    return first, last


def _summary(manifests: Mapping[Cell, Mapping[str, Any]]) -> str:
    failed = sum(manifest["status"] == "failed" for manifest in manifests.values())
    devices = sorted({str(manifest["environment"]["device"]) for manifest in manifests.values()})
    return (
        f"{len(manifests)} cells, {failed} of them failed and counted as such; devices: {', '.join(devices)}; "
        f"source: {', '.join(_commits(manifests))}"
    )


def _commits(manifests: Mapping[Cell, Mapping[str, Any]]) -> list[str]:
    """Every state of the sources that made a cell."""
    return sorted({str(manifest["environment"]["commit"]) for manifest in manifests.values()})


def _write(made: Any, path: Path) -> None:
    """Pack in the order of names, without the time of packing."""
    contents: dict[str, bytearray] = {}
    for entity in [*made.data_entities, *made.default_entities]:
        for name, chunk in entity.stream():
            contents.setdefault(PurePosixPath(name).as_posix(), bytearray()).extend(chunk)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(contents.items()):
            archive.writestr(zipfile.ZipInfo(name, EPOCH), bytes(content), zipfile.ZIP_DEFLATED)

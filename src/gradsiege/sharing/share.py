"""`gradsiege share`: verify, record in `dvc.lock`, and send to the remotes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from gradsiege import artifacts
from gradsiege.errors import MEND, ArtifactError
from gradsiege.inspection.verification import foreign_paths, verify
from gradsiege.pipeline.cells import cells
from gradsiege.pipeline.drawings import DICTIONARY, files_of, kind_of, spoiled
from gradsiege.pipeline.stage import STAGES
from gradsiege.sharing import contents, remotes
from gradsiege.sharing.bundles import BUNDLES, Bundle, check_file, chosen
from gradsiege.sharing.programs import run
from gradsiege.sharing.restrictions import refusals
from gradsiege.study import Study

NOTHING = "Nothing to be done"
AGAIN = "They were deleted there. Share again."
KINDS = ("figures", "tables")


def share(names: Sequence[str], study: Study, root: Path, file: Path, remote: str = "") -> str:
    """Send bundles of a study to their remotes; return a sentence about it.

    Args:
        names: names of bundles in `dvc.yaml`; if empty, all that list the study.
        study: the resolved study.
        root: folder of the repository.
        file: the study file, for Snakemake.
        remote: name of the remote for outputs without their own; if empty, DVC's default one.

    Raises:
        ArtifactError: a file is unfinished, stale, damaged, or not part of the study; nothing was sent.
        SharingError: DVC is missing, `dvc.lock` is damaged, or a remote is not configured or does not answer.
        StudyError: `dvc.yaml` does not list the study or this file, or the study would show restricted images to the public.
    """
    bundles = chosen(names, study, root / BUNDLES)
    check_file(study, file, root / BUNDLES)
    refused = refusals(study, root / BUNDLES)
    if refused:
        raise ArtifactError("\n".join(refused))
    known = remotes.configuration(root)
    places = remotes.destinations(bundles, known, remote, root)
    contents.entries(root)  # DVC cannot record anything in a damaged file
    _verify(bundles, study, root, file)
    _fill_up(bundles, root)
    addresses = [bundle.address for bundle in bundles]
    answer = run(root, "dvc", "commit", "--force", *addresses)
    if not answer.succeeded:
        raise ArtifactError(f"DVC could not record {', '.join(addresses)}:\n{answer.end}")
    recorded = [content for bundle in bundles for content in contents.recorded(root, bundle)]
    count, wrong = contents.check(recorded, known.cache)
    contents.refuse(wrong, known.cache, f"in DVC's cache {known.cache}", AGAIN)
    for place, paths in places.items():
        answer = run(root, "dvc", "push", "--remote", place.name, *paths)
        if not answer.succeeded:
            raise remotes.no_answer(place, answer, "share")
    return (
        f"{', '.join(bundle.name for bundle in bundles)} of the study {study.study}: {count} files, verified, are at "
        f"{', '.join(map(str, places))}.\nClones find them when {contents.LOCK} is committed: "
        f"git add {contents.LOCK} && git commit"
    )


def _verify(bundles: list[Bundle], study: Study, root: Path, file: Path) -> None:
    """Refuse files that are not a sound and finished part of the study."""
    folders = {output.kind for bundle in bundles for output in bundle.outputs}
    stages = [stage for stage in STAGES if stage in folders]
    report, sound = verify(study, root, stages=stages)
    if not sound:
        raise ArtifactError(f"nothing was shared.\n{report}")
    owned = [cell for of_stage in cells(study).values() for cell in of_stage]
    foreign = foreign_paths(study, root, owned, stages) + _undrawn(study, root, folders)
    if foreign:
        # They may stem from restricted data that the study no longer uses.
        named = "\n".join(f"  {path}" for path in foreign)
        raise ArtifactError(
            f"nothing was shared: these files are not part of the study and would go with it. Delete them.\n{named}"
        )
    for path, why in spoiled(study, root).items():
        if path.relative_to(root / "results" / study.study).parts[0] in folders:
            raise ArtifactError(f"nothing was shared: {path} {why}. {MEND}")
    # Figures and tables have no manifests; Snakemake knows whether they are up to date.
    # A study without tables has no file for the target, which Snakemake would report as work to do.
    tables = any(kind_of(name) == "tables" for name in study.figures)
    drawn = [
        bundle.name
        for bundle in bundles
        if bundle.name == "figures" or (bundle.name == "tables" and tables)
    ]
    if drawn:
        choice = f"study={os.path.relpath(file, root)}"
        answer = run(root, "snakemake", "--dry-run", *drawn, "--config", choice)
        if NOTHING not in answer.text:
            raise ArtifactError(
                f"nothing was shared: {' and '.join(drawn)} are not up to date. {MEND} Snakemake says:\n{answer.end}"
            )


def _fill_up(bundles: list[Bundle], root: Path) -> None:
    """Create empty folders for the outputs that a study lacks, since DVC records every output of a bundle."""
    for bundle in bundles:
        for output in bundle.outputs:
            if output.kind in (*STAGES, *KINDS):
                artifacts.make_folder(root / output.path)


def _undrawn(study: Study, root: Path, folders: set[str]) -> list[Path]:
    """Return the files among the figures and tables that the study does not draw."""
    folder = root / "results" / study.study
    known = {folder / file for name in study.figures for file in files_of(name)}
    known.add(folder / DICTIONARY)
    there = [path for kind in KINDS if kind in folders for path in (folder / kind).glob("*")]
    return sorted(set(there) - known)

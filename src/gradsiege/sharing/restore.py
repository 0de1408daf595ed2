"""`gradsiege restore`: fetch from the remotes, check, put in place, verify, and tell Snakemake."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from gradsiege.errors import ArtifactError
from gradsiege.inspection.verification import verify
from gradsiege.pipeline.identity import identified
from gradsiege.sharing import contents, remotes
from gradsiege.sharing.bundles import BUNDLES, chosen, is_empty
from gradsiege.sharing.programs import run
from gradsiege.study import Study

AGAIN = "Delete these objects there, and let who has the files share them again."
UNSAVED = "unsaved files"  # of DVC's message when it would overwrite something


def restore(names: Sequence[str], study: Study, root: Path, file: Path, remote: str = "") -> str:
    """Bring bundles of a study back as `dvc.lock` recorded them; return what was done.

    Nothing is put into `results` before every object agrees with `dvc.lock`, and Snakemake is told that the files are up to
    date only when every manifest was verified.

    Args:
        names: bundles as `dvc.yaml` names them; all that list the study if empty.
        study: the resolved study.
        root: folder of the repository.
        file: the study file, for Snakemake.
        remote: name of the remote that has what has none of its own; DVC's default one if empty.

    Raises:
        ArtifactError: an object is not what was recorded, a cell does not agree with its manifest or the study, or files here would
            be lost.
        SharingError: a bundle was never shared, DVC is missing, or a remote is not configured or does not answer.
        StudyError: the study is not shared by `dvc.yaml`.
    """
    bundles = chosen(names, study, root / BUNDLES)
    known = remotes.configuration(root)
    if not names:
        # Locks of earlier versions do not have what a study lacks.
        bundles = [b for b in bundles if not is_empty(b, study) or contents.knows(root, b)]
    recorded = [content for bundle in bundles for content in contents.recorded(root, bundle)]
    for place, paths in remotes.destinations(bundles, known, remote, root).items():
        said = run(root, "dvc", "fetch", "--remote", place.name, *paths)
        if not said.succeeded:
            raise remotes.no_answer(place, said, "restore")
        here = [content for content in recorded if str(content.path) in paths]
        wrong = contents.check(here, known.cache)[1]
        contents.refuse(wrong, known.cache, f"from {place}", AGAIN)
    said = run(root, "dvc", "checkout", *(bundle.address for bundle in bundles))
    if not said.succeeded:
        saved = ": these files would be lost; move them away first" if UNSAVED in said.text else ""
        raise ArtifactError(f"DVC could not put the files in place{saved}.\n{said.end}")
    # A restored file may be the only record of what a source listed that is not on this machine.
    report, sound = verify(identified(study, root), root, partial=True)
    if not sound:
        raise ArtifactError(f"Snakemake was told nothing, for this is not sound:\n{report}")
    _touch([bundle.name for bundle in bundles], root, file)
    return (
        f"{', '.join(bundle.name for bundle in bundles)} of the study {study.study} are back, and Snakemake takes them as "
        f"they are.\n{report}"
    )


def _touch(targets: list[str], root: Path, file: Path) -> None:
    """Tell Snakemake that what lies there is up to date, with the settings of the study on record."""
    choice = f"study={os.path.relpath(file, root)}"
    said = run(root, "snakemake", "--touch", "--forceall", *targets, "--config", choice)
    if not said.succeeded:
        raise ArtifactError(
            f"the files are back and sound, but Snakemake could not be told so: `gradsiege mend` does. It says:\n{said.end}"
        )

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
from gradsiege.sharing.losses import refuse_losses
from gradsiege.sharing.programs import run
from gradsiege.study import Study

AGAIN = "Delete these objects there, and let someone who has the files share them again."
UNSAVED = "unsaved files"  # of DVC's message when it would overwrite something


def restore(names: Sequence[str], study: Study, root: Path, file: Path, remote: str = "") -> str:
    """Restore bundles of a study as `dvc.lock` recorded them; return a sentence about it.

    Files are put into `results` only after every object agrees with `dvc.lock`. Snakemake is told that the files are up to
    date only after every manifest was verified.

    Args:
        names: names of bundles in `dvc.yaml`; if empty, all that list the study.
        study: the resolved study.
        root: folder of the repository.
        file: the study file, for Snakemake.
        remote: name of the remote for outputs without their own; if empty, DVC's default one.

    Raises:
        ArtifactError: an object differs from `dvc.lock`, a cell does not agree with its manifest or the study, or finished
            cells or other local files would be lost.
        SharingError: a bundle was never shared, `dvc.lock` is damaged, DVC is missing, or a remote is not configured or does not answer.
        StudyError: the study is not shared by `dvc.yaml`.
    """
    bundles = chosen(names, study, root / BUNDLES)
    known = remotes.configuration(root)
    if not names:
        # Lock files of earlier versions have no entries for empty bundles.
        bundles = [b for b in bundles if not is_empty(b, study) or contents.knows(root, b)]
    recorded = [content for bundle in bundles for content in contents.recorded(root, bundle)]
    for place, paths in remotes.destinations(bundles, known, remote, root).items():
        answer = run(root, "dvc", "fetch", "--remote", place.name, *paths)
        if not answer.succeeded:
            raise remotes.no_answer(place, answer, "restore")
        here = [content for content in recorded if str(content.path) in paths]
        wrong = contents.check(here, known.cache)[1]
        contents.refuse(wrong, known.cache, f"from {place}", AGAIN)
    # DVC itself spares only what it never saved; what `share` saved after this dvc.lock it would remove without a word.
    refuse_losses(recorded, known.cache, identified(study, root), root)
    answer = run(root, "dvc", "checkout", *(bundle.address for bundle in bundles))
    if not answer.succeeded:
        saved = (
            ": these files would be lost; move them away first" if UNSAVED in answer.text else ""
        )
        raise ArtifactError(f"DVC could not put the files in place{saved}.\n{answer.end}")
    # A restored file may be the only record of what a source listed that is not on this machine.
    report, sound = verify(identified(study, root), root, partial=True)
    if not sound:
        raise ArtifactError(
            f"Snakemake was told nothing, since the restored files are not sound:\n{report}"
        )
    _touch([bundle.name for bundle in bundles], root, file)
    return (
        f"{', '.join(bundle.name for bundle in bundles)} of the study {study.study} are back, and Snakemake takes them as "
        f"they are.\n{report}"
    )


def _touch(targets: list[str], root: Path, file: Path) -> None:
    """Tell Snakemake that the present files are up to date under the settings of the study."""
    choice = f"study={os.path.relpath(file, root)}"
    answer = run(root, "snakemake", "--touch", "--forceall", *targets, "--config", choice)
    if not answer.succeeded:
        raise ArtifactError(
            f"the files are back and sound, but Snakemake could not be told so: `gradsiege mend` does. It says:\n{answer.end}"
        )

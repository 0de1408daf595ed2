"""The check that the bundles of `dvc.yaml` send no images of restricted data sets to public remotes."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from gradsiege.datasets.sources import supply
from gradsiege.sharing.bundles import BUNDLES, RESTRICTED, bundles_of
from gradsiege.study import Study

# Outputs that contain no image and nothing from which one can be drawn.
SHAREABLE = ("federate", "tables")


def restricted_data(study: Study) -> list[str]:
    """Return the ids of the data sets of a study whose images must not be passed on."""
    return [
        item.id
        for item in study.datasets
        if supply.sharing_of(item.name, item.parameters) == supply.RESTRICTED
    ]


def refusals(study: Study, bundles: Path = BUNDLES) -> list[str]:
    """Return one sentence for every restricted output of a study that would go to a public remote.

    An output is safe if it has `remote: restricted` or `push: false`. A study that no bundle lists is not published.
    """
    restricted = restricted_data(study)
    if not restricted or not bundles.is_file():
        return []
    sentences = []
    for bundle in bundles_of(study, bundles):
        for output in bundle.outputs:
            safe = output.remote == RESTRICTED or not output.push
            if PurePosixPath(output.path).name not in SHAREABLE and not safe:
                sentences.append(
                    f"{bundles.name}: {bundle.stage} would push {output.path} to a public remote, but {study.study} "
                    f"uses {', '.join(restricted)} (restricted); list it under {RESTRICTED}, not under published"
                )
    return sentences

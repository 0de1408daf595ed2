"""Before anything is sent: what is not a sound part of the study stops it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradsiege.errors import ArtifactError
from gradsiege.sharing.bundles import Bundle, Output
from gradsiege.sharing.share import _undrawn, _verify
from gradsiege.study import Study

Finished = tuple[Study, Path]


def bundle(name: str, *kinds: str) -> Bundle:
    return Bundle(name, "tiny", tuple(Output(f"results/tiny/{kind}") for kind in kinds))


IMAGES, SCORES = bundle("images", "fetch"), bundle("scores", "score")


def test_only_what_is_shared_must_be_finished(study_copy: Finished) -> None:
    study, root = study_copy
    cell = next((root / "results/tiny/score").rglob("manifest.json")).parent
    (cell / "manifest.json").unlink()
    _verify([IMAGES], study, root, root / "tiny.yaml")
    with pytest.raises(ArtifactError, match=r"nothing was shared.\n.* 1 missing"):
        _verify([IMAGES, SCORES], study, root, root / "tiny.yaml")


def test_what_is_no_part_of_the_study_does_not_go_with_it(study_copy: Finished) -> None:
    """Images of a data set that the study once used, and a figure that it once drew."""
    study, root = study_copy
    secret = root / "results/tiny/fetch/celeba"
    secret.mkdir()
    with pytest.raises(ArtifactError, match=f"Delete them.\n  {secret}"):
        _verify([IMAGES], study, root, root / "tiny.yaml")
    drawn = root / "results/tiny/figures"
    drawn.mkdir()
    for name in ("gallery.pdf", "celebrities.pdf"):
        (drawn / name).touch()
    assert _undrawn(study, root, {"figures"}) == [drawn / "celebrities.pdf"]
    assert _undrawn(study, root, {"tables"}) == []


def test_a_folder_in_the_place_of_a_drawing_is_not_shared(study_copy: Finished) -> None:
    study, root = study_copy
    place = root / "results/tiny/report.html"
    place.mkdir()
    with pytest.raises(ArtifactError, match=f"nothing was shared: {place} is not a file"):
        _verify([bundle("figures", "figures", "report.html")], study, root, root / "tiny.yaml")

"""Every output goes to its own remote, or to none: what is restricted never goes where the public is."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradsiege.errors import SharingError, StudyError
from gradsiege.sharing.bundles import Bundle, Output, chosen
from gradsiege.sharing.programs import Said
from gradsiege.sharing.remotes import Configuration, Remote, destinations, no_answer
from gradsiege.study import Study

TABLES = Bundle(
    "tables_restricted",
    "secret",
    (Output("results/secret/score", "restricted"), Output("results/secret/tables")),
)


def known(default: str = "", **urls: str) -> Configuration:
    remotes = {name: Remote(name, url) for name, url in urls.items()}
    return Configuration(remotes, default, Path(".dvc/cache/files/md5"))


def test_restricted_outputs_keep_their_remote_whatever_is_asked_for(tmp_path: Path) -> None:
    configured = known("public", public="s3://a", restricted="s3://b", other="s3://c")
    for asked, shown in (("", "public"), ("other", "other")):
        paths_by_remote = destinations([TABLES], configured, asked, tmp_path)
        assert {remote.name: paths for remote, paths in paths_by_remote.items()} == {
            "restricted": ["results/secret/score"],
            shown: ["results/secret/tables"],
        }


@pytest.mark.parametrize(
    ("configured", "message"),
    [
        (known(), "'restricted', where results/secret/score belongs, is not configured"),
        (known(restricted="s3://b"), "no remote is configured for results/secret/tables"),
        (known("public", public="s3://a", restricted="s3://a"), r"same place as public"),
        (known("public", public="gone", restricted="s3://b"), r"public \(gone\) is a folder that"),
    ],
)
def test_a_remote_that_cannot_be_used_is_named(
    configured: Configuration, message: str, tmp_path: Path
) -> None:
    with pytest.raises(SharingError, match=message):
        destinations([TABLES], configured, "", tmp_path)


def test_no_password_is_shown() -> None:
    assert str(Remote("store", "https://me:secret@host/path")) == "store (https://host/path)"


def test_unknown_bundles_and_unlisted_studies_are_refused(tiny: Study) -> None:
    file = Path(__file__).parents[2] / "dvc.yaml"
    with pytest.raises(StudyError, match="lists no bundle of the study tiny: add it and its file"):
        chosen([], tiny, file)
    quick = tiny.model_copy(update={"study": "quick"})
    assert [bundle.address for bundle in chosen(["tables"], quick, file)] == ["tables@quick"]
    assert len(chosen([], quick, file)) == 7
    with pytest.raises(StudyError, match="no bundle 'table'; did you mean 'tables'"):
        chosen(["table"], quick, file)


def test_a_lock_that_dvc_refuses_is_not_blamed_on_the_remote() -> None:
    answer = Said(False, "'./dvc.lock' validation failed.\n\nextra keys not allowed, in line 4")
    error = no_answer(Remote("store", "s3://bucket"), answer, "restore")
    assert str(error).startswith("dvc.lock is damaged. `git checkout dvc.lock` brings")

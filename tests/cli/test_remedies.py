"""The remedy that a message names completes the study that the message is about."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from command_line import ATTACK, KEY, Finished, Verb

from gradsiege import artifacts, cli
from gradsiege.pipeline.cells import parse_key

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def damaged(study_copy: Finished, tmp_path: Path) -> tuple[Path, Path]:
    """A study file whose path a shell would take apart, and a root with damage to every stage that others read."""
    study, root = study_copy
    file = tmp_path / "it's a study.yaml"
    shutil.copy(root / "tiny.yaml", file)
    for stage, key in (("observe", KEY), ("score", KEY), ("attack", ATTACK)):
        for path in parse_key(stage, key, study).folder(study, root).iterdir():
            if path.name != artifacts.MANIFEST:
                path.write_bytes(path.read_bytes() + b"x")
    return file, root


@pytest.mark.parametrize(
    "command",
    [
        ("verify",),
        ("crate",),
        ("claims", "--claims", "config/claims.yaml"),
        ("publish", "report", "--to", "drawn"),
        ("attack", ATTACK),
        ("score", KEY),
        ("attack", "--staged", ATTACK),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_the_remedy_names_study_and_root(
    command: tuple[str, ...],
    damaged: tuple[Path, Path],
    verb: Verb,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file, root = damaged
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").symlink_to(REPOSITORY / "config")
    verb(*command, "--study", file, "--root", root)
    said = "".join(capsys.readouterr())
    remedies = re.findall("`(gradsiege mend.*?)` makes it anew", said)
    assert remedies
    for remedy in remedies:
        expected = ["gradsiege", "mend", "--study", str(file), "--root", str(root)]
        assert shlex.split(remedy) == expected


def test_the_page_names_the_study(
    study_copy: Finished, verb: Verb, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no root: it is read on other machines."""
    _, root = study_copy
    text = (root / "tiny.yaml").read_text()
    (root / "tiny.yaml").write_text(text.replace("iterations: 5", "iterations: 6"))
    monkeypatch.chdir(root)
    assert verb("publish", "report", "--study", "tiny.yaml") == 0
    page = (root / "results/tiny/report.html").read_text()
    assert set(re.findall("`(gradsiege mend.*?)`", page)) == {"gradsiege mend --study tiny.yaml"}


def test_of_the_default_study_it_is_as_short_as_can_be(
    verb: Verb, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").symlink_to(REPOSITORY / "config")
    assert verb("verify") == 4
    assert "Not sound. `gradsiege mend` makes it anew." in capsys.readouterr().out


def test_text_that_is_not_valid_is_named_and_not_printed_as_a_whole(
    verb: Verb, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(**_: object) -> None:
        ("<p>a word</p> " * 9999 + "mine/ant\udcff/0.png" + " a word" * 9999).encode()

    monkeypatch.setattr(cli, "app", failing)
    assert verb("verify") == 4
    said = capsys.readouterr().err
    assert (
        said
        == "gradsiege: error: 'mine/ant\\udcff/0.png' is not valid text; rename what bears it\n"
    )

"""The programs that are run for a person: what they cannot do without is said before they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradsiege.errors import ArtifactError
from gradsiege.sharing.programs import run


@pytest.mark.parametrize("program", ["snakemake", "dvc"])
def test_a_home_that_cannot_be_used_is_one_sentence(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    with pytest.raises(ArtifactError) as caught:
        run(tmp_path, program, "--version")
    message = str(caught.value)
    assert message.startswith(f"{program} cannot use its folder {tmp_path}/file/.")
    assert "_HOME or HOME, which lead there" in message
    assert "\n" not in message


def test_a_cache_on_a_file_system_that_takes_no_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/gradsiege")
    with pytest.raises(
        ArtifactError, match=r"folder /proc/gradsiege/snakemake: .* Set XDG_CACHE_HOME"
    ):
        run(tmp_path, "snakemake", "--version")


def test_a_home_that_is_empty_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for program in ("snakemake", "dvc"):
        assert run(tmp_path, program, "--version").succeeded

"""A remote that fails while bundles are being sent to it."""

from __future__ import annotations

import shutil
from pathlib import Path

from faults import SmallDisk
from workspaces import Workspace

STUDY = ("--study", "config/tiny.yaml")


def test_a_remote_that_fills_up_in_the_middle_of_a_bundle(
    shareable: Workspace, tmp_path: Path, disk: SmallDisk
) -> None:
    """Some files arrive and others do not; with room again everything does, and comes back as it was."""
    workspace = shareable.copy(tmp_path / "gradsiege")
    before = workspace.checksums("*")
    add = ("dvc", "remote", "add", "--local", "--default", "store", str(disk.folder))
    workspace.run(*add)
    disk.leave(8 * 4096)
    said = workspace.run("gradsiege", "share", "images", *STUDY, check=False)
    assert f"gradsiege: error: the remote store ({disk.folder}) failed." in said
    assert "Traceback" not in said
    assert workspace.checksums("*") == before
    disk.enlarge()
    said = workspace.run("gradsiege", "share", "images", *STUDY)
    assert "images of the study tiny: 8 files, verified, are at store" in said
    for name in ("results/tiny/fetch", ".dvc/cache"):
        shutil.rmtree(workspace.folder / name)
    workspace.run("gradsiege", "restore", "images", *STUDY)
    assert workspace.checksums("*") == before
    workspace.run("gradsiege", "verify", *STUDY)

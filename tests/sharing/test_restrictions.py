"""Images of restricted data sets, and what shows them, never go to a public remote."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gradsiege.datasets.sources import supply
from gradsiege.pipeline.stage import STAGES
from gradsiege.sharing.restrictions import SHAREABLE, refusals, restricted_data
from gradsiege.study import load, parse

ROOT = Path(__file__).parents[2]
BUNDLES = ROOT / "dvc.yaml"


@pytest.fixture
def restricted(tiny_raw: dict[str, Any]) -> dict[str, Any]:
    """The tiny study on faces of celebrities, as plain data."""
    tiny_raw["study"] = "secret"
    tiny_raw["datasets"][0]["name"] = "celeba"
    return tiny_raw


def bundles(folder: Path, **lists: list[str]) -> Path:
    """The repository's bundles with other lists of studies."""
    content = yaml.safe_load(BUNDLES.read_text())
    named = {key: {name: f"config/{name}.yaml" for name in names} for key, names in lists.items()}
    content["vars"] = [{"published": {}, "restricted": {}, **named}]
    file = folder / "dvc.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def test_no_published_study_of_the_repository_is_restricted() -> None:
    (lists,) = yaml.safe_load(BUNDLES.read_text())["vars"]
    for name, file in lists["published"].items():
        study = load(ROOT / file)
        assert study.study == name
        assert not restricted_data(study)
        assert refusals(study, BUNDLES) == []


def test_a_restricted_study_is_refused_where_it_would_go_public(
    restricted: dict[str, Any], tmp_path: Path
) -> None:
    study = parse(restricted)
    shown = refusals(study, bundles(tmp_path, published=["secret"]))
    kinds = {line.split("results/secret/")[1].split()[0] for line in shown}
    # Everything that a study holds but checkpoints and tables.
    assert kinds == {*STAGES, "figures", "report.html"} - set(SHAREABLE)
    assert "uses celeba (restricted); list it under restricted" in shown[0]
    safe = bundles(tmp_path, restricted=["secret"])
    assert refusals(study, safe) == []
    assert refusals(study, bundles(tmp_path, published=["quick"])) == []


def test_what_its_owner_calls_public_is_public(restricted: dict[str, Any], tmp_path: Path) -> None:
    file = bundles(tmp_path, published=["secret"])
    restricted["datasets"][0] |= {"name": "image_folder", "parameters": {"path": "mine"}}
    assert len(refusals(parse(restricted), file)) == 8
    restricted["datasets"][0]["parameters"]["sharing"] = supply.PUBLIC
    assert refusals(parse(restricted), file) == []


def test_verify_refuses_it(
    restricted: dict[str, Any],
    tmp_path: Path,
    verb: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "secret.yaml"
    file.write_text(yaml.safe_dump(restricted))
    bundles(tmp_path, restricted=["secret"])
    assert verb("verify", "--study", file, "--root", tmp_path) == 0
    bundles(tmp_path, published=["secret"])
    assert verb("verify", "--study", file, "--root", tmp_path) == 4
    assert "would push results/secret/fetch to a public remote" in capsys.readouterr().out


@pytest.mark.pipeline
def test_dvc_pushes_restricted_outputs_to_their_own_remote_alone(tmp_path: Path) -> None:
    """The repository's bundles, their commands replaced: one study of each list, whatever remote is pushed to."""
    work = tmp_path / "work"
    work.mkdir()

    def dvc(*arguments: str) -> None:
        command = [str(Path(sys.executable).with_name("dvc")), *arguments]
        subprocess.run(command, cwd=work, check=True, capture_output=True)

    content = yaml.safe_load(bundles(work, published=["open"], restricted=["secret"]).read_text())
    for stage in content["stages"].values():
        paths = [next(iter(out)) for out in stage["do"]["outs"]]
        making = [f"mkdir -p $(dirname {path}) && echo {path} > {path}" for path in paths]
        stage["do"] |= {"cmd": making, "deps": []}
    (work / "dvc.yaml").write_text(yaml.safe_dump(content))
    (work / ".dvc").mkdir()
    remotes = [
        f"['remote \"{name}\"']\nurl = {tmp_path / name}\n" for name in ("public", "restricted")
    ]
    (work / ".dvc/config").write_text("[core]\nno_scm = true\nremote = public\n" + "".join(remotes))
    dvc("repro", "--quiet")
    dvc("push", "--quiet")
    dvc("push", "--quiet", "--remote", "public")
    stored = {
        store: {
            path.read_text().strip() for path in (tmp_path / store).rglob("*") if path.is_file()
        }
        for store in ("public", "restricted")
    }
    secret = {f"results/secret/{kind}" for kind in (*STAGES, "tables", "figures", "report.html")}
    shared = {f"results/secret/{kind}" for kind in SHAREABLE}
    assert stored["restricted"] == secret - shared
    assert stored["public"] == {path.replace("secret", "open") for path in secret} | shared

"""The generic counter in a study: it stands beside every disclosed defense, and is refused without its images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gradsiege import artifacts
from gradsiege.errors import StudyError
from gradsiege.pipeline.cells import cells
from gradsiege.study import parse

NAME = "generic.learned_reliability"


def generic_study(raw: dict[str, Any]) -> dict[str, Any]:
    attack = {"name": "inverting_gradients", "iterations": 2, "counter": NAME}
    return raw | {
        "threat_models": [{"id": "blind"}, {"id": "informed", "disclosure": True}],
        "training_stages": ["untrained"],
        "priors": ["auxiliary_images"],
        "attacks": [attack | {"prior": "auxiliary_images"}],
        "figures": [],
    }


def test_a_study_runs_it_on_every_disclosed_defense(
    tiny_raw: dict[str, Any], verb: Callable[..., int], tmp_path: Path
) -> None:
    study = parse(generic_study(tiny_raw))
    chosen = cells(study)["attack"]
    assert {(cell.defense, cell.threat_model) for cell in chosen} == {
        ("none", "informed"),
        ("gaussian", "informed"),
    }
    file = tmp_path / "study.yaml"
    file.write_text(study.model_dump_json(exclude_defaults=True))
    cell = next(cell for cell in chosen if cell.defense == "gaussian")
    where = ("--study", file, "--root", tmp_path)
    for other in (cell.at("fetch"), cell.at("federate"), cell.at("observe")):
        assert verb(other.stage, other.key, *where) == 0
    prior = cell.at("prior", prior="auxiliary_images")
    assert verb("prior", prior.key, *where) == 0
    assert verb("attack", cell.key, *where) == 0
    assert artifacts.read_manifest(cell.folder(study, tmp_path))["notes"]["counter"] == NAME


def test_a_study_without_its_images_is_refused(tiny_raw: dict[str, Any]) -> None:
    raw = generic_study(tiny_raw)
    del raw["attacks"][0]["prior"]
    with pytest.raises(StudyError, match=rf"{NAME} needs 'prior:' .* auxiliary_images"):
        parse(raw)

"""Settings chosen inside the pipeline: once for all cells that agree, recorded, resumable, and of no victim."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from gradsiege import artifacts
from gradsiege.attacks.reconstruct import reconstruct as real_reconstruct
from gradsiege.errors import StudyError
from gradsiege.images import load_images
from gradsiege.pipeline import workload
from gradsiege.pipeline.cells import Cell, cells, digest, settings, upstream
from gradsiege.pipeline.jobs import Job
from gradsiege.study import Study, load, parse
from gradsiege.study.tuning import images_set_aside
from gradsiege.tuning.images import divided

TUNING = {"trials": 3, "clients": 2}


def tuned(raw: dict[str, Any]) -> dict[str, Any]:
    """The tiny study at its untrained model, with settings to choose; the blind attacker meets two defenses, one informed attacker one."""
    raw["tuning"] = dict(TUNING)
    raw["training_stages"] = ["untrained"]
    raw["threat_models"].append({"id": "informed", "disclosure": True})
    raw["attacks"] = [
        {
            "name": "inverting_gradients",
            "iterations": 5,
            "counters": ["none", "gaussian.likelihood"],
        },
        {
            "name": "gi_pip",
            "iterations": 5,
            "prior": "autoencoder",
            "parameters": {"anomaly_score": 0.0},
            "only": {"defense": "none"},
        },
    ]
    return raw


@pytest.fixture(scope="module")
def ran(
    fresh_tiny: Callable[[], dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
    run_study: Callable[..., Study],
) -> tuple[Study, Path]:
    """That study after all its stages; read it, do not change it."""
    root = tmp_path_factory.mktemp("tuned")
    return run_study(tuned(fresh_tiny()), root), root


@pytest.fixture
def finished(ran: tuple[Study, Path], tmp_path: Path) -> tuple[Study, Path]:
    """A copy that a test may damage."""
    study, root = ran
    shutil.copytree(root, tmp_path / "copy")
    return study, tmp_path / "copy"


def record_of(cell: Cell, study: Study, root: Path) -> dict[str, Any]:
    record: dict[str, Any] = artifacts.read_manifest(cell.folder(study, root))["notes"]["tuning"]
    return record


def test_a_choice_is_made_once_recorded_and_of_equal_effort(
    ran: tuple[Study, Path],
) -> None:
    study, root = ran
    records = {cell: record_of(cell, study, root) for cell in cells(study)["attack"]}
    by_identity: dict[str, set[str]] = {}
    for cell, record in records.items():
        assert len(record["trials"]) == TUNING["trials"]
        assert record["clients"] == TUNING["clients"]
        scores = [trial["psnr"] for trial in record["trials"]]
        assert record["chosen"] == scores.index(max(scores))
        by_identity.setdefault(record["identity"], set()).add(f"{cell.defense} {cell.attack}")
    # The blind attacker chooses once, whatever the defense; the others each for themselves.
    gaussian = "inverting_gradients-gaussian.likelihood"
    assert sorted(map(sorted, by_identity.values())) == [
        ["gaussian inverting_gradients", "none inverting_gradients"],
        [f"gaussian {gaussian}"],
        ["none gi_pip"],
    ]
    kept = {path.stem for path in (root / "results" / study.study / "settings").iterdir()}
    assert kept == set(by_identity)
    # What the study file sets is not chosen.
    pip = next(record for cell, record in records.items() if cell.attack == "gi_pip")
    assert pip["trials"][0]["settings"].keys() == {"total_variation", "learning_rate"}


def test_the_attack_runs_with_what_was_chosen(
    finished: tuple[Study, Path], verb: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kept scores are changed so that another trial wins: the attack then takes it, and makes no trial anew."""
    study, root = finished
    cell = next(cell for cell in cells(study)["attack"] if cell.attack == "inverting_gradients")
    record = record_of(cell, study, root)
    file = root / "results" / study.study / "settings" / f"{record['identity']}.json"
    kept = json.loads(file.read_text())
    kept["psnr"] = [1.0, 2.0, 90.0]
    file.write_text(json.dumps(kept))
    used: list[float] = []

    def watched(knowledge: Any, recipe: Any, *arguments: Any, **named: Any) -> Any:
        used.append(recipe.phases[0].optimizer.learning_rate)
        return real_reconstruct(knowledge, recipe, *arguments, **named)

    monkeypatch.setattr("gradsiege.attacks.matching.reconstruct", watched)
    assert verb("attack", cell.key, "--study", root / "tiny.yaml", "--root", root) == 0
    again = record_of(cell, study, root)
    assert again["chosen"] == 2
    assert used == [again["trials"][2]["settings"]["learning_rate"]]


def test_a_killed_choice_ends_with_the_same_settings_and_bytes(
    finished: tuple[Study, Path], verb: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    study, root = finished
    cell = next(cell for cell in cells(study)["attack"] if cell.attack == "gi_pip")
    folder = cell.folder(study, root)
    before, record = prints(folder), record_of(cell, study, root)
    for file in (root / "results" / study.study / "settings").iterdir():
        file.unlink()
    asked: list[int] = []

    def every_fourth_time(job: Job) -> bool:
        asked.append(1)
        return len(asked) % 4 == 0

    monkeypatch.setattr(Job, "should_stop", every_fourth_time)
    codes = [75]
    while codes[-1] == 75:
        assert len(codes) < 40
        codes.append(verb("attack", cell.key, "--study", root / "tiny.yaml", "--root", root))
    assert codes[-1] == 0
    assert codes.count(75) > 3
    assert record_of(cell, study, root) == record
    assert prints(folder) == before


def prints(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.name != artifacts.MANIFEST
    }


def test_the_choice_needs_no_truth_and_no_victim(
    finished: tuple[Study, Path], verb: Callable[..., int]
) -> None:
    """Every file of the study that holds a victim, a test image or a tune image is gone, the observations apart."""
    study, root = finished
    attacks = cells(study)["attack"]
    before = {cell: record_of(cell, study, root) for cell in attacks}
    for file in (root / "results" / study.study / "settings").iterdir():
        file.unlink()
    for file in (root / "results" / study.study).rglob("*.safetensors"):
        if file.stem not in ("aux", "observation", "prior"):
            file.unlink()
    for cell in attacks:
        assert {other.stage for other in upstream(cell, study)} <= {"fetch", "observe", "prior"}
        assert verb("attack", cell.key, "--study", root / "tiny.yaml", "--root", root) == 0
        assert record_of(cell, study, root) == before[cell]
        reads = artifacts.read_manifest(cell.folder(study, root))["reads"]
        assert {Path(name).name for name in reads} <= {
            "aux.safetensors",
            "observation.safetensors",
            "prior.safetensors",
        }


def test_no_prior_learns_from_the_images_of_simulated_clients(
    tiny_raw: dict[str, Any], tmp_path: Path, run_study: Callable[..., Study]
) -> None:
    raw = tuned(tiny_raw)
    raw["priors"] = ["auxiliary_images"]
    raw["attacks"] = [
        {"name": "inverting_gradients", "iterations": 1},
        {"name": "label_lookup", "iterations": 1, "prior": "auxiliary_images"},
    ]
    raw["threat_models"], raw["defenses"] = [{"id": "labels_inferred"}], ["none"]
    study = run_study(raw, tmp_path)
    (prior,) = cells(study)["prior"]
    (fetch,) = cells(study)["fetch"]
    images, _, _ = load_images(fetch.folder(study, tmp_path) / "aux.safetensors")
    weights, _ = artifacts.read_tensors(
        prior.folder(study, tmp_path) / "prior.safetensors", "prior"
    )
    learned = {image.numpy().tobytes() for image in weights["images"]}
    aside, rest = divided(len(images[:]), images_set_aside(study), (study.seed, "digits"))
    assert len(aside) == TUNING["clients"]
    stored = [image.numpy().tobytes() for image in (images[:] * 255).round().byte()]
    assert not learned & {stored[place] for place in aside.tolist()}
    assert learned == {stored[place] for place in rest.tolist()}
    # A lookup has nothing to choose, and reads no auxiliary images beside its prior.
    lookup = next(cell for cell in cells(study)["attack"] if cell.attack == "label_lookup")
    assert "tuning" not in artifacts.read_manifest(lookup.folder(study, tmp_path))["notes"]
    assert all(other.stage != "fetch" for other in upstream(lookup, study))


def test_places_are_drawn_without_repetition() -> None:
    aside, rest = divided(30, 7, (0, "digits"))
    assert torch.cat([aside, rest]).sort().values.equal(torch.arange(30))
    assert not aside.equal(divided(30, 7, (1, "digits"))[0])


def test_without_the_key_no_digest_moves_and_with_it_only_attacks_and_priors(
    tiny_raw: dict[str, Any],
) -> None:
    plain = parse(tiny_raw)
    chosen = parse({**tiny_raw, "tuning": {}})
    for stage, of_stage in cells(plain).items():
        for cell in of_stage:
            moved = digest(cell, plain) != digest(cell, chosen)
            # Scores read what attacks write.
            assert moved == (stage in ("prior", "attack", "score")), cell
    attack = cells(chosen)["attack"][0]
    assert settings(attack, chosen)["tuning"] == {
        "trials": 6,
        "clients": 4,
        "ranges": {"total_variation": [1e-4, 0.1], "learning_rate": [0.05, 0.5]},
    }
    again = Study.model_validate_json(chosen.model_dump_json())
    assert digest(attack, again) == digest(attack, chosen)


def test_effort_and_ranges_decide_the_digest(
    tiny_raw: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    attacks = []
    for change in ({}, {"trials": 7}, {"clients": 5}):
        study = parse({**tiny_raw, "tuning": change})
        attacks.append(digest(cells(study)["attack"][0], study))
    tiny_raw["attacks"][0]["parameters"] = {"learning_rate": 0.1}
    study = parse({**tiny_raw, "tuning": {}})
    attacks.append(digest(cells(study)["attack"][0], study))
    assert len(set(attacks)) == 4


def test_a_parameter_that_is_written_stays_though_it_is_the_default(
    tiny_raw: dict[str, Any],
) -> None:
    tiny_raw["attacks"] = [
        {"name": "inverting_gradients", "iterations": 5, "sweep": {"learning_rate": [0.1, 0.2]}}
    ]
    study = parse({**tiny_raw, "tuning": {}})
    assert [attack.tuned for attack in study.attacks] == [["total_variation"]] * 2


@pytest.mark.parametrize(
    ("threat", "expected"),
    [({}, True), ({"auxiliary": False}, False), ({"protocol": False}, False)],
)
def test_an_attacker_without_images_or_protocol_chooses_nothing(
    threat: dict[str, Any], expected: bool, tiny_raw: dict[str, Any]
) -> None:
    tiny_raw["threat_models"] = [{"id": "t", **threat}]
    tiny_raw["attacks"] = tiny_raw["attacks"][:1]
    study = parse({**tiny_raw, "tuning": {}})
    assert ("tuning" in settings(cells(study)["attack"][0], study)) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tuning": {"trials": 1}}, "tuning.trials must be a whole number from 2 to 64, not 1"),
        ({"tuning": {"trails": 6}}, "unknown key 'tuning.trails'; did you mean 'trials'"),
        ({"tuning": {"clients": 41}}, "hold 41 images, and counts.aux of datasets.digits is 40"),
        ({"tuning": {"clients": 39}}, "raise counts.aux \\(40, 39 of them set aside"),
        ({"attacks": [{"name": "dlg", "iterations": 1, "tuned": ["x"]}]}, "attacks.dlg.tuned"),
    ],
)
def test_mistakes_are_named(change: dict[str, Any], message: str, tiny_raw: dict[str, Any]) -> None:
    with pytest.raises(StudyError, match=message):
        parse({**tiny_raw, **change})


def test_an_attacker_who_knows_shadow_needs_a_generator_of_its_own(
    tiny_raw: dict[str, Any],
) -> None:
    tiny_raw["defenses"] = ["shadow"]
    tiny_raw["threat_models"] = [{"id": "informed", "disclosure": True}]
    attack = {"name": "inverting_gradients", "iterations": 5, "counter": "shadow.denoise"}
    raw = {**tiny_raw, "attacks": [attack], "tuning": {}}
    with pytest.raises(StudyError, match="add a prior of the kind 'shadow_generator'"):
        parse(raw)
    raw["priors"], attack["prior"] = ["shadow_generator"], "shadow_generator"
    parse(raw)


def test_a_choice_of_nothing_is_refused(tiny_raw: dict[str, Any], tmp_path: Path) -> None:
    written = {"total_variation": 0.1, "learning_rate": 0.1}
    tiny_raw["attacks"] = [{"name": "inverting_gradients", "iterations": 5, "parameters": written}]
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump({**tiny_raw, "tuning": {}}))
    with pytest.raises(StudyError, match="tuning would change nothing"):
        load(file)


def test_the_plan_counts_the_trials(tiny_raw: dict[str, Any]) -> None:
    plain, chosen = parse(tiny_raw), parse({**tiny_raw, "tuning": {}})
    cell = cells(plain)["attack"][0]
    # 24 simulated clients beside two victims.
    assert workload.passes(cell, chosen) == 13 * workload.passes(cell, plain)

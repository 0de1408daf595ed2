"""Defects seen in published code, and the test that would catch each of them here.

The list below names a test for every one; those that no other file has stand in this one.
"""

import ast
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gradsiege import study as studies
from gradsiege.attacks import recipes
from gradsiege.attacks import reconstruct as reconstructing
from gradsiege.attacks.engine.autotune import EnginePolicy
from gradsiege.attacks.engine.engines import ENGINES
from gradsiege.attacks.engine.loop import begin, optimise
from gradsiege.attacks.engine.objective import Problem, Target
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.errors import StudyError
from gradsiege.models import ModelSpec, build
from gradsiege.protocol.local_update import LocalTraining, local_update, split_state
from gradsiege.protocol.observation import Observation, stacked
from gradsiege.protocol.threat_model import ThreatModel

torch.set_num_threads(1)
TESTS = Path(__file__).parent
HERE = "test_peer_defects.py"

GUARDS = {
    "the iterate with the best SSIM against the victim is kept": (
        ("test_walls.py", "test_no_attack_mentions_the_truth"),
        ("test_walls.py", "test_no_option_of_the_attack_leads_to_the_truth"),
    ),
    "the last restart's image is returned with the best one's score": (
        ("attacks/engine/test_engine.py", "test_the_returned_image_is_the_arg_min_image"),
        ("attacks/engine/test_engine.py", "test_best_restart_is_chosen_by_matching_loss"),
        (
            "attacks/recipes/test_gifd_as_released.py",
            "test_as_released_shows_the_last_restart_under_the_least_loss",
        ),
    ),
    "inferred labels are put in order with the true ones": (
        ("test_walls.py", "test_no_labels_are_left_after_stripping"),
        ("test_walls.py", "test_a_stripped_observation_reveals_its_labels_only_through_the_update"),
    ),
    "restarts are scored without the mini-batches that were optimised": (
        (HERE, "test_the_score_of_a_restart_is_the_loss_of_its_local_steps"),
    ),
    "two reconstructions claim one victim": (
        ("metrics/test_assignment.py", "test_two_reconstructions_cannot_claim_one_victim"),
    ),
    "a reconstruction is scored against all originals": (
        ("metrics/test_fidelity.py", "test_pairs_are_scored_by_index_not_against_all"),
        ("metrics/test_assignment.py", "test_shuffled_batches_pair_the_same_images"),
    ),
    "the victim's network is changed before the attack": (
        (HERE, "test_no_recipe_changes_the_network_of_the_victim"),
    ),
    "the score compares with the transformed victim": (
        (HERE, "test_the_truth_is_the_raw_image_whatever_the_client_trains_on"),
    ),
    "PSNR has another peak, or LPIPS another range": (
        ("metrics/test_fidelity.py", "test_psnr_is_that_of_scikit_image"),
        ("metrics/test_fidelity.py", "test_the_peak_is_one_whatever_range_the_image_fills"),
        ("metrics/test_image_checks.py", "test_images_in_minus_one_to_one_are_refused"),
        ("metrics/test_perceptual.py", "test_lpips_is_that_of_the_package_on_zero_to_one_images"),
    ),
    "one exact image makes the mean of a batch infinite": (
        ("analysis/test_summary_tables.py", "test_summary_counts_failures_and_caps_infinity"),
    ),
    "a failed trial is dropped from the mean": (
        ("analysis/test_summary_tables.py", "test_summary_counts_failures_and_caps_infinity"),
        ("analysis/test_summary_tables.py", "test_an_attack_that_always_failed_stays"),
    ),
    "the gallery is cut to the victim's class": (
        (
            "metrics/test_identification.py",
            "test_noise_identifies_nobody_more_often_than_chance",
        ),
    ),
    "victims are drawn again until labels are distinct": (
        (
            "federated/test_federation.py",
            "test_batches_hold_distinct_labels_or_on_request_repeated_ones",
        ),
        ("datasets/test_dataset_contract.py", "test_victims_and_tune_cycle_through_the_classes"),
    ),
    "victims, prior and victim model share images": (
        ("test_walls.py", "test_roles_of_the_data_share_no_image"),
        ("datasets/test_photo_regions.py", "test_roles_share_no_pixel"),
    ),
    "a defense scales its caller's gradients in place": (
        ("defenses/test_every_defense.py", "test_hooks_change_none_of_their_arguments"),
    ),
    "CENSOR's directions are not orthogonal": (
        ("defenses/test_censor.py", "test_every_faithful_tensor_is_orthogonal_to_the_true_one"),
        (
            "defenses/test_censor.py",
            "test_released_directions_are_orthogonal_to_unit_gradients_alone",
        ),
    ),
    "Soteria's approximation passes for Soteria": (
        ("defenses/test_soteria.py", "test_the_rules_differ_where_features_overlap"),
    ),
    "the text False is true": ((HERE, "test_the_text_false_is_not_true"),),
    "every iteration waits for the device": (
        (HERE, "test_the_loop_reads_no_number_from_the_device_between_its_trace_points"),
    ),
}


@pytest.mark.parametrize("defect", list(GUARDS))
def test_every_defect_has_its_guard(defect: str) -> None:
    for file, name in GUARDS[defect]:
        tree = ast.parse((TESTS / file).read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def observe(training: LocalTraining, name: str = "convnet") -> Observation:
    spec = ModelSpec(name, {"width": 4}, 10, 3, 16)
    model = build(spec, torch.Generator().manual_seed(1))
    parameters, buffers = split_state(model)
    generator = torch.Generator().manual_seed(2)
    images = torch.rand(2, training.images, 3, 16, 16, generator=generator)
    labels = torch.arange(2 * training.images).view(2, -1)
    updates = [
        local_update(model, parameters, buffers, x, y, training)[0]
        for x, y in zip(images, labels, strict=True)
    ]
    update = stacked(updates)
    return Observation.of_updates(spec, parameters, buffers, update, training, labels=labels)


@pytest.mark.parametrize("update_model", ["unroll", "gradient"])
def test_the_score_of_a_restart_is_the_loss_of_its_local_steps(update_model: str) -> None:
    """The loss that chooses among restarts, computed afresh from the returned images with the attacker's local work."""
    training = LocalTraining("fedavg", 4, 1, 1, 0.1, "eval")
    seen = observe(training)
    knowledge = Knowledge(seen, ThreatModel(id="t", labels="given"))
    recipe = recipes.build("inverting_gradients", {}, "faithful", 6, knowledge)
    recipe = recipe.with_phases(update_model=update_model)
    found = reconstructing.reconstruct(knowledge, recipe, 3, ("s",), policy=EnginePolicy("loop"))
    (stage,) = recipe.phases
    work = Problem(build(seen.model), seen, training, stage).work
    assert work.steps == (4 if update_model == "unroll" else 1)
    for victim in range(2):
        update, _ = local_update(
            build(seen.model),
            seen.parameters,
            seen.buffers,
            found.images[victim],
            found.labels[victim],
            work,
        )
        own = {name: value[victim] for name, value in seen.update.items()}
        torch.testing.assert_close(
            stage.distance(update, own), found.matching_loss[victim], rtol=1e-3, atol=1e-4
        )


@pytest.mark.parametrize("name", ["inverting_gradients", "deep_image_prior", "dlg"])
def test_no_recipe_changes_the_network_of_the_victim(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[torch.nn.Module] = []

    def remember(spec: ModelSpec) -> torch.nn.Module:
        built.append(build(spec))
        return built[-1]

    monkeypatch.setattr(ModelSpec, "build", remember)
    seen = observe(LocalTraining("fedsgd", 1, 1, 1, 0.1, "eval"))
    knowledge = Knowledge(seen, ThreatModel(id="t"))
    recipe = recipes.build(name, {}, "faithful", 2, knowledge)
    reconstructing.reconstruct(knowledge, recipe, 1, ("s",), policy=EnginePolicy("loop"))
    assert {str(one) for one in built} == {str(build(seen.model))}
    assert "ReLU" in str(built[0])


def test_the_truth_is_the_raw_image_whatever_the_client_trains_on() -> None:
    """The stage that seals the truth passes on what it drew, before any hook of a defense."""
    tree = ast.parse((TESTS.parent / "src/gradsiege/stages/observe.py").read_text())
    stage = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "observe")
    bound = [
        target
        for node in ast.walk(stage)
        if isinstance(node, ast.Assign)
        for target in ast.walk(node.targets[0])
        if isinstance(target, ast.Name) and target.id == "images"
    ]
    assert len(bound) == 1
    calls = [n for n in ast.walk(stage) if isinstance(n, ast.Call)]
    (sealed,) = [n for n in calls if getattr(n.func, "id", "") == "save_truth"]
    assert any(isinstance(value, ast.Name) and value.id == "images" for value in sealed.args)


@pytest.mark.parametrize(
    ("written", "meant"), [('"False"', False), ("false", False), ("true", True)]
)
def test_the_text_false_is_not_true(written: str, meant: bool, tiny_raw: dict[str, Any]) -> None:
    import yaml

    parameters = yaml.safe_load(f"signed: {written}")
    tiny_raw["attacks"] = [
        {"name": "inverting_gradients", "iterations": 2, "parameters": parameters}
    ]
    tiny_raw.pop("priors", None)
    if isinstance(parameters["signed"], str):
        with pytest.raises(StudyError, match="must be true or false, not 'False'"):
            studies.parse(tiny_raw, "tiny")
        return
    (attack,) = studies.parse(tiny_raw, "tiny").attacks
    assert attack.parameters["signed"] is meant


class Waits(TorchDispatchMode):
    """Counts operations that hand a number of a tensor to Python."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func in (
            torch.ops.aten._local_scalar_dense.default,
            torch.ops.aten.is_nonzero.default,
        )
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("engine", ["loop", "factored"])
@pytest.mark.parametrize("patience", [None, 50])
def test_the_loop_reads_no_number_from_the_device_between_its_trace_points(
    engine: str, patience: int | None
) -> None:
    seen = observe(LocalTraining("fedsgd", 1, 1, 1, 0.1, "eval"))
    knowledge = Knowledge(seen, ThreatModel(id="t"))
    (stage,) = recipes.build("inverting_gradients", {}, "faithful", 400, knowledge).phases
    assert seen.training is not None
    assert seen.labels is not None
    problem = Problem(build(seen.model), seen, seen.training, replace(stage, patience=patience))
    evaluate = ENGINES[engine](problem)
    target = Target(seen.labels, seen.update, torch.zeros(2, 1, 3, 16, 16), {})
    start = reconstructing.starting_points(stage, 2, 1, ("s",))
    with Waits() as waits:
        state = optimise(
            lambda x, iteration: evaluate(x, target),
            lambda x, iteration: stage.space.project(x),
            stage.optimizer,
            200,
            replace(begin(start, stage.optimizer), iteration=1),
            lambda state: None,
            patience,
        )
    assert state.iteration == 200
    assert waits.count <= (0 if patience is None else len(state.trace))
